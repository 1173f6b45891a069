"""What chance would give: effects of factors (`effects`), nulls, intervals, associations of numbers of runs."""

from manifold_utils.statistics.associations import (
    exchanged,
    held_out_errors,
    r2_interval,
    rank_association,
    seed_ceiling,
)
from manifold_utils.statistics.effects import (
    LINKED,
    between_configurations,
    configurations,
    effect_ratio,
    effect_size,
    matched_pairs,
    nearest_of_others,
    seed_means,
)
from manifold_utils.statistics.intervals import (
    bootstrap_interval,
    drawn_pairs,
    holm,
    interval,
    jackknife_interval,
    median_interval,
    median_ratio,
    p_value,
    ratio_interval,
    ratio_over_runs,
    speed_ratios,
    stream,
)
from manifold_utils.statistics.nulls import (
    KINDS,
    METRICS,
    NullDistances,
    best_matching,
    compare_with_shuffled,
    null_distances,
    pairs_of_runs,
    permutations_within_class,
    shuffle_within_class,
    unit_roots,
)
from manifold_utils.statistics.worlds import STRATUM, WORLDS, null_world, strata

__all__ = [
    "KINDS", "LINKED", "METRICS", "STRATUM", "WORLDS", "NullDistances", "best_matching", "between_configurations",
    "bootstrap_interval", "compare_with_shuffled", "configurations", "drawn_pairs", "effect_ratio", "effect_size",
    "exchanged", "held_out_errors", "holm", "interval", "jackknife_interval", "matched_pairs", "median_interval",
    "median_ratio", "nearest_of_others", "null_distances", "null_world", "p_value", "pairs_of_runs",
    "permutations_within_class", "r2_interval", "rank_association", "ratio_interval", "ratio_over_runs",
    "seed_ceiling", "seed_means", "shuffle_within_class", "speed_ratios", "strata", "stream", "unit_roots",
]  # fmt: skip
