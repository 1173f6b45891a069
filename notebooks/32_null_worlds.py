# %% [markdown]
# # What would a world without the effect look like?
#
# **What.** Every run is changed so that its learning curve stays and what it shares with other runs is lost, step by step. Then the spectra of chapter 30 are computed again in each of these worlds.
# **Figure of the paper.** None: the paper has no null model. The shuffle within classes is known from a public art project (One Road).
#
# | | |
# |---|---|
# | Goals | say what a learning curve explains by itself; build a null world; read an explained stress beside its null |
# | Prerequisites | chapters 30 and 31 (essential) |
# | Minutes | 1 on two cores at the digits profile (reading: 12) |
# | Inputs, outputs | predictions/, points.parquet; nulls/, figures, results/32.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, geometry, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.inpca.embedding import thinned
from manifold_utils.studies import null_spectra
from manifold_utils.trajectories import of_atlas, progress_weights

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_runs = 240  # runs at most; more are drawn at random
n_stations = 8  # values of progress at most
share = 0.75  # of the runs must reach a value of progress for it to be used
n_points = 800  # points, about, for the spectra of all points
n_draws = 3  # random worlds of a kind at equal progress
seed = 0  # of runs and shuffles

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
splits, first_split = atlas.splits, atlas.splits[0]
finished = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
drawn = np.sort(rng.permutation(len(finished))[:n_runs])
candidates = list(finished.index[drawn])
print(f"{len(candidates)} of {len(finished)} finished runs of the main grid")

# %% [markdown]
# ## What do we load?
#
# Every network starts near ignorance and, if it learns, ends near truth. So all runs lie along one long axis, and this axis alone explains most of the stress, whatever else the runs share. To learn more we compare runs *at equal progress*, where this common direction plays no part. We use only values of progress that most runs reach, the *stations*, and only runs that reach all of them. Progress is computed separately for train and test predictions.

# %%
stations, kept, trajectories = {}, {}, {}
for split in splits:
    found = of_atlas.common_stations(
        atlas.points, candidates, split, n_stations=n_stations, share=share
    )
    stations[split], kept[split] = found
    trajectories[split] = of_atlas.resampled(atlas, split, kept[split], found[0])
    print(f"{split}: {len(kept[split])} runs at s = {stations[split].tolist()}")

# %% [markdown]
# A known value: a run that was interpolated at progress $s$ must have progress near $s$.

# %%
labels = {split: atlas.labels(split) for split in splits}
for split in splits:
    if len(kept[split]):
        there = geometry.progress(trajectories[split][0], labels[split])
        assert np.abs(there - stations[split]).max() < 0.05

# %% [markdown]
# ## What does a shuffle keep, and what does it lose?
#
# Take one run. Give each sample the predictions of another sample *of its own class*, drawn once and used at all checkpoints. Loss, error, progress and the distances to ignorance and truth are means over samples, and a mean does not depend on the order of its terms. So none of the five changes, except for rounding.

# %%
original = atlas.run_log_probs(candidates[0], first_split).astype(float)
y = labels[first_split]
shuffled = statistics.shuffle_within_class(original, y, rng)
n_samples, n_classes = original.shape[1:]
start = geometry.ignorance(n_samples, n_classes)
ends = np.concatenate([start, geometry.truth(y, n_classes)])


# %% tags=["lesson"]
def curves_of(run):
    true_class = run[:, np.arange(n_samples), y]
    to_ends = pairwise(run, ends)
    return {
        "loss": -true_class.mean(axis=1),
        "error": (run.argmax(axis=2) != y).mean(axis=1),
        "progress": geometry.progress(run, y),
        "to ignorance": to_ends[:, 0],
        "to truth": to_ends[:, 1],
    }


# %%
before, after = curves_of(original), curves_of(shuffled)
changes = {name: float(np.abs(before[name] - after[name]).max()) for name in before}
print({name: f"{change:.0e}" for name, change in changes.items()})
bounds = dict.fromkeys(changes, 1e-9) | {"progress": 1e-4}  # found by a search
assert all(change < bounds[name] for name, change in changes.items())

# %%
apart = np.diag(pairwise(original, shuffled)).max()
print(f"but the shuffled run is up to {apart:.3f} nats away from itself")

# %% [markdown]
# What is lost is *which sample is learned when*. The next figure shows the probability of the true class for the samples of one class, one row a sample, sorted by when the run learns them. *Prediction:* what will the same rows show after the shuffle?

# %% tags=["hide-input"]
members = np.flatnonzero(y == y[0])
sides = {"the run": original, "shuffled": shuffled}
own_class = y[0]
confidence = {n: np.exp(run[:, members, own_class]).T for n, run in sides.items()}
order = np.argsort(-confidence["the run"].mean(axis=1))
heat = {"aspect": "auto", "vmin": 0, "vmax": 1, "interpolation": "none"}
alt = (
    f"Probability of the true class of {len(members)} samples for a run (left) and its "
    "shuffle (middle), and the loss curve that both share (right)."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), width_ratios=[1, 1, 1.2])
for ax, (name, rows) in zip(axes, confidence.items(), strict=False):
    picture = ax.imshow(rows[order], **heat)
    ax.set(title=name, xlabel="checkpoint", ylabel="samples of one class")
    ax.grid(False)
fig.colorbar(picture, ax=axes[1], label="probability of the true class")
curve = axes[2]
curve.plot(before["loss"], color=plots.SPACE_LIKE, lw=5, alpha=0.4, label="the run")
curve.plot(after["loss"], color="black", ls="--", label="shuffled")
curve.set(xlabel="checkpoint", ylabel="loss (nats)", ylim=(0, None))
curve.legend()
plots.save_figure(fig, atlas.figure_path("32_shuffle.png"), alt=alt)

# %% [markdown]
# On the left the rows are in order; in the middle they are mixed, because easy samples have received the histories of hard ones. The loss curve on the right is the same for both. The shuffled run is a network that never existed but has exactly the same learning curve. This is the null model.
#
# ## A ladder of worlds
#
# If every run of the atlas is shuffled on its own, we get a world in which runs share their classes and their curves and nothing else. We build four such worlds, each of which keeps more of the real one than the one before:
#
# - **curve**: all samples of a run are alike; each point lies on the geodesic at its progress.
# - **class**: samples change places within their class.
# - **difficulty**: only samples of one class that are about equally difficult change places. How difficult a sample is, we read off the mean prediction of all runs.
# - **confusion**: these samples must also be mistaken for the same wrong class.
#
# The **real** world is the top of the ladder. The change of a number from one rung to the next is the effect of what was added. The table counts the groups within which samples change places.

# %%
mean = {}
for split in splits:
    if len(kept[split]):
        mean[split] = null_spectra.mean_probabilities(trajectories[split])
groups = {
    (split, world): pd.Series(statistics.strata(labels[split], world, mean[split]))
    for split in mean
    for world in statistics.WORLDS[1:]
}

# %%
n_groups = pd.DataFrame(index=statistics.WORLDS[1:], columns=list(mean))
for (split, world), group in groups.items():
    n_groups.loc[world, split] = group.nunique()
n_groups.rename_axis("world")

# %% [markdown]
# ## How many axes do the worlds need at equal progress?
#
# At each station we compute all distances between runs, in the real world and in the others, and ask how many axes explain 90 % of the stress. The count is interpolated between whole numbers of axes, so it may be a fraction, even below 1. Runs that share nothing are all about equally far from one another and need nearly an axis each. *Prediction:* how many does the real world need, compared with the class world?

# %%
equal = {}
for split in mean:
    families = finished[family_factor].loc[kept[split]].to_numpy()
    if len(kept[split]) >= null_spectra.MIN_RUNS:
        options = {"n_draws": n_draws, "rng": rng}
        several = trajectories[split], labels[split], stations[split], families
        equal[split] = null_spectra.equal_progress(*several, **options)
    else:
        print(f"{split}: {len(kept[split])} runs are too few for a spectrum")

# %%
whole = {split: t[t.left_out == ""].set_index("world") for split, t in equal.items()}
pd.DataFrame(
    {
        (split, name): t[column]
        for split, t in whole.items()
        for name, column in {"axes": "n_axes", "mean distance": "distance"}.items()
    }
).round(3)

# %% [markdown]
# How certain is the ratio of the real world to each null? The intervals leave out families in turn, because the claim is about families; they are 95 % t intervals of this jackknife.

# %%
ratios = {}
for split, table in equal.items():
    for world in ("class", "difficulty", "confusion"):
        ratios[split, world] = null_spectra.real_over_null(table, null=world)

# %%
axes_ratio = pd.DataFrame(ratios, index=["value", "low", "high"]).T
axes_ratio = axes_ratio.rename_axis(["split", "world"] if ratios else "none")
axes_ratio.round(2)

# %% [markdown]
# The next figure shows the ladder for both splits.

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 3.6))
for ax, split in zip(axes, splits, strict=True):
    if split not in whole:
        ax.text(0.5, 0.5, "too few runs", transform=ax.transAxes, ha="center")
        continue
    rungs = whole[split].n_axes.reindex(statistics.WORLDS)
    plots.plot_ladder(ax, rungs)
    ax.set_title(f"{split} predictions ({len(kept[split])} runs)")
axes[0].set_ylabel("axes for 90 % of the stress\nat equal progress")
alt = (
    "Axes for 90 % of the stress at equal progress in each world of the ladder; the "
    "real world is black, and n, the number of runs, stands above each panel."
)
plots.save_figure(fig, atlas.figure_path("32_axes.png"), alt=alt)

# %% [markdown]
# Each bar is a world; the black bar is the real one. The difference between *class* and *real* is what runs share beyond their classes and curves. The difference between *confusion* and *real* is what is left when the null also keeps the difficulty of each sample and the class for which it is mistaken.
#
# ## And over all points?
#
# The most quoted number is the explained stress of *all* points. We compute it in each world too, as it is and with points weighted by their step in progress, because checkpoints are dense early in training.

# %%
every = {}
for split in equal:
    rows = np.flatnonzero(atlas.points.run.isin(kept[split]))
    rows = rows[atlas.points.phase.to_numpy()[rows] == "main"]
    rows = rows[thinned(atlas.points.run.to_numpy()[rows], n_points)]
    few = atlas.points.iloc[rows]
    of_point = finished[family_factor].loc[few.run].to_numpy()
    clock = few[f"progress_{split}"].to_numpy()
    known = few.run.to_numpy(), labels[split], of_point, clock
    weights = progress_weights(few, split)
    predictions = np.asarray(atlas.log_probs(split)[rows])
    every[split] = null_spectra.all_points(predictions, *known, weights, rng=rng)

# %%
nothing = null_spectra.EMPTY
stored = {
    split: (equal.get(split, nothing), every.get(split, nothing.assign(view="")))
    for split in splits
}

# %%
ladders = {split: null_spectra.ladder(*tables) for split, tables in stored.items()}
pd.concat(ladders, names=["split"]).round(3)

# %% [markdown]
# `n_axes` is the number of axes for 90 % of the stress, `stress_3` the stress of three axes, and `distance` the mean distance between two runs in nats. All numbers are about the runs that reach every station, so that later chapters, which embed all runs, find slightly different ones. Compare the columns *class* and *real* in the first two views: where they agree, the explained stress of all points says only that networks learn.
#
# ## What we learned

# %%
for split in every:
    for view in ("as it is", "by progress"):
        part = ladders[split].loc[(view, "stress_3")]
        print(
            f"{split}, {view}: 3 axes explain {100 * part['real']:.1f} % of the "
            f"stress, and {100 * part['class']:.1f} % after the shuffle."
        )

# %% tags=["answer", "hide-input"]
for split in equal:
    value, low, high = axes_ratio.loc[(split, "class")]
    text = f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
    strict = axes_ratio.value[split, "confusion"]
    needed = whole[split].n_axes
    print(
        f"At equal {split} progress, {needed['real']:.1f} axes explain 90 % of the "
        f"stress; in the world shuffled within classes it takes {needed['class']:.1f}, "
        f"so the ratio is {value:.2f}{text}."
    )
    print(f"  Against the strictest world (confusion) it is {strict:.2f}.")

# %% tags=["hide-input"]
for split, tables in stored.items():
    null_spectra.save(atlas, split, *tables)

# %% tags=["hide-input"]
results = {}
note = f"jackknife over {family_name}; real over null at equal progress"
for (split, world), row in axes_ratio.iterrows():
    ends_of = {"low": row.low, "high": row.high, "n": len(kept[split]), "note": note}
    results[f"{split}_axes_ratio_{world}"] = claims.result(row.value, **ends_of)
for split in equal:
    for world, row in whole[split].iterrows():
        about = {"n": len(kept[split]), "unit": "axes"}
        results[f"{split}_axes_{world}"] = claims.result(row.n_axes, **about)
        about = {"n": len(kept[split]), "unit": "nats"}
        results[f"{split}_distance_{world}"] = claims.result(row.distance, **about)
claims.save_results(atlas, "32", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Shuffle the first half of the samples of `original` within their classes, and let the others keep their place. Define `half_apart`, the largest distance of a point from itself after this. `statistics.permutations_within_class(classes, 1, rng)` gives one order; samples with a class of their own stay where they are.

# %% tags=["stub"]
half_apart = ...  # a number, in nats

# %% tags=["solution"]
half = y.copy()
half[n_samples // 2 :] = n_classes + np.arange(n_samples - n_samples // 2)
moved = statistics.permutations_within_class(half, 1, rng)[0]
half_apart = np.diag(pairwise(original, original[:, moved])).max()
half_apart, apart

# %% tags=["check"]
assert np.isscalar(half_apart) and half_apart >= 0, (
    f"expected a distance in nats, found {half_apart!r}"
)

# %% tags=["check", "hidden"]
small = n_samples < 200  # one order of a few samples may move them further than another
assert small or half_apart <= 0.95 * apart, (
    f"expected clearly less than {apart:.4f}, where all move, found {half_apart}"
)

# %% [markdown]
# 2. Why does a world in which all runs are shuffled *alike* not serve as a null? Define `before_alike` and `after_alike`, the distances within `pair` before and after one order is applied to both of its points.

# %% tags=["stub"]
pair = np.stack([original[-1], shuffled[-1]])  # given
before_alike = ...  # array (2, 2)
after_alike = ...  # array (2, 2)

# %% tags=["solution"]
alike = statistics.permutations_within_class(y, 1, rng)[0]
before_alike, after_alike = pairwise(pair), pairwise(pair[:, alike])

# %% tags=["check"]
assert np.shape(before_alike) == (2, 2) == np.shape(after_alike), (
    f"expected two arrays of shape (2, 2), found {np.shape(after_alike)}"
)

# %% tags=["check", "hidden"]
between_pair = pairwise(pair)
assert np.allclose(before_alike, between_pair, atol=1e-6), (
    f"expected {between_pair} before, found {before_alike}"
)
assert np.allclose(after_alike, between_pair, atol=1e-6), (
    f"expected the same after a common order, found {after_alike}"
)

# %% [markdown]
# 3. In which world do two runs lie nearest on average, and why is the answer not the real one? Define `nearest_world`, a dictionary from each split in `whole` to the name of the world.

# %% tags=["stub"]
nearest_world = ...  # {split: name of a world}

# %% tags=["solution"]
nearest_world = {split: t.distance.idxmin() for split, t in whole.items()}
nearest_world  # on the geodesic, runs at equal progress are one point

# %% tags=["check"]
assert isinstance(nearest_world, dict) and set(nearest_world) == set(whole), (
    f"expected a world for each of {list(whole)}, found {nearest_world!r}"
)

# %% tags=["check", "hidden"]
assert set(nearest_world.values()) <= {"curve"}, (
    f"expected the world where runs share their whole curve, found {nearest_world}"
)

# %% [markdown]
# ### Quiz
#
# **1.** What does a null world keep, and what does it destroy?
#
# <details><summary>Answer</summary>It keeps each network's own learning curve and its predictions sample by sample up to the order within classes. It destroys what networks share beyond this: which samples are easy, and which are confused with what.</details>
#
# **2.** Why is a small p-value not enough to call an effect important?
#
# <details><summary>Answer</summary>With many samples and runs, tiny differences become significant. The ratio between the real world and the null says how large the effect is; the p-value only says that it is not chance.</details>

# %% [markdown]
# ## What next
#
# Chapters 40 to 42 quote these numbers beside each explained stress; chapter 60 compares single pairs of runs with the shuffle.
#
# **References.**
#
# * [Good2005] Good, *Permutation, parametric and bootstrap tests of hypotheses*, Springer, 2005.
# * [Efron1993] Efron and Tibshirani, *An introduction to the bootstrap*, Chapman and Hall, 1993. Chapter 11, for the jackknife.
