"""What chance would give: effects of factors, speed, nulls, intervals, associations of numbers of runs."""

from manifold_utils.levels import seeds_of, sorted_levels
from manifold_utils.statistics.associations import (
    exchanged,
    held_out_errors,
    r2_interval,
    rank_association,
    seed_ceiling,
    variance_share,
)
from manifold_utils.statistics.configurations import (
    LINKED,
    PAPER_FACTORS,
    between_configurations,
    configurations,
    has_repeats,
    linked_factors,
    matched_pairs,
    nearest_of_others,
    seed_means,
    shown_factors,
)
from manifold_utils.statistics.effects import effect_over_effect, effect_ratio, effect_size
from manifold_utils.statistics.intervals import (
    bootstrap_interval,
    drawn_pairs,
    holm,
    interval,
    jackknife_interval,
    mean_over_groups,
    p_value,
    ratio_over_runs,
    stream,
    t_interval,
)
from manifold_utils.statistics.nulls import (
    METRICS,
    NullDistances,
    best_matching,
    compare_with_shuffled,
    null_distances,
    permutations_within_class,
    shuffle_within_class,
    unit_roots,
)
from manifold_utils.statistics.pairs import KINDS, kinds_of_pairs, pairs_of_runs
from manifold_utils.statistics.speed import (
    common_speed,
    median_interval,
    median_ratio,
    speed_ratios,
    speed_slopes,
    speed_trend,
)
from manifold_utils.statistics.words import in_words, verdict
from manifold_utils.statistics.worlds import STRATUM, WORLDS, null_world, strata

__all__ = [
    "KINDS", "LINKED", "METRICS", "PAPER_FACTORS", "STRATUM", "WORLDS", "NullDistances", "best_matching",
    "between_configurations", "bootstrap_interval", "common_speed", "compare_with_shuffled", "configurations",
    "drawn_pairs", "effect_over_effect", "effect_ratio", "effect_size", "exchanged", "has_repeats",
    "held_out_errors", "holm", "in_words", "interval", "jackknife_interval", "kinds_of_pairs", "linked_factors",
    "matched_pairs", "mean_over_groups", "median_interval", "median_ratio", "nearest_of_others", "null_distances",
    "null_world", "p_value", "pairs_of_runs", "permutations_within_class", "r2_interval", "rank_association",
    "ratio_over_runs", "seed_ceiling", "seed_means", "seeds_of", "shown_factors", "shuffle_within_class",
    "sorted_levels", "speed_ratios", "speed_slopes", "speed_trend", "strata", "stream", "t_interval", "unit_roots",
    "variance_share", "verdict",
]  # fmt: skip
