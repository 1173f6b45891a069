"""What chance would give: effects of factors (`effects`), nulls, intervals, associations of numbers of runs."""

from manifold_utils.statistics.associations import (
    exchanged,
    held_out_errors,
    r2_interval,
    rank_association,
    variance_share,
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
    interval,
    jackknife_interval,
    mean_over_groups,
    median_interval,
    median_ratio,
    p_value,
    ratio_interval,
    ratio_over_runs,
    speed_ratios,
    t_interval,
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

__all__ = [
    "KINDS", "LINKED", "METRICS", "NullDistances", "best_matching", "between_configurations",
    "bootstrap_interval", "compare_with_shuffled", "configurations", "drawn_pairs", "effect_ratio",
    "effect_size", "exchanged", "held_out_errors", "interval", "jackknife_interval", "matched_pairs",
    "mean_over_groups", "median_interval", "median_ratio", "nearest_of_others", "null_distances", "p_value",
    "pairs_of_runs", "permutations_within_class", "r2_interval", "rank_association", "ratio_interval",
    "ratio_over_runs", "seed_means", "shuffle_within_class", "speed_ratios", "t_interval", "unit_roots",
    "variance_share",
]  # fmt: skip
