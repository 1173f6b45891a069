# %% [markdown]
# # Is there a manifold for samples that no network has seen?
#
# **What.** The InPCA embedding of all test predictions: by family, by loss and by error, near the geodesic and in three dimensions; and a comparison with the train manifold.
# **Figure of the paper.** The test figure, number 5; the panels are those of figure 3.
# **Answer.** The chapter gives the stress that a few axes explain, beside that of a world without the effect. How near the points come to the truth of the test samples depends on how well the networks generalise, and the chapter measures it.
#
# | | |
# |---|---|
# | Goals | read a test embedding; tell where and how far networks end; compare two embeddings by a number |
# | Prerequisites | chapter 40 (essential), chapter 31 (helpful) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | embeddings/test_bhattacharyya.zarr, predictions/, points.parquet; figures, results/41.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from scipy.stats import spearmanr

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.inpca.embedding import distances_to, road
from manifold_utils.plots import interactive
from manifold_utils.studies import null_spectra

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
radius = 0.06  # nats around each of three points of the geodesic
max_error = 0.1  # final train error up to which a run counts as trained
n_compared = 400  # points drawn for the comparison with the train distances
n_permutations = 200  # permutations of runs for its null
seed = 0  # of all draws

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
# The embedding that chapter 30 made from the test distances, and the table of its points: one row a network at one checkpoint, with its factors and losses. The points are those of chapter 40, the same networks at the same checkpoints; only the samples are different. So this is a different space, and its truth and its geodesic are those of the test samples.

# %%
embedding = atlas.embedding("test")
shown = embedding.fitted.values
table = atlas.table()[shown]
coordinates = embedding.embedding.values[shown]
reference = embedding.reference_embedding.values
eigenvalues, stress = embedding.eigenvalues.values, embedding.explained_stress.values
print(
    f"{coordinates.shape[0]} points, {coordinates.shape[1]} "
    f"axes, {table.run.nunique()} runs"
)

# %% [markdown]
# A known value: the test loss is twice the distance to the test truth, so the distance of any point to the truth needs no embedding at all.

# %%
one = table.groupby("run").tail(1).iloc[0]
direct = distances_to(atlas, "test", road(atlas, "test", n=2)[1][1:])[0]
print(
    f"distance to truth {direct[one.name]:.4f} "
    f"nats, half the loss {one.loss_test / 2:.4f}"
)
assert np.isclose(direct[one.name], one.loss_test / 2, rtol=1e-3)

# %% [markdown]
# ## Is there one manifold?
#
# The next figure shows the first three axes from three sides, as in chapter 40. *Prediction:* will any part of that picture be missing?

# %% tags=["hide-input"]
levels, axes_found = table[family_factor], (reference, eigenvalues, stress)
fig = plt.figure(figsize=(9, 8.2))
plots.plot_views(fig, coordinates, levels, *axes_found)
alt = (
    f"First three InPCA axes of {len(table)} test predictions of "
    f"{table.run.nunique()} runs, coloured by {family_name}: the first two above, "
    "each with the third below. Black is the geodesic from ignorance to truth."
)
plots.save_figure(fig, atlas.figure_path("41_panels.png"), alt=alt)

# %% [markdown]
# The first two axes again, one family at a time, so that none hides another:

# %% tags=["hide-input"]
fig = plt.figure(figsize=(9, 5))
plots.plot_levels_apart(fig, coordinates, levels, reference)
alt = (
    f"The plane of InPC 1 and InPC 2 once for each {family_name}, in colour over the "
    f"{len(table)} test predictions in grey; n counts its points; black: geodesic."
)
plots.save_figure(fig, atlas.figure_path("41_families.png"), alt=alt)

# %% [markdown]
# A family that leaves the others in one of the panels makes errors of its own kind on new samples. As in chapter 40, the band alone proves little. For comparison, here is the world of chapter 32 in which every run is shuffled within classes, both for the runs that reach every value of progress there:

# %%
worlds = null_spectra.ladder(*null_spectra.load(atlas, "test"))
worlds[["real", "class"]].rename(columns={"class": "shuffled within classes"}).round(3)

# %% [markdown]
# All runs start at the square, ignorance, as in chapter 40. The star is the truth of the test samples. The gap between the last points and the star is what the networks have not generalised; it is small on easy data and wide on hard data. Two axes can hide it, because a point beside the star in one plane may be far from it along other axes. How wide is it here?

# %%
last = atlas.table("main").groupby("run").tail(1)
judged_on = atlas.splits[0]
trained = last[last[f"error_{judged_on}"] <= max_error].set_index("run")
ends = {split: trained[f"loss_{split}"] / 2 for split in atlas.splits}

# %%
pd.DataFrame(
    {
        split: e.describe()[["count", "mean", "25%", "50%", "75%"]]
        for split, e in ends.items()
    }
).round(4)

# %% [markdown]
# The difference between the two columns is what networks do not carry over to new samples. In the paper the two means are .026 and .586. The next figure shows the same by family, with one mark for each run, on a logarithmic axis:

# %% tags=["hide-input"]
alt = (
    f"Distance to truth at the end of training of {len(trained)} runs, one mark a run, "
    f"by {family_name}: grey circles on train, red triangles on test samples."
)

# %% tags=["hide-input"]
order = statistics.sorted_levels(last[family_factor])
sides = {"train": (-0.16, plots.SPACE_LIKE, "o"), "test": (0.16, plots.TIME_LIKE, "^")}
sides = {split: sides[split] for split in atlas.splits}
fig, ax = plt.subplots(figsize=(8.5, 4.2))
for k, level in enumerate(order):
    member = trained[trained[family_factor] == level]
    for split, (shift, colour, mark) in sides.items():
        place = k + shift + rng.uniform(-0.09, 0.09, size=len(member))
        look = {"ms": 4, "alpha": 0.7, "color": colour, "label": None if k else split}
        ax.plot(place, member[f"loss_{split}"] / 2, mark, **look)
ax.set(yscale="log", ylabel="distance to truth at the end (nats)")
ax.set_xticks(range(len(order)), order, rotation=60 if len(order) > 8 else 0)
plots.short_legend(ax)
plots.save_figure(fig, atlas.figure_path("41_ends.png"), alt=alt)

# %% [markdown]
# Grey circles are train and red triangles are test samples. What lies between the two heights of a family is its generalisation gap, in nats of $d_B$. A wide gap means that the family has memorised its samples; if both are low, what it has learned carries over. Compare also the spread: the marks of one column differ in seed, optimiser and regularisation, so a tall column of triangles means that these choices matter for predictions on new samples.
#
# ## What do the axes mean?
#
# We colour the test points by their test loss and by their test error. *Prediction:* will both change along the first axis in the same way?

# %% tags=["hide-input"]
alt = (
    f"First two InPCA axes of {len(table)} test predictions, coloured by test "
    "loss (left) and error (right); black is the geodesic."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
columns = {"loss_test": "test loss (nats)", "error_test": "test error"}
look = {"size": 6, "alpha": 0.8, "cmap": plots.SEQUENTIAL + "_r"}
for ax, (column, label) in zip(axes, columns.items(), strict=True):
    norm = LogNorm() if column.startswith("loss") else None
    plots.plot_embedding_values(ax, coordinates, table[column], norm=norm, **look)
    bar = fig.colorbar(ax.collections[-1], ax=ax, label=label)
    if norm is not None:
        plots.plain_log(bar.ax.yaxis)
    plots.plot_reference(ax, reference)
    plots.label_embedding(ax, eigenvalues, stress)
plots.save_figure(fig, atlas.figure_path("41_loss_and_error.png"), alt=alt)

# %% [markdown]
# Dark is a large loss or error. Does the first axis put the points in the order of progress, of the loss or of the error? A rank correlation answers this without assuming a straight line.

# %%
correlation = {
    c: abs(spearmanr(coordinates[:, 0], table[c]).statistic)
    for c in ("progress_test", "loss_test", "error_test")
}
print(
    "rank correlation of the first axis with",
    {c: round(float(v), 3) for c, v in correlation.items()},
)

# %% [markdown]
# The nearer the first number is to 1, the more the first axis is progress again. Why do loss and error differ?

# %% tags=["hide-input"]
print(
    "The loss follows the axis less closely than the error: networks grow confident "
    "in wrong answers, so that the loss rises again while the error does not."
    if correlation["loss_test"] < correlation["error_test"]
    else "The error follows the axis less closely than the loss, because it is coarse: "
    "many points have equally many wrong samples while their confidence still grows."
)

# %% [markdown]
# ## How near do networks come to the geodesic?
#
# Around three points of the test geodesic (*stations*), at progress .01, .5 and .99, we mark every network within `radius`, as in chapter 40. The table counts them and gives the distance of the nearest one. *Prediction:* which of the three has fewer neighbours than on train samples?

# %%
lambdas, straight = road(atlas, "test", n=101)
to_station = distances_to(atlas, "test", straight[[1, 50, 99]])[:, table.index]
within, nearest = to_station < radius, to_station.min(axis=1)
pd.DataFrame(
    {"within": within.sum(axis=1), "nearest": nearest.round(3)},
    index=pd.Index(lambdas[[1, 50, 99]].round(2), name="station"),
)

# %% [markdown]
# The next figure shows where these networks are:

# %% tags=["hide-input"]
alt = (
    f"The {len(table)} test points in grey; those near three "
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
plots.label_embedding(ax, eigenvalues, stress)
plots.legend_below(ax, ncols=2, markerscale=1.5)
plots.save_figure(fig, atlas.figure_path("41_near_the_geodesic.png"), alt=alt)

# %% [markdown]
# Does any network get to the end of the test geodesic?

# %% tags=["hide-input"]
print(
    f"{within[2].sum()} points are within {radius} nats of its last station: these "
    "data are easy enough to be learned and generalised at once."
    if within[2].any()
    else f"None: the nearest point stays {nearest[2]:.2f} nats away from it, because "
    "no network gets that far on samples that it was not trained on."
)

# %% [markdown]
# ## Is it arranged like the train manifold?
#
# Two networks that agree on train samples need not agree on test samples. We draw some runs and take the same few checkpoints of each. Then we compare the two distance matrices pair by pair, and repeat this with the runs of the test matrix permuted and their checkpoints kept in order.

# %%
# The points of each run.
rows = pd.Series(table.index.to_numpy()).groupby(table.run.to_numpy()).apply(np.array)
length = rows.map(len)
# Runs with the same number of checkpoints can be exchanged.
drawn_runs = rows[length == length.mode()[0]]
drawn_runs = drawn_runs.sample(min(len(drawn_runs), n_compared // 4), random_state=seed)

# %%
checkpoints = np.unique(np.linspace(1, length.mode()[0] - 1, 4).astype(int))
drawn_points = np.sort(np.concatenate([r[checkpoints] for r in drawn_runs]))
on_train, on_test = (
    pairwise(np.asarray(atlas.log_probs(split)[drawn_points]))
    for split in (judged_on, "test")
)

# %%
upper = np.triu_indices(len(drawn_points), 1)
agreement = spearmanr(on_train[upper], on_test[upper]).statistic

# %%
block, null = (
    np.arange(len(drawn_points)).reshape(len(drawn_runs), -1),
    np.empty(n_permutations),
)
for k in range(n_permutations):
    shuffle = block[rng.permutation(len(drawn_runs))].ravel()
    null[k] = spearmanr(
        on_train[upper], on_test[np.ix_(shuffle, shuffle)][upper]
    ).statistic

# %%
agreement_said = (
    f"Train and test distances have the rank correlation {agreement:.3f}; permuted "
    f"runs reach {null.max():.3f}, on average {null.mean():.3f}."
    if len(atlas.splits) > 1
    else "Whether train and test agree needs predictions on both."
)
print(agreement_said)

# %% [markdown]
# Permuted runs keep much of the correlation, because early checkpoints are near early ones in both spaces. Any excess over that is due to single runs: networks that are near each other on train samples are near each other on test samples too.
#
# ## The band in three dimensions
#
# Turn the figure with the mouse. The slider and the button let the trajectories grow with their test progress, and hovering over a point shows its run, step and loss.

# %% tags=["hide-input"]
figure = interactive.embedding_3d(
    coordinates,
    reference,
    table[family_factor],
    table.progress_test,
    eigenvalues,
    stress,
    runs=table.run,
    hover=interactive.hover_text(table, "test"),
    title=(
        f"Test predictions of {table.run.nunique()} "
        f"networks, profile {atlas.profile.name}"
    ),
)
interactive.save_interactive(figure, atlas.figure_path("41_test_manifold.html"))

# %% [markdown]
# Compare with chapter 40: are the same families on the same tracks, and do the lines end at the truth or before it?
#
# ## What we learned

# %%
three = min(3, len(stress)) - 1
print(
    f"3 axes explain {100 * stress[three]:.0f} % of the test stress, "
    f"10 axes {100 * stress[min(9, len(stress) - 1)]:.0f} %."
)

# %%
print(*null_spectra.in_words(worlds), sep="\n")

# %%
papers = {"train": ".026", "test": ".586, on CIFAR-10"}
if not len(trained):
    print(f"No run ends with a {judged_on} error of at most {max_error}.")
for split, distance in ends.items() if len(trained) else ():
    print(
        f"Trained networks end {distance.mean():.4f} nats from the {split} truth "
        f"(paper: {papers[split]})."
    )

# %%
print(
    f"The nearest point to the last station (s = {lambdas[99]:.2f}) of the test "
    f"geodesic is {nearest[2]:.3f} nats away; half-way it is {nearest[1]:.3f}."
)
print(agreement_said)

# %% tags=["hide-input"]
low, high = ends["test"].quantile([0.25, 0.75])
n_ends, n_pairs, note = len(ends["test"]), len(upper[0]), "interval: permuted runs"

# %% tags=["hide-input"]
results = {
    "test_stress_3": claims.result(stress[three], n=len(table)),
    "axis_1_progress_correlation": claims.result(
        correlation["progress_test"], n=len(table)
    ),
    "test_end_to_truth": claims.result(
        ends["test"].mean(), low=low, high=high, n=n_ends, unit="nats", note="quartiles"
    ),
    "nearest_to_midway": claims.result(nearest[1], n=len(table), unit="nats"),
    "nearest_to_end": claims.result(nearest[2], n=len(table), unit="nats"),
}
if len(atlas.splits) > 1:
    drawn_ends = {"low": null.min(), "high": null.max(), "n": n_pairs, "note": note}
    results["train_test_agreement"] = claims.result(agreement, **drawn_ends)

# %% tags=["hide-input"]
claims.save_results(atlas, "41", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `best_run`, the name of the run that ends nearest to the test truth. Which of its factors would you have guessed?

# %% tags=["stub"]
best_run = ...  # a name of the column `run` of `last`

# %% tags=["solution"]
best_run = last.loc[last.loss_test.idxmin(), "run"]
last.loc[last.run == best_run, [*atlas.factors, "error_test"]]

# %% tags=["check"]
assert isinstance(best_run, str) and best_run in set(last.run), (
    f"expected the name of a run, found {best_run!r}"
)

# %% tags=["check", "hidden"]
its_loss = last.loss_test[last.run == best_run].iloc[0]
assert its_loss == last.loss_test.min(), (
    f"expected the least loss, {last.loss_test.min():.4f}, found {its_loss}"
)

# %% [markdown]
# 2. For every run, find the checkpoint nearest to the test truth. Define `stopped_late`, the number of runs whose least test loss is below 95 % of their last one.

# %% tags=["stub"]
stopped_late = ...  # a whole number

# %% tags=["solution"]
curves = atlas.table("main").groupby("run").loss_test
stopped_late = int((curves.min() < 0.95 * curves.last()).sum())
stopped_late, curves.ngroups

# %% tags=["check"]
assert np.isscalar(stopped_late) and 0 <= stopped_late <= len(last), (
    f"expected a number from 0 to {len(last)}, found {stopped_late!r}"
)

# %% tags=["check", "hidden"]
by_run = [one.to_numpy() for _, one in atlas.table("main").groupby("run").loss_test]
known_late = sum(bool(one.min() < 0.95 * one[-1]) for one in by_run)
assert stopped_late == known_late, f"expected {known_late} runs, found {stopped_late}"

# %% [markdown]
# 3. Colour the test embedding by the error on `judged_on` (the *train* error, if it was recorded). Define `error_ax`, the axes with this picture. Where do networks with no error lie?

# %% tags=["stub"]
error_ax = ...  # axes of matplotlib

# %% tags=["solution"]
fig, error_ax = plt.subplots(figsize=(7, 4.5))
plots.plot_embedding_values(
    error_ax, coordinates, table[f"error_{judged_on}"], cmap=plots.SEQUENTIAL + "_r"
)
plots.label_embedding(error_ax, eigenvalues, stress)
plt.close(fig)

# %% tags=["check"]
assert isinstance(error_ax, plt.Axes) and len(error_ax.collections) > 0, (
    f"expected axes with a scatter of points, found {error_ax!r}"
)

# %% tags=["check", "hidden"]
colours = np.ma.filled(error_ax.collections[0].get_array().astype(float), np.nan)
errors = table[f"error_{judged_on}"].to_numpy()
assert np.allclose(colours, errors, equal_nan=True), (
    f"expected a point coloured by each error, found {colours}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Train predictions of trained networks end near truth. Why do test predictions not?
#
# <details><summary>Answer</summary>Networks make errors on samples that they have not seen, and are sure of some of them. The end of the way is where each network's errors put it, and this is not truth.</details>
#
# **2.** Why are test predictions of hard data the sharper test of a shared manifold?
#
# <details><summary>Answer</summary>Far from truth there is room to differ. If networks of different kinds still lie on the same few dimensions, they do so because they make similar errors, and not because they all have arrived.</details>

# %% [markdown]
# ## What next
#
# Chapter 42 asks how many axes there really are.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figures 3 and 5.
