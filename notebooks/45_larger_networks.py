# %% [markdown]
# # Do larger networks take the same road, only faster?
#
# **What.** Progress against steps and epochs for several sizes of one family, and the distance between sizes at equal progress.
# **Figure of the paper.** Figure 8.
# **Answer.** Two numbers tell: the trend of speed with the number of parameters, and how far apart the paths of several sizes are, compared with the distance between seeds of one size.
#
# | | |
# |---|---|
# | Goals | separate *where* a network goes from *how fast* it goes; keep the runs that never arrive |
# | Prerequisites | chapters 31 and 44 (essential) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | trajectories/train.zarr, points.parquet, embeddings/train_bhattacharyya.zarr; figures, results/45.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.profiles import BOOK_DESIGN, Design
from manifold_utils.trajectories import common_progress, crossings, of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_resamples = 1000  # draws of configurations for each interval
seed = 0  # of the draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
print(
    f"{(atlas.runs.grid == 'sizes').sum()} runs of the "
    "grid 'sizes' and what matches them in the main grid"
)

# %% [markdown]
# ## What do we load?
#
# The grid `sizes` trains some families at several widths. To these we add the runs of the main grid with the same optimiser, batch size, learning rate and so on: one more size of each family, and the other families for comparison.

# %%
trajectories, all_runs = of_atlas.load_trajectories(atlas, "train")
of_any_size = [c for c in BOOK_DESIGN.factors if c != "scale"]
setting = [c for c in of_any_size if c != "architecture"]
sizes = all_runs[all_runs.grid == "sizes"]
settings = pd.MultiIndex.from_frame(
    (sizes if len(sizes) else all_runs[all_runs.grid == "main"])[
        setting
    ].drop_duplicates()
)

# %%
chosen = (all_runs.grid == "sizes") | (
    (all_runs.grid == "main")
    & pd.MultiIndex.from_frame(all_runs[setting]).isin(settings)
)
runs = all_runs[chosen]
number, table = statistics.configurations(runs)
n_parameters = runs.n_parameters.groupby(number).first().to_numpy()

# %% [markdown]
# A known value: within a family, a larger scale must mean more parameters. The table counts runs.

# %%
overview = runs.groupby(["architecture", "scale"]).agg(
    parameters=("n_parameters", "first"), runs=("seed", "size")
)
assert overview.groupby("architecture").parameters.is_monotonic_increasing.all()
overview

# %%
size_pairs = statistics.matched_pairs(table, "scale")
sizes_apart = {"linked": (), "design": Design(tuple(of_any_size))}
family_pairs = statistics.matched_pairs(table, "architecture", **sizes_apart)
families = sorted(
    table.architecture[np.unique(size_pairs[["first", "second"]])].unique()
)
print(
    f"{len(size_pairs)} pairs of sizes in the families "
    f"{families}; {len(family_pairs)} pairs of families"
)

# %%
if not len(size_pairs):
    print(
        "This profile trains no family at two "
        "sizes: what follows has nothing to compare."
    )

# %% [markdown]
# ## Are larger networks faster?
#
# The next figure shows progress against time, one line for each run, dark for small and light for large networks. Time is counted in epochs above and in steps below; the two differ only if there are several batch sizes. *Prediction:* which end of the colours comes first?

# %% tags=["hide-input"]
points = atlas.points[
    (atlas.points.phase == "main") & atlas.points.run.isin(runs.index)
]
panels = families or sorted(runs.architecture.unique())[:1]

# %% tags=["hide-input"]
size = min(9, 4 * len(panels) + 1), 6.2
fig, axes = plt.subplots(2, len(panels), figsize=size, sharey=True, squeeze=False)
for family, column in zip(panels, axes.T, strict=True):
    for ax, clock in zip(column, ("epoch", "step"), strict=True):
        of_size = runs[runs.architecture == family]
        plots.plot_progress_by_size(ax, points, of_size, clock, legend=clock == "epoch")
    column[0].set_title(family)
fig.supylabel("progress")
alt = (
    "Progress against epochs (above) and steps (below) for several sizes of each "
    f"family; each line is one of {len(runs)} runs, dark for small, light for large."
)
plots.save_figure(fig, atlas.figure_path("45_progress.png"), alt=alt)

# %% [markdown]
# Where light lines lie to the left of dark ones, larger networks need fewer steps. Lines that level off below the top belong to networks that do not get to the end in the given time, because they are too small or too slow.
#
# To put a number on it we take the *trend*. For each family and seed, the speed of a size is one over the steps that it needs to the same progress (a geometric mean over the *stations*, the values of progress that all sizes of this family and seed reach). The slope of log speed against log parameters is 0 if size does not matter, and 1 if twice the parameters train twice as fast.

# %%
stations = np.linspace(0.1, 0.9, 17)
steps = crossings(points, stations).loc[runs.index].to_numpy()
slopes, speeds = statistics.speed_slopes(steps, runs)
trend = statistics.speed_trend(slopes)
slopes.round(3)

# %%
n_left = int(slopes.n_left_out.sum())
print(
    f"trend: {trend['value']:.2f} ({trend['low']:.2f} to {trend['high']:.2f}), "
    f"interval over {trend['n_units']} {trend['over']}"
)
print(f"sizes that reach none of the stations and are left out: {n_left}")

# %% [markdown]
# The paper gives the same for pairs of networks: the steps of the smaller divided by the steps of the larger one. A network that never gets there counts as infinitely late, so that the median is not biased by leaving it out.

# %%
ratios = statistics.speed_ratios(steps, number, size_pairs, n_parameters)
speed = statistics.median_ratio(ratios)
speed_low, speed_high = statistics.median_interval(
    ratios, size_pairs, n_resamples=n_resamples, rng=rng
)
late = np.isinf(ratios).mean() if ratios.size else np.nan
lost = (ratios == 0).mean() if ratios.size else np.nan

# %%
print(
    "steps of the smaller over steps of the larger: "
    f"{speed:.2f} ({speed_low:.2f} to {speed_high:.2f})"
)
print(
    f"only the larger gets there: {100 * late:.0f} % of "
    f"pairs and stations; only the smaller: {100 * lost:.0f} %"
)

# %% [markdown]
# The next figure shows the steps themselves against the size, at three stations. *Prediction:* do the lines fall all the way, or do they level off?

# %% tags=["hide-input"]
size = (min(9, 3.4 * len(panels) + 1), 3.8)
fig, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
for ax, family in zip(axes[0], panels, strict=True):
    member = (runs.architecture == family).to_numpy()
    plots.plot_steps_by_size(ax, runs.n_parameters[member], steps[member], stations)
    ax.set_title(family)
axes[0, 0].set_ylabel("steps")
plots.figure_legend(fig, axes[0, 0])
alt = (
    "Mean steps to progress .25, .5 and .75 against the number of parameters, a panel "
    f"for each family, {len(runs)} runs in all."
)
plots.save_figure(fig, atlas.figure_path("45_steps_and_size.png"), alt=alt)

# %% [markdown]
# A falling line is a family that speeds up with size; a missing point means that no seed of that size got there. The learning rate is the same for all sizes, so this is the effect of size with a fixed recipe. With a recipe tuned for each size it might be smaller or larger.
#
# ## Do they take the same road?
#
# Speed says nothing about direction. At *equal progress* we compare three distances: between two sizes of one family, between two seeds of one network *of these families and sizes*, and between two families. We use only the values of progress that both runs have reached; otherwise a small network that stops half-way would look far away for this reason alone.

# %%
grid, rows = trajectories.s.values, chosen.to_numpy()
reached = ~np.isinf(crossings(points, grid).loc[runs.index].to_numpy())
common = common_progress(trajectories.distance.values[:, rows][:, :, rows], reached)
means = statistics.seed_means(common, number, runs.seed.to_numpy())
kinds = {"sizes of one family": size_pairs, "families": family_pairs}
apart = {name: means[:, p["first"], p["second"]].T for name, p in kinds.items()}
# Seeds of the networks that come in several sizes.
sized = np.unique(size_pairs[["first", "second"]])
apart["seeds"] = np.diagonal(means, axis1=1, axis2=2).T[
    sized if len(sized) else slice(None)
]


# %% tags=["lesson"]
def mean_along(values):
    known = np.isfinite(values)
    return np.divide(
        np.where(known, values, 0).sum(axis=0),
        known.sum(axis=0),
        out=np.full(len(grid), np.nan),
        where=known.any(axis=0),
    )


# %%
curves = {name: mean_along(values) for name, values in apart.items()}
n_comparable = {
    name: int(np.isfinite(values).any(axis=1).sum()) for name, values in apart.items()
}

# %% [markdown]
# To answer the question we compare the sizes of a family with its *seeds*: the distance of matched pairs of sizes on different seeds, divided by that of two seeds of one size, at equal progress, as a geometric mean over families. A ratio of 1 means that another size makes no more difference than another seed. The interval leaves out families in turn.

# %%
options = {"n_permutations": 0, "rng": rng}
by_size = statistics.effect_size(common, runs, "scale", **options)
print(
    f"distance between sizes over distance between seeds: {by_size['value']:.2f} "
    f"({by_size['low']:.2f} to {by_size['high']:.2f}), "
    f"{by_size['n_units']} {by_size['over']} left out in turn"
)

# %% [markdown]
# The same ratio within each family:

# %%
of_family = {}
for family in families:
    rows_of = (runs.architecture == family).to_numpy()
    part = common[:, rows_of][:, :, rows_of]
    of_family[family] = statistics.effect_ratio(part, runs[rows_of], "scale")
pd.Series(of_family, name="sizes over seeds").round(2).to_frame()

# %% [markdown]
# The next figure shows the three distances along the way:

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4.4))
for k, (name, curve) in enumerate(curves.items()):
    colour, _, dash = plots.FACTOR_STYLES[k]
    label = f"{name} (n = {n_comparable[name]})"
    ax.plot(grid, curve, color=colour, ls=dash, lw=2.4, label=label)
ax.set(xlabel="progress $s$", ylabel="mean distance (nats)", ylim=(0, None))
plots.legend_below(ax)
alt = (
    "Mean distance at equal progress between sizes (solid), between families (dashed) "
    "and between seeds (dash-dotted); n counts pairs."
)
plots.save_figure(fig, atlas.figure_path("45_same_road.png"), alt=alt)

# %% [markdown]
# All curves start near zero, because every network starts near ignorance; towards the right end only those runs are left that get so far. Where the curve of the sizes lies on that of the seeds, another size makes no more difference than another seed; the distance between the two is the effect of size. The curve of the families shows, for comparison, the effect of the architecture.
#
# ## Do larger and smaller networks stay on the manifold?
#
# Sizes were not used to make the axes of chapter 30: their points are *placed* in the embedding of the main grid, in grey. If larger or smaller networks left the manifold, their points would lie away from the grey ones.

# %% tags=["hide-input"]
embedding = atlas.embedding("train")
factor_table, coordinates = atlas.table(), embedding.embedding.values
grey, shown = (
    embedding.fitted.values,
    factor_table.run.isin(runs[runs.architecture.isin(families)].index).to_numpy(),
)
parameters = atlas.runs.n_parameters.reindex(factor_table.run[shown]).to_numpy()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.4))
ax.scatter(*coordinates[grey, :2].T, s=4, color="0.85", linewidths=0)
plots.plot_embedding_values(
    ax, coordinates[shown], parameters, norm=LogNorm(), size=14, alpha=0.9
)
fig.colorbar(ax.collections[-1], ax=ax, label="parameters")
plots.plot_reference(ax, embedding.reference_embedding.values)
up_to = embedding.explained_stress.values
plots.label_embedding(ax, embedding.eigenvalues.values, up_to)
alt = (
    f"{shown.sum()} points of networks of several sizes, coloured by their number of "
    "parameters, placed in the train embedding of the main grid in grey."
)
plots.save_figure(fig, atlas.figure_path("45_embedding.png"), alt=alt)

# %% [markdown]
# Coloured points within the grey are sizes on the common manifold, as far as two axes can tell. Separate strands of different colours are sizes, or families, with paths of their own.
#
# ## What we learned

# %%
if len(slopes):
    unsure = "neither surely faster nor surely slower"
    faster = "slower" if trend["high"] < 0 else unsure
    faster = "faster" if trend["low"] > 0 else faster
    print(
        f"Larger networks are {faster}: the trend of log speed with log parameters is "
        f"{trend['value']:.2f} ({trend['low']:.2f} to {trend['high']:.2f})."
    )
    print(
        "To the same progress, the smaller network of a pair "
        f"needs {speed:.2f} times the steps of the larger."
    )

# %%
if len(size_pairs):
    print(
        f"At equal progress, sizes of a family are {by_size['value']:.2f} times as far "
        f"apart as its seeds ({by_size['low']:.2f} to {by_size['high']:.2f})."
    )
print(
    "The paper says that larger networks train faster, along a similar "
    "manifold; it gives no number for either."
)

# %% tags=["hide-input"]
note = "common progress, matched pairs, different seeds; interval: drawn configurations"
ends_of = {"low": trend["low"], "high": trend["high"], "n": trend["n_units"]}
results = {
    "speed_trend": claims.result(trend["value"], note=f"t, {trend['over']}", **ends_of),
    "speed_ratio": claims.result(
        speed, low=speed_low, high=speed_high, n=len(size_pairs), note=note
    ),
    "only_larger_arrives": claims.result(late, n=ratios.size),
    "only_smaller_arrives": claims.result(lost, n=ratios.size),
}

# %% tags=["hide-input"]
note = f"jackknife, {by_size['n_units']} {by_size['over']} left out in turn"
ends_of = {"low": by_size["low"], "high": by_size["high"], "n": by_size["n_pairs"]}
results["sizes_over_seeds"] = claims.result(by_size["value"], note=note, **ends_of)

# %% tags=["hide-input"]
for name, curve in curves.items():
    value = curve[np.isfinite(curve)].mean() if np.isfinite(curve).any() else np.nan
    results[f"distance_{name.split()[0]}"] = claims.result(
        value, n=n_comparable[name], unit="nats"
    )
claims.save_results(atlas, "45", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Compute the median speed ratio separately for early stations ($s < 0.5$) and late ones: define `early` and `late_part` (not a number where nothing is known). When is size worth most?

# %% tags=["stub"]
early = ...  # a ratio
late_part = ...  # a ratio

# %% tags=["solution"]
early, late_part = (
    statistics.median_ratio(ratios[:, stations < 0.5]),
    statistics.median_ratio(ratios[:, stations >= 0.5]),
)
early, late_part

# %% tags=["check"]
assert (
    np.isscalar(early) and np.isscalar(late_part) and not min(early, late_part) < 0
), f"expected two ratios, found {(early, late_part)}"

# %% tags=["check", "hidden"]
halves = [ratios[:, (stations < 0.5) == first] for first in (True, False)]
known_medians = [statistics.median_ratio(half) for half in halves]
assert np.allclose([early, late_part], known_medians, equal_nan=True), (
    f"expected {known_medians}, found {(early, late_part)}"
)

# %% [markdown]
# 2. Why is the median taken, and not the mean? A mean can use only the pairs and stations at which both networks arrive. Define `forgotten`, the share of `ratios` that it leaves out. Which networks are these?

# %% tags=["stub"]
forgotten = ...  # a share from 0 to 1

# %% tags=["solution"]
arrived = ratios[np.isfinite(ratios) & (ratios > 0)]
forgotten = 1 - arrived.size / max(1, ratios.size)
arrived.mean() if arrived.size else np.nan, forgotten

# %% tags=["check"]
assert np.isscalar(forgotten) and 0 <= forgotten <= 1, (
    f"expected a share from 0 to 1, found {forgotten!r}"
)

# %% tags=["check", "hidden"]
left_out = [not (np.isfinite(ratio) and ratio > 0) for ratio in ratios.ravel()]
known_forgotten = np.mean(left_out) if left_out else 1.0
assert np.isclose(forgotten, known_forgotten), (
    f"expected {known_forgotten:.4f}, found {forgotten}"
)

# %% [markdown]
# 3. Use test progress as the clock. Define `test_speed`, the median ratio of the steps that it takes to the same *test* progress. Do larger networks get there sooner, too?

# %% tags=["stub"]
test_speed = ...  # a ratio

# %% tags=["solution"]
test_steps = crossings(points, stations, split="test").loc[runs.index].to_numpy()
test_ratios = statistics.speed_ratios(test_steps, number, size_pairs, n_parameters)
test_speed = statistics.median_ratio(test_ratios)
test_speed

# %% tags=["check"]
assert np.isscalar(test_speed) and not test_speed < 0, (
    f"expected a ratio, found {test_speed!r}"
)

# %% tags=["check", "hidden"]
clock = crossings(points, stations, split="test").loc[runs.index].to_numpy()
by_clock = statistics.speed_ratios(clock, number, size_pairs, n_parameters)
known_speed = statistics.median_ratio(by_clock)
assert np.isclose(test_speed, known_speed, equal_nan=True), (
    f"expected {known_speed:.4f}, found {test_speed}"
)

# %% [markdown]
# 4. Use the plain $d_{traj}$, in which a run that stops short repeats its end, for the ratio of sizes to seeds. Define `plain_ratio`. Does it grow or fall, and why?

# %% tags=["stub"]
plain_ratio = ...  # a ratio

# %% tags=["solution"]
plain = trajectories.distance.values[:, rows][:, :, rows].mean(axis=0)
plain_ratio = statistics.effect_ratio(plain, runs, "scale")
plain_ratio, by_size["value"]

# %% tags=["check"]
assert np.isscalar(plain_ratio) and not plain_ratio < 0, (
    f"expected a ratio, found {plain_ratio!r}"
)

# %% tags=["check", "hidden"]
repeated_ends = np.mean(trajectories.distance.values[:, rows][:, :, rows], axis=0)
known_ratio = statistics.effect_ratio(repeated_ends, runs, "scale")
assert np.isclose(plain_ratio, known_ratio, equal_nan=True), (
    f"expected {known_ratio:.4f}, found {plain_ratio}"
)

# %% [markdown]
# ### Quiz
#
# **1.** How can one network be faster than another and still take the same trajectory?
#
# <details><summary>Answer</summary>The trajectory is where it goes, speed is when. If two networks pass the same predictions in the same order, they share the trajectory, however many steps each needs.</details>
#
# **2.** Why are speeds compared by ratios, and the ratios by their median?
#
# <details><summary>Answer</summary>Networks differ in speed by factors. A network that never arrives has an infinite ratio; a median can hold it, and a mean would have to leave it out.</details>

# %% [markdown]
# ## What next
#
# Chapter 46 looks at the tube that a network's seeds fill, and at its distance from the straight road.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figure 8.
