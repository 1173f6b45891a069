# %% [markdown]
# # Do different networks explore the same manifold while they train?
#
# **What.** The InPCA embedding of all train predictions, drawn by family, by loss and by error, and in three dimensions.
# **Figure of the paper.** Figures 2 and 3.
# **Answer.** A few axes describe the paths of all families from ignorance towards truth. A count of neighbours says how far each family keeps to a track of its own.
#
# | | |
# |---|---|
# | Goals | read an embedding with signed axes; see what the axes mean; judge by a number whether families mix |
# | Prerequisites | chapter 30 (essential), chapter 31 (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | embeddings/train_bhattacharyya.zarr, points.parquet; figures, results/40.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from scipy.stats import spearmanr

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.inpca.embedding import distances_to, road, select
from manifold_utils.plots import interactive
from manifold_utils.studies import null_spectra
from manifold_utils.studies.robustness import neighbour_share

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_neighbours = 10  # points of other seeds that count as near
under_way = 0.1  # progress from which a point is asked for its neighbours
radius = 0.06  # nats around each of three points of the geodesic
seed = 0  # of the permutations

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{len(atlas.points)} points of {len(atlas.runs)} "
    "runs; this chapter reads artefacts only"
)

# %% [markdown]
# ## What do we load?
#
# The embedding of chapter 30, and the table that says which network each point is. Points of other grids are placed in the same axes; the figures here show the main grid without outliers.

# %%
embedding = atlas.embedding("train")
shown = embedding.fitted.values
table = atlas.table()[shown]
coordinates = embedding.embedding.values[shown]
reference = embedding.reference_embedding.values
eigenvalues = embedding.eigenvalues.values
up_to = embedding.explained_stress.values
print(
    f"{coordinates.shape[0]} points, {coordinates.shape[1]} "
    f"axes, {table.run.nunique()} runs"
)
assert len(table) == len(coordinates)

# %% [markdown]
# A known value: an embedded geodesic keeps its distances. From ignorance to truth, the signed squared difference over the stored axes should be close to $\tfrac12 \log C$. The rest belongs to axes that were not kept.

# %%
kept = ((reference[0] - reference[-1]) ** 2 * embedding.signature.values).sum()
exact = np.log(atlas.n_classes) / 2
print(
    f"ignorance to truth: {kept:.3f} nats in "
    f"{len(eigenvalues)} axes, {exact:.3f} exactly"
)

# %% [markdown]
# ## Is there one manifold?
#
# The next figure shows the first three axes from three sides. If each network went its own way in a space of thousands of dimensions, we would see a cloud. *Prediction:* do the colours separate?

# %% tags=["hide-input"]
levels, axes_found = table[family_factor], (reference, eigenvalues, up_to)
fig = plt.figure(figsize=(9, 8.2))
plots.plot_views(fig, coordinates, levels, *axes_found)
alt = (
    f"First three InPCA axes of {len(table)} train predictions of "
    f"{table.run.nunique()} runs, coloured by {family_name}: the first two above, "
    "each with the third below. Black is the geodesic from ignorance to truth."
)
plots.save_figure(fig, atlas.figure_path("40_panels.png"), alt=alt)

# %% [markdown]
# One family may still hide another. In the next figure each family has a panel of its own, in colour over all the others in grey.

# %% tags=["hide-input"]
fig = plt.figure(figsize=(9, 5))
plots.plot_levels_apart(fig, coordinates, levels, reference)
alt = (
    f"The plane of InPC 1 and InPC 2 once for each {family_name}, in colour over the "
    f"{len(table)} train predictions in grey; n counts its points; black: geodesic."
)
plots.save_figure(fig, atlas.figure_path("40_families.png"), alt=alt)

# %% [markdown]
# One manifold shows as a bent band that begins at the square. If networks go their own ways instead, the picture is a fan or a cloud. How near do they come to the star?

# %%
farthest = table.groupby("run").progress_train.max()
print(
    f"{(farthest > 0.9).sum()} of {len(farthest)} runs come beyond a progress of 0.9; "
    f"the median run gets to {farthest.median():.2f}."
)

# %% [markdown]
# Families overlap near the square, where every network knows nothing, and near the star, if they get there. In between, look for colours that peel away from the rest: such a family has a track of its own. The geodesic is bent too, because this is a flat picture of a curved space; where points are away from it, networks do not follow it. On each axis label, the percentage behind $\Sigma$ is the explained stress up to that axis.
#
# A band alone proves little, because every network that learns must get from the square to the star. Chapter 32 made a world in which each run keeps its learning curve and shares nothing else with the others. How much of its stress do three axes explain?

# %%
worlds = null_spectra.ladder(*null_spectra.load(atlas, "train"))
worlds[["real", "class"]].rename(columns={"class": "shuffled within classes"}).round(3)

# %% [markdown]
# In the first two views all points are embedded, as they are or weighted by their step in progress. In the last, runs are compared at equal progress, where the common way from ignorance to truth plays no part. `n_axes` counts axes for 90 % of the stress. All three are about the runs that reach every value of progress of chapter 32, so the stress differs a little from that of all runs.
#
# How far do the families separate? For each point we take its nearest neighbours by distance, and count how often they belong to the same family. Two kinds of neighbours are excluded because they would be alike for another reason. Runs of one family and seed start as the very same network, so neighbours come from *other seeds* only. And all networks start near ignorance, so we use only points with progress above the parameter `under_way`. *Prediction:* how far is the share above chance?
#
# For the chance level we relabel whole sets of runs: the runs that share a family and a seed exchange their family with another set of the same seed.

# %%
between = select(atlas.distances("train"), table.index.to_numpy())
table_of_points = statistics.seeds_of(table, atlas.design), table.progress_train
counted = {"n_neighbours": n_neighbours, "after": under_way}
same, permuted = neighbour_share(
    between, table[family_factor], *table_of_points, **counted, rng=rng
)

# %%
several_seeds = np.isfinite(same)
p_value = np.nan
if several_seeds:
    p_value = statistics.p_value(same, permuted, side="high")
chance = permuted.mean()
neighbours_said = (
    f"Of the nearest points from other seeds, {100 * same:.0f} % share "
    f"the {family_name}; by chance {100 * chance:.0f} % would (p = {p_value:.3f})."
    if several_seeds
    else "No point has neighbours from other seeds: that needs runs of two seeds."
)
print(neighbours_said)

# %%
tells = several_seeds and p_value <= 0.05
print(
    f"So a point's place tells more about its {family_name} than chance would."
    if tells
    else f"So a point's place is not shown to tell its {family_name} here."
)

# %% [markdown]
# Chapter 51 repeats the count for four other distances, and chapter 44 asks about optimiser, batch size and the other factors.
#
# ## What do the axes mean?
#
# The first axis should be the way from ignorance to truth. We colour the same points by their train loss and by their train error.

# %% tags=["hide-input"]
alt = (
    f"First two InPCA axes of {len(table)} train predictions, coloured by train "
    "loss (left) and error (right); black is the geodesic."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
columns = {"loss_train": "train loss (nats)", "error_train": "train error"}
look = {"size": 6, "alpha": 0.8, "cmap": plots.SEQUENTIAL + "_r"}
for ax, (column, label) in zip(axes, columns.items(), strict=True):
    is_loss = column.startswith("loss")
    values = table[column].clip(lower=1e-4) if is_loss else table[column]
    norm = LogNorm() if is_loss else None
    plots.plot_embedding_values(ax, coordinates, values, norm=norm, **look)
    fig.colorbar(ax.collections[-1], ax=ax, label=label)
    plots.plot_reference(ax, reference)
    plots.label_embedding(ax, eigenvalues, up_to)
plots.save_figure(fig, atlas.figure_path("40_loss_and_error.png"), alt=alt)

# %% [markdown]
# Where the colour changes steadily along the band, the band follows the progress of training. The rank correlation of an axis with progress says how closely. And what do the other axes show? For each of the first three we also compute how much of its variance lies between families at equal progress, that is, within narrow slices of progress, so that no family counts as different only because it is early or late.

# %%
slices = (table.progress_train * 20).astype(int).to_numpy()
axis_meaning = pd.DataFrame(
    index=pd.Index([1, 2, 3], name="axis"),
    columns=["progress", "family"],
    dtype=float,
)
for axis in axis_meaning.index[: coordinates.shape[1]]:
    x = pd.Series(coordinates[:, axis - 1])
    rest = x - x.groupby(slices).transform("mean")
    at_progress = [slices, table[family_factor].to_numpy()]
    of_family = rest.groupby(at_progress).transform("mean")
    axis_meaning.loc[axis] = (
        abs(spearmanr(x, table.progress_train).statistic),
        of_family.var() / rest.var(),
    )

# %%
correlation = axis_meaning.progress[1]
axis_meaning.rename(
    columns={
        "progress": "rank correlation with progress",
        "family": f"share of {family_name}",
    }
)

# %% [markdown]
# ## How near do networks come to the geodesic?
#
# Around three points of the geodesic (*stations*), at progress .01, .5 and .99, we mark every network within the distance `radius`, in nats. Checkpoints are dense early in training, so plain counts would mislead. We therefore also give the share of the networks *at this progress* that are within the radius. *Prediction:* which of the three shares is smallest?

# %%
lambdas, straight = road(atlas, "train", n=101)
stations = straight[[1, 50, 99]]
to_station = distances_to(atlas, "train", stations)[:, table.index]
within, nearest = to_station < radius, to_station.min(axis=1)

# %%
at_station = np.abs(table.progress_train.to_numpy() - lambdas[[1, 50, 99], None]) < 0.05
n_there = at_station.sum(axis=1)
company = np.full(3, np.nan)  # of networks that are not there
np.divide((within & at_station).sum(axis=1), n_there, out=company, where=n_there > 0)
share_of = ["none there" if np.isnan(c) else f"{100 * c:.0f} %" for c in company]
stations_table = {
    "within": within.sum(axis=1),
    "share at this progress": company,
    "nearest": nearest,
}
pd.DataFrame(
    stations_table, index=pd.Index(lambdas[[1, 50, 99]].round(2), name="station")
).round(3)

# %% [markdown]
# The same on the map, where each colour is what lies within the radius of one of the three points:

# %% tags=["hide-input"]
alt = (
    f"The {len(table)} train points in grey; those near three "
    "points of the geodesic (black) are marked by colour and shape."
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.6))
ax.scatter(*coordinates[:, :2].T, s=4, color="0.8", linewidths=0)
look = {"s": 9, "linewidths": 0}
for k, s in enumerate(lambdas[[1, 50, 99]]):
    colour, marker, _ = plots.FACTOR_STYLES[k]
    label = f"within {radius} of s = {s:.2f} (n = {within[k].sum()})"
    near_it = coordinates[within[k], :2].T
    ax.scatter(*near_it, color=colour, marker=marker, label=label, **look)
plots.plot_reference(ax, reference)
plots.label_embedding(ax, eigenvalues, up_to)
plots.legend_below(ax, ncols=2, markerscale=1.5)
plots.save_figure(fig, atlas.figure_path("40_near_the_geodesic.png"), alt=alt)

# %% [markdown]
# Grey points are all the others. What the table and the figure show, in words:

# %% tags=["hide-input"]
leaves = company[1] < company[[0, 2]].min()
if n_there[1] == 0:
    print("No checkpoint is half-way, so nothing can be said about the way there.")
elif n_there[2] == 0:
    print(f"Half-way, {share_of[1]} are within the radius; no network gets to the end.")
elif leaves:
    print("Networks leave the geodesic on the way and come back to it: half-way, only")
    print(f"{share_of[1]} are within the radius, fewer than at either end.")
else:
    print(f"Half-way, {share_of[1]} of the networks are within the radius, which is")
    print("not less than at both ends.")
print(f"The nearest network to the midpoint is {nearest[1]:.3f} nats away from it.")

# %% [markdown]
# ## The band in three dimensions
#
# Turn it with the mouse. A line is a run. Press the button or move the slider: every trajectory grows to the last checkpoint before its progress exceeds the value, so that you see all networks move from ignorance to truth. Hover over a point to see its run, step and loss.

# %% tags=["hide-input"]
figure = interactive.embedding_3d(
    coordinates,
    reference,
    table[family_factor],
    table.progress_train,
    eigenvalues,
    up_to,
    runs=table.run,
    hover=interactive.hover_text(table, "train"),
    title=(
        f"Train predictions of {table.run.nunique()} "
        f"networks, profile {atlas.profile.name}"
    ),
)
interactive.save_interactive(figure, atlas.figure_path("40_train_manifold.html"))

# %% [markdown]
# Look at it along the first axis, from ignorance to truth: the width that you see is due to the second and the third axis, and the table above says how much of it is due to the family. A click on a name in the legend hides a family.
#
# ## What we learned

# %%
stress = embedding.explained_stress.values
print(
    f"{table.run.nunique()} networks of {table[family_factor].nunique()} "
    f"families: 3 axes explain {100 * stress[2]:.0f} % of "
    "the stress (paper: 76 % on CIFAR-10)."
)

# %%
print(*null_spectra.in_words(worlds), sep="\n")

# %%
print(neighbours_said)

# %%
print(
    f"Of the points at the progress of its start, {share_of[0]} are within {radius} "
    f"nats of the geodesic, half-way {share_of[1]} and at the progress of its end "
    f"{share_of[2]}."
)

# %% tags=["hide-input"]
n_points, n_near = len(table), int(at_station[1].sum())
drawn = dict(zip(("low", "high"), statistics.interval(permuted), strict=True))
note = f"runs; other seeds, s > {under_way}; interval: 95 % of relabellings"
alike = claims.result(same, n=table.run.nunique(), note=note, **drawn)
midway = claims.result(company[1], n=n_near, note=f"share within {radius} nats")
results = {
    "train_stress_3": claims.result(stress[2], n=n_points),
    f"same_{family_factor}_share": alike,
    f"same_{family_factor}_p": claims.result(p_value, n=table.run.nunique()),
    "axis_1_progress_correlation": claims.result(correlation, n=n_points),
    "nearest_to_midway": claims.result(nearest[1], n=n_points, unit="nats"),
    "near_road_midway": midway,
}
claims.save_results(atlas, "40", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Colour the first two axes by another factor. Define `second_factor`, its name (the optimiser if there is one), and `second_ax`, the axes with this picture. Can you tell the factor's level from the place?

# %% tags=["stub"]
second_factor = ...  # the name of a factor
second_ax = ...  # axes of matplotlib

# %% tags=["solution"]
fig, second_ax = plt.subplots(figsize=(7, 4.5))
others = [f for f in atlas.factors if f not in (family_factor, "scale")]
second_factor = "optimizer" if "optimizer" in others else [*others, family_factor][0]
plots.plot_embedding(second_ax, coordinates, table[second_factor], legend=False)
plots.label_embedding(second_ax, eigenvalues, up_to)
plt.close(fig)

# %% tags=["check"]
assert isinstance(second_factor, str) and second_factor in table, (
    f"expected a factor of {list(atlas.factors)}, found {second_factor!r}"
)
assert isinstance(second_ax, plt.Axes), (
    f"expected axes with a picture, found {second_ax!r}"
)

# %% tags=["check", "hidden"]
drawn_levels = len(second_ax.get_legend_handles_labels()[1])
known_levels = table[second_factor].nunique()
assert drawn_levels == known_levels, (
    f"expected {known_levels} levels of it, found {drawn_levels}"
)

# %% [markdown]
# 2. Repeat the count of neighbours for this factor. Define `same_second`, the share of nearest points that have the same level (not a number where runs have no seeds). Is it as far above chance as the family's?

# %% tags=["stub"]
same_second = ...  # a share from 0 to 1

# %% tags=["solution"]
same_second, by_chance = neighbour_share(
    between, table[second_factor], *table_of_points, **counted, rng=rng
)
same_second - by_chance.mean(), same - chance

# %% tags=["check"]
assert np.isscalar(same_second) and not (same_second < 0 or same_second > 1), (
    f"expected a share from 0 to 1, found {same_second!r}"
)

# %% tags=["check", "hidden"]
asked = between, table[second_factor], *table_of_points
known_same, _ = neighbour_share(*asked, **counted, rng=rng)
assert np.isclose(same_second, known_same, equal_nan=True), (
    f"expected {known_same:.3f}, found {same_second}"
)

# %% [markdown]
# 3. Which single run stays nearest to the geodesic half-way, and what distinguishes it? Define `nearest_run`, its name. Use `to_station`.

# %% tags=["stub"]
nearest_run = ...  # a name in the index of `atlas.runs`

# %% tags=["solution"]
by_run = pd.Series(to_station[1], index=table.run).groupby(level=0).min()
nearest_run = by_run.idxmin()
atlas.runs.loc[nearest_run, list(atlas.factors)]

# %% tags=["check"]
assert isinstance(nearest_run, str) and nearest_run in atlas.runs.index, (
    f"expected the name of a run, found {nearest_run!r}"
)

# %% tags=["check", "hidden"]
least = to_station[1][(table.run == nearest_run).to_numpy()].min()
assert np.isclose(least, nearest[1]), (
    f"expected a run at {nearest[1]:.4f} nats, found {nearest_run} at {least:.4f}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why do only points of other seeds count as neighbours?
#
# <details><summary>Answer</summary>Runs of one architecture and seed start as the very same network. They are neighbours for this dull reason, and it would count as evidence that architectures stay together.</details>
#
# **2.** All train points start near one place and end near one place. Which of the figures of this chapter would look the same for networks that share nothing else?
#
# <details><summary>Answer</summary>The first one, of all points, nearly so: the common way fills its first axis. What can differ is what lies beside the way, at equal progress.</details>

# %% [markdown]
# ## What next
#
# Chapter 41 draws the same for test predictions; chapter 42 asks how many axes there really are.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figures 2 and 3.
# * [Quinn2019] Quinn et al., *Visualizing probabilistic models and data with intensive principal component analysis*, PNAS 116(28), 2019. For reading InPCA's axes.
