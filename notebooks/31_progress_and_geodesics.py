# %% [markdown]
# # How far has a network come from ignorance to truth?
#
# **What.** Every point gets its progress: the place of the nearest point of the geodesic. Then all runs are compared on this common clock.
# **Figure of the paper.** Makes what the figures on trajectories, tubes and geodesics read (4, 7 and 8).
# **Answer.** Progress puts points of very different networks in one order, so that whole runs can be compared at equal progress.
#
# | | |
# |---|---|
# | Goals | compute progress and know why it is hard to minimise; reparametrise a run; compare runs at equal progress |
# | Prerequisites | chapters 00 and 20 (essential) |
# | Minutes | 1 on two cores at the digits profile |
# | Inputs, outputs | predictions/; progress columns in points.parquet, trajectories/, results/31.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from tqdm import tqdm

from manifold_utils import claims, geometry, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.geometry import ignorance, progress, truth
from manifold_utils.inpca.embedding import road
from manifold_utils.profiles import Profile
from manifold_utils.trajectories import of_atlas, resample

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
space = ""  # prediction space: empty is the main one, else a grid with its own data set

# %% tags=["hide-input"]
started = time.time()
settings = Profile.load(profile, data_dir)
atlas = Atlas.open(profile, data_dir).space(space)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
chapter = f"31-{space}" if space else "31"
print(
    f"{len(atlas.runs)} runs, {len(atlas.points)} "
    f"points, {settings.n_progress} values of progress"
)

# %% [markdown]
# ## What is the straight road?
#
# On the sphere of square roots, the geodesic from ignorance to truth passes, for ten classes, through probabilities .1, .351, .658, .906 and 1 of the true class at $\lambda = 0, \tfrac14, \tfrac12, \tfrac34, 1$. With fewer classes it starts higher, at $1/C$. We compute the five values for the classes of this atlas, and check that they are the same on all samples.

# %%
first_split = atlas.splits[0]
labels = atlas.labels(first_split)
lambdas, straight = road(atlas, first_split, n=5)
of_true_class = np.exp(straight[:, np.arange(len(labels)), labels])
print(
    "probability of the true class along the geodesic:",
    of_true_class.mean(axis=1).round(3),
)
assert np.allclose(of_true_class, of_true_class[:, :1]), "every sample travels alike"

# %% [markdown]
# Its length is the angle between the ends, $\arccos(1/\sqrt C)$, and the lengths of its parts add up.

# %%
n_classes = straight.shape[2]
quarters = zip(straight[:4], straight[1:5], strict=True)
steps = [float(geometry.great_circle_distance(p, q)) for p, q in quarters]
print(
    f"four steps of {steps[0]:.4f} rad; arccos(1/sqrt "
    f"C) = {np.arccos(n_classes**-0.5):.4f} rad"
)
assert np.isclose(sum(steps), np.arccos(n_classes**-0.5))

# %% [markdown]
# ## How is progress found?
#
# $s(P) = \arg\min_\lambda \frac1N \sum_n \arccos \sum_c \sqrt{p^n_c\, p^n_{\lambda,c}}$ gives one number for each point, but the objective need not be smooth. *Look at it before you trust an optimiser:* the next figure shows it for one run, at five of its checkpoints.

# %% tags=["hide-input"]
one_run = atlas.points.run.iloc[0]
log_probs = atlas.run_log_probs(one_run, first_split)
fine, fine_road = road(atlas, first_split, n=101)
shown = np.unique(np.linspace(0, len(log_probs) - 1, 5).astype(int))
angle = geometry.great_circle_distance
objective = [[float(angle(log_probs[i], q)) for q in fine_road] for i in shown]
objective = np.array(objective)
s_shown = progress(log_probs[shown], labels)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 4))
colours = plt.get_cmap(plots.SEQUENTIAL)(np.linspace(0, 0.9, len(shown)))
for i, values, s, colour in zip(shown, objective, s_shown, colours, strict=True):
    ax.plot(fine, values, color=colour, label=f"checkpoint {i}, s = {s:.3f}")
    ax.plot(s, np.interp(s, fine, values), "o", color=colour)
ax.set(xlabel=r"$\lambda$ on the geodesic", ylabel="mean angle (rad)")
ax.legend()
alt = (
    "Mean angle to points of the geodesic for five checkpoints; "
    "each curve has its minimum further right as training goes on."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_objective.png"), alt=alt)

# %% [markdown]
# Each curve is one checkpoint, and the dot is the progress that the package found. It lies in the minimum, which moves to the right as training goes on. We check that the solver's value is as low as the best value on a fine grid, up to one step of the grid. The place itself may differ if the minimum is flat, which can happen with two classes.

# %%
grid_minimum = fine[np.argmin(objective, axis=1)]
print(
    "largest difference from the grid of spacing "
    f"{fine[1]:.3f}: {np.abs(grid_minimum - s_shown).max():.4f}"
)
reached = [np.interp(s, fine, v) for s, v in zip(s_shown, objective, strict=True)]
assert np.all(reached <= objective.min(axis=1) + np.abs(np.diff(objective)).max())
assert progress(ignorance(len(labels), n_classes), labels)[0] < 1e-5
assert progress(truth(labels, n_classes), labels)[0] > 1 - 1e-5

# %% [markdown]
# ## Every point on the clock
#
# Now all points, on every split. The columns are added to the table of points.

# %%
points = atlas.points
for split in atlas.splits:
    y = atlas.labels(split)
    runs = tqdm(points.run.unique(), f"{split} progress", leave=False)
    clock = [progress(atlas.run_log_probs(run, split), y) for run in runs]
    points[f"progress_{split}"] = np.concatenate(clock)
atlas.save_points(points)
clocks = points[[f"progress_{split}" for split in atlas.splits]]
clocks.describe().loc[["mean", "min", "max"]].round(3)

# %% [markdown]
# Progress lies between 0 and 1 by construction. It should follow the loss, but it is not a function of the loss. *Prediction:* where will two networks of equal loss differ most in progress?

# %% tags=["hide-input"]
table = atlas.table(space or "main")
fig, axes = plots.panels(atlas.splits, figsize=(9, 4))
for ax, split in zip(axes, atlas.splits, strict=True):
    coordinates = table[[f"loss_{split}", f"progress_{split}"]].to_numpy()
    plots.plot_embedding(ax, coordinates, table[family_factor], size=6, legend=False)
    ax.set(xscale="log", xlabel=f"{split} loss (nats)")
    plots.plain_log(ax.xaxis)
axes[0].set_ylabel("progress")
plots.figure_legend(fig, axes[0], ncols=min(6, table[family_factor].nunique()))
alt = (
    f"Progress against loss for each split: {len(table)} points of "
    f"{table.run.nunique()} runs, coloured by {family_name}."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_progress_and_loss.png"), alt=alt)

# %% [markdown]
# Where the band is narrow, progress and loss say the same. Points on a horizontal line have equal progress; those further to the right have a larger loss, because they make a few confident errors, which cost much loss but little angle. Far to the right at the bottom are networks that are confident and wrong. A hook in the test panel is overfitting: the test loss rises again while progress continues.
#
# How tight is the relation? The rank correlation says it in one number for each split.

# %%
rank = {
    s: table[[f"loss_{s}", f"progress_{s}"]].corr("spearman").iloc[0, 1]
    for s in atlas.splits
}
print({split: round(value, 4) for split, value in rank.items()})

# %% [markdown]
# ## A run on the clock of progress
#
# At a given $s$ we take the first checkpoint whose progress exceeds $s$ and its predecessor, and interpolate between the two along the geodesic that joins them. *Prediction:* if we ask for the progress of the resampled points, do we get $s$ back?

# %%
rows = (points.run == one_run) & (points.phase == "main")
own_clock = points[f"progress_{first_split}"][rows].to_numpy()
asked = np.linspace(own_clock[0], own_clock.max(), 12)
resampled = resample(
    log_probs[(points.phase[points.run == one_run] == "main").to_numpy()],
    own_clock,
    asked,
)
answered = progress(resampled, labels)
pd.DataFrame({"asked": asked, "answered": answered}).T.round(3)

# %% [markdown]
# Nearly: progress does not grow evenly along the geodesic between two checkpoints. The largest deviation tells whether the checkpoints are dense enough.

# %%
deviation = float(np.abs(asked - answered).max())
print(f"largest deviation of the resampled clock: {deviation:.3f}")
forward = np.diff(own_clock).min() >= 0
assert np.abs(asked[0] - answered[0]) < 0.05 or not forward, "it starts where it did"

# %% [markdown]
# ## All runs, at equal progress
#
# Now every run is resampled at the same values of progress. Three numbers are kept: distances between all runs at each $s$, the distance of each run to the geodesic, and the distance to the mean of its seeds.

# %%
grid = np.linspace(0, 1, settings.n_progress + 1)[1:]
trajectories = {}
for split in atlas.splits:
    trajectories[split] = of_atlas.compare_trajectories(atlas, split, grid)
for split, dataset in trajectories.items():
    of_atlas.save_trajectories(atlas, dataset, split)
    print(split, dict(dataset.sizes))

# %% [markdown]
# At every $s$, the distance of a run to itself must be zero, and the distances must be symmetric.

# %%
distance = trajectories[first_split].distance.values
assert np.all(
    distance[:, np.arange(distance.shape[1]), np.arange(distance.shape[1])] == 0
)
assert np.array_equal(distance, distance.transpose(0, 2, 1))

# %% [markdown]
# The next figure gives a first look: the mean distance between runs against progress, and their mean distance to the geodesic. What would we expect if networks left the geodesic each in its own direction? $d_B$ is like a squared length, and squared lengths of unrelated directions add up (Pythagoras): two such runs would be *twice* as far from each other as each is from the geodesic. If all runs took the same detour, the distance between them would be 0. A run that stops on the way repeats its last point, so the curves end where fewer than half of the runs are left. *Prediction:* where between these two does the solid curve lie?

# %% tags=["hide-input"]
followed = trajectories[first_split]
grids = atlas.runs.loc[followed.run.values].grid
main = (grids == (space or "main")).to_numpy()
n_pairs = main.sum() * (main.sum() - 1)
between = distance[:, main][:, :, main].sum(axis=(1, 2)) / n_pairs
to_road = followed.to_geodesic.values[main].mean(axis=0)
of_main = followed.run.values[main]
passed = of_atlas.reached(atlas.points, of_main, grid, first_split).mean(axis=0)
passed = passed.to_numpy()

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 3.8))
walked = passed >= 0.5
drawn = np.where(walked, [between, to_road, 2 * to_road], np.nan)
ax.plot(grid, drawn[0], color=plots.SPACE_LIKE, label="between runs")
ax.plot(grid, drawn[1], color="black", ls="--", label="to the geodesic")
label = "twice to the geodesic: detours unrelated"
ax.plot(grid, drawn[2], color="black", ls=":", lw=1, label=label)
ax.set(xlabel="progress s", ylabel="mean $d_B$ (nats)", ylim=(0, None), xlim=(0, 1))
plots.legend_below(ax)
alt = (
    f"Mean distance between {main.sum()} runs against progress (solid), and once "
    "(dashed) and twice (dotted) their mean distance to the geodesic."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_between_runs.png"), alt=alt)

# %% [markdown]
# The distance from the dotted curve down to the solid one is what the detours have in common. Where the solid curve is below the dashed one, runs share more than half of their detour: they move together, away from the geodesic. A run that never gets to $s$ is represented by its last point here, so near the right end the curves also say how far the runs got; chapter 46 leaves such runs out there. Chapter 46 repeats this separately for families, optimisers and seeds.
#
# ## What we learned

# %%
middle = int(np.argmin(np.abs(grid - 0.5)))
often = np.flatnonzero(passed[: middle + 1] >= 0.75)  # half-way, or as far as most get
middle = int(often[-1]) if len(often) else middle
together = float(to_road[middle] / between[middle])
shared = 1 - between[middle] / (2 * to_road[middle])
road_of = followed.to_geodesic.values[main][:, middle]
apart = distance[middle][main][:, main]
for split, correlation in rank.items():
    print(
        f"Progress on {split} samples follows the {split} loss with a rank "
        f"correlation of {correlation:.3f}."
    )

# %% [markdown]
# How sure is the ratio of the two distances? Its interval leaves out families in turn, because the sentence is about networks of other families as well. How much *single runs* differ is a separate question: that spread does not shrink with more runs, and it is saved under another name.

# %% tags=["hide-input"]
families = atlas.runs[family_factor].loc[followed.run.values][main]
left_out = []
for family in families.unique():
    kept = (families != family).to_numpy()
    pairs = apart[np.ix_(kept, kept)][np.triu_indices(kept.sum(), 1)]
    left_out.append(road_of[kept].mean() / pairs.mean() if len(pairs) else np.nan)
low, high = statistics.jackknife_interval(together, left_out)
lowest, highest = statistics.interval(road_of / between[middle])

# %% tags=["answer", "hide-input"]
about = f"{low:.2f} to {high:.2f} over families" if low < high else "one family only"
if len(often):
    print(
        f"At s = {grid[middle]:.2f}, a run is {together:.2f} times ({about}) as far "
        "from the geodesic as from another run."
    )
    print(
        f"So the detours of two runs have {100 * shared:.0f} % of their squared "
        "length in common (0 %: unrelated, 100 %: the same detour)."
    )
    print(f"For 95 % of the single runs the ratio is {lowest:.2f} to {highest:.2f}.")
else:
    print("No progress is passed by three quarters of the runs: nothing to compare.")
    together = low = high = lowest = highest = np.nan

# %% tags=["hide-input"]
results = {
    f"rank_correlation_{split}": claims.result(correlation, n=len(table))
    for split, correlation in rank.items()
}
results["clock_deviation"] = claims.result(deviation, n=len(asked))
at = f"at s = {grid[middle]:g}"
note = f"{at}; 95 % t interval, {len(left_out)} families left out in turn"
results["geodesic_over_between"] = claims.result(
    together, low=low, high=high, n=int(main.sum()), note=note
)

# %% tags=["hide-input"]
spread = {"spread_low": (lowest, 2.5), "spread_high": (highest, 97.5)}
for name, (value, percent) in spread.items():
    note = f"{at}; {percent} % quantile of single runs, no interval"
    results[f"geodesic_over_between_{name}"] = claims.result(
        value, n=int(main.sum()), note=note
    )
claims.save_results(atlas, chapter, results, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `s_wrong`, the progress of a network that is certain and wrong on every sample.

# %% tags=["stub"]
s_wrong = ...  # a number between 0 and 1

# %% tags=["solution"]
wrong = truth((labels + 1) % n_classes, n_classes)
s_wrong = progress(wrong, labels)[0]
s_wrong

# %% tags=["check"]
assert np.isscalar(s_wrong) and 0 <= s_wrong <= 1, (
    f"expected a progress between 0 and 1, found {s_wrong!r}"
)

# %% tags=["check", "hidden"]
assert s_wrong < 1e-5, f"expected 0, since ignorance is nearest, found {s_wrong}"

# %% [markdown]
# 2. Take the geodesic at $\lambda = 0.3$ on every odd sample and at $\lambda = 0.7$ on every even one (counting from 0). Guess the progress of this point first; then define it as `s_mixed`.

# %% tags=["stub"]
s_mixed = ...  # a number between 0 and 1

# %% tags=["solution"]
ends = ignorance(len(labels), n_classes), truth(labels, n_classes)
slow, fast = geometry.geodesic(*ends, [0.3, 0.7])
mixed = np.where(np.arange(len(labels))[:, None] % 2 == 0, fast, slow)[None]
s_mixed = progress(mixed, labels)[0]
s_mixed

# %% tags=["check"]
assert np.isscalar(s_mixed) and 0 <= s_mixed <= 1, (
    f"expected a progress between 0 and 1, found {s_mixed!r}"
)

# %% tags=["check", "hidden"]
assert 0.3 - 1e-4 <= s_mixed <= 0.7 + 1e-4, (
    f"expected a value between the two, found {s_mixed}"
)

# %% [markdown]
# 3. Is progress monotone along every run? Define `n_falls`, the number of checkpoints of the runs in `table` at which the progress on the first split is lower by more than 0.01 than at the checkpoint before.

# %% tags=["stub"]
n_falls = ...  # a whole number

# %% tags=["solution"]
change = table.groupby("run", sort=False)[f"progress_{first_split}"].diff()
n_falls = int((change < -0.01).sum())
n_falls, len(change)

# %% tags=["check"]
assert np.isscalar(n_falls) and 0 <= n_falls <= len(table), (
    f"expected a number from 0 to {len(table)}, found {n_falls!r}"
)

# %% tags=["check", "hidden"]
by_run = [one.to_numpy() for _, one in table.groupby("run")[f"progress_{first_split}"]]
counted_falls = sum(int((np.diff(one) < -0.01).sum()) for one in by_run)
assert n_falls == counted_falls, f"expected {counted_falls} falls, found {n_falls}"

# %% [markdown]
# ### Quiz
#
# **1.** Why does the book measure time in progress, and not in epochs?
#
# <details><summary>Answer</summary>An epoch means different things for different networks, optimisers and batch sizes. Progress says how far a network has come on the way from ignorance to truth, and so networks can be compared at the same place of the way.</details>
#
# **2.** A network has progress one half. Does it lie on the geodesic?
#
# <details><summary>Answer</summary>Not in general. Progress is the place of the nearest point of the geodesic; it says nothing about how far away from it the network is. Chapter 46 measures this distance.</details>

# %% [markdown]
# ## What next
#
# The figures start here: chapter 40 draws the train manifold.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Equations for the geodesic and for progress, section 2.
# * [Amari2016] Amari, *Information geometry and its applications*, Springer, 2016. The sphere of square roots.
