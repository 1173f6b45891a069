"""Figures in one style: `style` (colours, saving), and a module a kind of figure; 3-D ones are in `interactive`."""

from manifold_utils.plots.associations import plot_marks, plot_r2
from manifold_utils.plots.embeddings import (
    axis_label,
    barycentric,
    frame_on_most,
    label_embedding,
    plot_embedding,
    plot_embedding_values,
    plot_ladder,
    plot_reference,
    plot_spectrum,
    plot_triangle,
)
from manifold_utils.plots.guests import plot_guests, plot_yardsticks
from manifold_utils.plots.ladders import plot_ladder_errors, plot_ladder_seconds
from manifold_utils.plots.nulls import plot_leaving, plot_pair_ratios, plot_shuffled
from manifold_utils.plots.phase import decider_legend, plot_deciders, plot_phase
from manifold_utils.plots.poster import POSTER_SIZE, plot_poster
from manifold_utils.plots.runs import (
    factor_name,
    level_colour,
    level_legend,
    plot_curves,
    plot_dendrogram,
    plot_effects,
    plot_excess,
    plot_importance,
    plot_progress_by_size,
    plot_quantiles,
    plot_ratio_map,
    plot_steps_by_size,
)
from manifold_utils.plots.scorecard import VERDICT_COLOURS, plot_scorecard, plot_verdicts
from manifold_utils.plots.style import (
    ARCHITECTURE_STYLE,
    DIVERGING,
    FACTOR_STYLES,
    SEQUENTIAL,
    SPACE_LIKE,
    TIME_LIKE,
    colour_map,
    figure_legend,
    legend_below,
    numbered_style,
    panels,
    plain_log,
    save_figure,
    short_legend,
    shortened,
    style_of,
    use_house_style,
)
from manifold_utils.plots.views import plot_levels_apart, plot_views

__all__ = [
    "ARCHITECTURE_STYLE", "DIVERGING", "FACTOR_STYLES", "POSTER_SIZE", "SEQUENTIAL", "SPACE_LIKE", "TIME_LIKE",
    "VERDICT_COLOURS", "axis_label", "barycentric", "colour_map", "decider_legend", "factor_name", "figure_legend",
    "frame_on_most", "label_embedding", "legend_below", "level_colour", "level_legend", "numbered_style", "panels",
    "plain_log", "plot_curves", "plot_deciders", "plot_dendrogram", "plot_effects", "plot_embedding",
    "plot_embedding_values", "plot_excess", "plot_guests", "plot_importance", "plot_ladder", "plot_ladder_errors",
    "plot_ladder_seconds", "plot_leaving",
    "plot_levels_apart", "plot_marks", "plot_pair_ratios", "plot_phase", "plot_poster", "plot_progress_by_size",
    "plot_quantiles", "plot_r2", "plot_ratio_map", "plot_reference", "plot_scorecard", "plot_shuffled", "plot_spectrum",
    "plot_steps_by_size", "plot_triangle", "plot_verdicts", "plot_views", "plot_yardsticks", "save_figure",
    "short_legend", "shortened", "style_of", "use_house_style",
]  # fmt: skip
