# %% [markdown]
# # What does the space of whole trajectories look like?
#
# **What.** Each run becomes one point: we embed the distances between whole trajectories, with the geodesic as one more trajectory.
# **Figure of the paper.** The embedding and the explained stress of figure 4, for train and for test predictions.
# **Answer.** It is a map of runs. The chapter gives the stress that one, two, three and ten axes explain, with an interval, and measures how much farther apart families are than their members.
#
# | | |
# |---|---|
# | Goals | turn runs into points; use weights in InPCA; test whether two distance matrices agree |
# | Prerequisites | chapters 30 and 31 (essential) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | trajectories/, runs.parquet; figures, results/43.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from scipy.stats import spearmanr

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.inpca import InPCA
from manifold_utils.trajectories import common_distance, crossings, trajectory_gap
from manifold_utils.trajectories.of_atlas import load_trajectories

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
geodesic_share = 0.1  # weight of the geodesic a trajectory (the paper: a tenth)
n_resamples = 100  # draws of runs for the interval of the stress
n_permutations = 500  # permutations of runs for the agreement of train and test
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{(atlas.runs.grid == 'main').sum()} runs of the main grid become as many points"
)

# %% [markdown]
# ## What do we load?
#
# For both splits, the distances at equal progress between all runs, and from each run to the geodesic. The paper's $d_{traj}$ is the mean over progress. In that mean a run that stops at $s = .7$ repeats its last point, so the rest of it says how far the run got and not which way it went. We therefore take the mean over the progress that *both* runs have reached, as chapter 44 does.

# %%
splits, first_split = atlas.splits, atlas.splits[0]
reached, stacks, roads, d_traj, to_geodesic = {}, {}, {}, {}, {}

# %%
for split in splits:
    trajectories, all_runs = load_trajectories(atlas, split)
    main = (all_runs.grid == "main").to_numpy()
    runs, s = all_runs[main], trajectories.s.values
    passed = crossings(atlas.points, s, split=split).loc[runs.index].to_numpy()
    reached[split] = ~np.isinf(passed)
    reached[split][:, 0] = True  # the first step away from ignorance: where all are
    stacks[split] = trajectories.distance.values[:, main][:, :, main]
    roads[split] = trajectories.to_geodesic.values[main]

# %%
for split, there in reached.items():
    d_traj[split] = common_distance(stacks[split], there)
    to_geodesic[split] = np.nanmean(np.where(there, roads[split], np.nan), axis=1)
n_runs = len(runs)

# %% [markdown]
# How many runs stop on the way, and does this choice matter? The rank correlation compares our distances with those of the paper, which repeat last points, over all pairs; far below 1, the choice matters.

# %%
at_end = np.argmin(np.abs(s - 0.9))
short = {split: int((~there[:, at_end]).sum()) for split, there in reached.items()}
for split in splits:
    repeated = stacks[split].mean(axis=0, dtype=float)
    agree = spearmanr(repeated.ravel(), d_traj[split].ravel()).statistic
    print(f"{split}: {short[split]} of {n_runs} runs do not reach s = .9; the rank")
    print(f"  correlation with the paper's d_traj is {agree:.3f}")

# %% [markdown]
# A known value: the diagonal is zero. Are the trajectories nearer to each other than to the geodesic?

# %%
upper = np.triu_indices(n_runs, 1)
for split in splits:
    assert np.allclose(np.diag(d_traj[split]), 0, atol=1e-6)
    print(
        f"{split}: two runs {d_traj[split][upper].mean():.3f} nats apart "
        f"on average, {to_geodesic[split].mean():.3f} from the geodesic"
    )

# %% [markdown]
# ## How far apart are the trajectories?

# %%
shown_factors = statistics.shown_factors(runs, atlas.design)
others = sorted(set(shown_factors) - {family_factor}, key=list(atlas.factors).index)
places = {f: runs[f].map(atlas.levels[f].index) for f in (family_factor, *others)}
places["seed"] = statistics.seeds_of(runs, atlas.design)
order = np.lexsort([*reversed(list(places.values()))])

# %%
sorted_family = runs[family_factor].to_numpy()[order]
edges = np.flatnonzero(sorted_family[1:] != sorted_family[:-1]) + 1
middles = [block.mean() for block in np.split(np.arange(n_runs), edges)]

# %% [markdown]
# First look at the numbers without any embedding. An embedding is a summary and can hide a wrong row; a picture of the matrix cannot. In the next figure the runs are sorted by family, then by the other factors. *Prediction:* will you see blocks, and of which size?

# %% tags=["hide-input"]
alt = (
    f"Distances between {n_runs} trajectories for each split, sorted by {family_name}; "
    "white lines divide the families, dark is near."
)

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 4.2), sharey=False)
norm = PowerNorm(0.5, 0, max(d_traj[split].max() for split in splits))
lines = {"color": "white", "lw": 1}
for ax, split in zip(axes, splits, strict=True):
    ordered = d_traj[split][np.ix_(order, order)]
    image = ax.imshow(ordered, cmap=plots.SEQUENTIAL, norm=norm, interpolation="none")
    ax.hlines(edges - 0.5, -0.5, n_runs - 0.5, **lines)
    ax.vlines(edges - 0.5, -0.5, n_runs - 0.5, **lines)
    ax.set(xticks=[], yticks=[], title=f"{split} predictions")
    ax.grid(False)
axes[0].set_yticks(middles, sorted_family[np.r_[0, edges]])
about = "mean distance (nats), square-root scale"
fig.colorbar(image, ax=axes, label=about, shrink=0.8)
plots.save_figure(fig, atlas.figure_path("43_matrix.png"), alt=alt)

# %% [markdown]
# Dark squares on the diagonal are families whose members agree; a bright cross is a run that is far from all others. The colours follow the square root, because the distance behaves like a squared length. How dark are the squares, compared with the rest?

# %%
same_family = np.equal.outer(
    runs[family_factor].to_numpy(), runs[family_factor].to_numpy()
)[upper]
contrast, several = {}, same_family.any() and not same_family.all()
for split in splits if several else ():
    apart = d_traj[split][upper]
    contrast[split] = np.nanmean(apart[~same_family]) / np.nanmean(apart[same_family])
print(
    "distance between families over distance within them:",
    {s: round(float(v), 2) for s, v in contrast.items()}
    or "needs two families, and two runs of one of them",
)


# %% [markdown]
# ## What does a map of the trajectories look like?
#
# We add the geodesic to the matrix as one more trajectory and embed. It should be an anchor of the picture and not one point among hundreds. So, like the authors, we give it the weight of a tenth of all trajectories. In weighted InPCA a weight counts repetitions, and we check this first: weight 2 must equal the same point given twice.

# %% tags=["lesson"]
def with_geodesic(split):
    extended = np.zeros((n_runs + 1, n_runs + 1))
    extended[:-1, :-1] = d_traj[split]
    extended[-1, :-1] = extended[:-1, -1] = to_geodesic[split]
    return extended


# %%
weights = np.r_[np.ones(n_runs), max(1.0, geodesic_share * n_runs)]
n_axes = int(min(20, n_runs - 1))
twice = np.r_[np.arange(n_runs + 1), n_runs]
doubled = with_geodesic(first_split)[np.ix_(twice, twice)]
given_twice = InPCA(n_components=2).fit(doubled)
weighted_twice = InPCA(n_components=2).fit(
    with_geodesic(first_split), sample_weight=np.r_[np.ones(n_runs), 2.0]
)
assert np.allclose(given_twice.eigenvalues_, weighted_twice.eigenvalues_)

# %%
fits = {
    s: InPCA(n_components=n_axes).fit(with_geodesic(s), sample_weight=weights)
    for s in splits
}
depths = [k for k in (1, 2, 3, 10) if k <= n_axes]
stress = pd.DataFrame(
    {s: fit.explained_stress_[np.array(depths) - 1] for s, fit in fits.items()},
    index=pd.Index(depths, name="axes"),
)
stress.round(3)

# %% [markdown]
# In the next figure each run is one point, and the black cross is the geodesic. The sign of an axis is arbitrary, so the signs of the test axes are chosen to agree with the train axes. *Prediction:* which factor will you be able to read from the place?

# %% tags=["hide-input"]
as_first = fits[first_split].embedding_[:, :2]
plane = {split: fit.embedding_[:, :2] for split, fit in fits.items()}
turned = {
    split: flat * np.sign((as_first * flat).sum(axis=0))
    for split, flat in plane.items()
}

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 4.2), sharey=False)
look = {"size": 28, "alpha": 0.75, "legend": False}
for ax, split in zip(axes, splits, strict=True):
    points, fit = turned[split], fits[split]
    plots.plot_embedding(ax, points[:-1], runs[family_factor], **look)
    ax.plot(*points[-1], "X", color="black", ms=11, ls="", label="geodesic")
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
    plots.frame_on_most(ax, points[:-1], keep=points[-1:])
    ax.set_title(f"{split} predictions")
plots.figure_legend(fig, axes[0], ncols=4)
alt = (
    f"Each of {n_runs} training runs as one point, coloured by {family_name}; "
    "the black cross is the geodesic; a corner counts the runs outside of the frame."
)
plots.save_figure(fig, atlas.figure_path("43_embedding.png"), alt=alt)

# %% [markdown]
# Every point is now a whole run, with all its checkpoints. A separate cluster of one colour is a family with a path of its own; where colours share a cluster, these two axes do not distinguish the families. Single points far out are unusual runs, and a few of them can determine an axis. The distance of the black cross says how far runs stay from the straight road. Look at the eigenvalues before you interpret shapes: an axis with a small eigenvalue adds little to the explained stress behind $\Sigma$, which counts all axes up to this one, and along a time-like axis runs are nearer than they look. The next figure shows the same points, coloured by the other factors:

# %% tags=["hide-input"]
varied = [f for f in shown_factors if f != family_factor]
n_rows = max(1, -(-len(varied) // 2))
alt = (
    f"The {first_split} embedding of {n_runs} trajectories, a panel for each factor, "
    "coloured by level. Runs far from the rest lie outside; a corner counts them."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(n_rows, 2, figsize=(9, 3.7 * n_rows), squeeze=False)
points, look = turned[first_split][:-1], {"size": 22, "alpha": 0.75, "legend": False}
for ax, factor in zip(axes.flat, varied, strict=False):
    plots.plot_embedding(ax, points, runs[factor], **look)
    ax.set_aspect("equal", adjustable="datalim")
    plots.frame_on_most(ax, points)
    ax.set(title=plots.factor_name(factor), xlabel="InPC 1", ylabel="InPC 2")
    plots.legend_below(ax)
for ax in axes.flat[len(varied) :]:
    ax.axis("off")
picture = None
if varied:
    picture = plots.save_figure(fig, atlas.figure_path("43_by_factor.png"), alt=alt)
plt.close(fig)
picture


# %% [markdown]
# If the colours mix inside each cluster, the factor has no visible effect on the first two axes; if one colour keeps to one side of its cluster, it has. Chapter 44 measures effects that are too small for the eye.
#
# ## How many dimensions, and how certain?
#
# The spectrum of the trajectory matrix, and the spread of its stress when runs are drawn again with replacement. A run drawn twice enters with weight 2, and the geodesic keeps its own.

# %% tags=["lesson"]
def stress_of_drawn_runs(split):
    drawn = np.bincount(rng.integers(n_runs, size=n_runs), minlength=n_runs).astype(
        float
    )
    keep = np.r_[np.flatnonzero(drawn), n_runs]
    fit = InPCA(n_components=min(3, len(keep) - 1))
    fit.fit(
        with_geodesic(split)[np.ix_(keep, keep)],
        sample_weight=np.r_[drawn, weights[-1]][keep],
    )
    return fit.explained_stress_[-1]


# %%
draws = {
    s: np.array([stress_of_drawn_runs(s) for _ in range(n_resamples)]) for s in splits
}
interval = {split: statistics.interval(d) for split, d in draws.items()}
three_axes = {s: fit.explained_stress_[:3][-1] for s, fit in fits.items()}
print(
    {
        s: f"3 axes {three_axes[s]:.3f} ({a:.3f} to {b:.3f})"
        for s, (a, b) in interval.items()
    }
)

# %% [markdown]
# The interval is over runs: it says what other seeds of the same grid would give. The value of all runs may lie above it, because a run that is drawn twice adds more to the axes that only it needs. The next figure shows the eigenvalues, train beside test on one scale. *Prediction:* which of the two falls off faster?

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 3.8))
for ax, split in zip(axes, splits, strict=True):
    plots.plot_spectrum(
        ax, fits[split].eigenvalues_, fits[split].explained_stress_, marks=depths
    )
    ax.set_title(f"{split} trajectories")
axes[-1].set_ylabel("" if len(splits) > 1 else axes[0].get_ylabel())
alt = (
    f"Absolute eigenvalues of the embedding of {n_runs} trajectories for each split; "
    "time-like ones are hatched red; percentages: explained stress."
)
plots.save_figure(fig, atlas.figure_path("43_spectrum.png"), alt=alt)

# %% [markdown]
# The percentages are the explained stress up to that column. The few columns that stand out at the left are the few ways in which whole trajectories differ most.
#
# ## Do test trajectories order the runs in the same way?
#
# Two runs that learn the train samples alike need not generalise alike: the order in which train samples are learned says nothing, by itself, about samples that were never shown. If the two matrices agree nevertheless, the network decides and not the samples. Mantel's test compares the matrices: the rank correlation over all pairs, against the same after permuting the runs of one matrix.

# %%
agreement, null, p_value = np.nan, np.full(n_permutations, np.nan), np.nan
if len(splits) > 1:
    on_train, on_test = d_traj["train"], d_traj["test"]
    agreement = spearmanr(on_train[upper], on_test[upper]).statistic
    for k in range(n_permutations):
        shuffle = rng.permutation(n_runs)
        mixed = on_test[np.ix_(shuffle, shuffle)]
        null[k] = spearmanr(on_train[upper], mixed[upper]).statistic
    p_value = statistics.p_value(agreement, null, side="high")

# %%
agreement_said = (
    f"Train and test distances between runs have the rank correlation {agreement:.2f}; "
    f"permuted runs reach {np.quantile(null, 0.95):.2f} (p = {p_value:.3f})."
    if len(splits) > 1
    else "Whether train and test agree needs predictions on both."
)
print(agreement_said)

# %% [markdown]
# ## What we learned

# %%
for split in splits:
    print(
        f"3 axes explain {100 * three_axes[split]:.0f} % of the stress of {n_runs} "
        f"{split} trajectories"
        + (
            f", in which families are {contrast[split]:.1f} times as far apart as "
            "their members."
            if split in contrast
            else "."
        )
    )

# %%
print(agreement_said)
print(
    *(f"{n} {split} runs stop before s = .9." for split, n in short.items()), sep="\n"
)

# %% tags=["hide-input"]
results = {}
for split in splits:
    contrasts, road = contrast.get(split, np.nan), to_geodesic[split].mean()
    for k in depths:
        results[f"{split}_stress_{k}"] = claims.result(
            fits[split].explained_stress_[k - 1], n=n_runs
        )
    ends = dict(zip(("low", "high"), map(float, interval[split]), strict=True))
    if 3 in depths:
        results[f"{split}_stress_3"] |= {**ends, "note": "interval: drawn runs"}
    results[f"{split}_family_contrast"] = claims.result(contrasts, n=n_runs)
    results[f"{split}_to_geodesic"] = claims.result(road, n=n_runs, unit="nats")

# %% tags=["hide-input"]
for split in splits:
    results[f"{split}_short"] = claims.result(
        short[split], n=n_runs, unit="runs", note="do not reach s = .9"
    )
results["train_test_agreement"] = claims.result(agreement, n=len(upper[0]))
results["train_test_agreement_permuted"] = claims.result(
    np.quantile(null, 0.95), n=n_permutations, note="95 % of permuted runs"
)
results["train_test_agreement_p"] = claims.result(p_value, n=n_permutations)
claims.save_results(atlas, "43", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Embed the trajectories of the first split without the geodesic. Define `without`, this fitted `InPCA` with up to three axes. How much of the explained stress was owed to the geodesic?

# %% tags=["stub"]
without = ...  # a fitted InPCA

# %% tags=["solution"]
without = InPCA(n_components=min(3, n_runs - 1)).fit(d_traj[first_split])
without.explained_stress_, fits[first_split].explained_stress_[:3]

# %% tags=["check"]
assert (
    isinstance(without, InPCA) and len(getattr(without, "embedding_", [])) == n_runs
), f"expected an InPCA fitted to {n_runs} runs, found {without!r}"

# %% tags=["check", "hidden"]
alone = InPCA(n_components=min(3, n_runs - 1)).fit(d_traj[first_split])
assert np.allclose(without.eigenvalues_, alone.eigenvalues_), (
    f"expected {alone.eigenvalues_}, found {without.eigenvalues_}"
)

# %% [markdown]
# 2. Place the runs of the other grids in the embedding with `transform`. Define `placed`, their coordinates. It needs their distances to the embedded trajectories and to the geodesic; for simplicity, take the mean over all of progress.

# %% tags=["stub"]
elsewhere, _ = load_trajectories(atlas, first_split)  # given
placed = ...  # array, a row for each run of another grid

# %% tags=["solution"]
to_main = elsewhere.distance.values[:, ~main][:, :, main].mean(axis=0, dtype=float)
new = np.c_[to_main, elsewhere.to_geodesic.values[~main].mean(axis=1)]
placed = fits[first_split].transform(new) if len(new) else new
len(placed)

# %% tags=["check"]
assert np.ndim(placed) == 2 and len(placed) == len(all_runs) - n_runs, (
    f"expected {len(all_runs) - n_runs} rows of coordinates, found {np.shape(placed)}"
)

# %% tags=["check", "hidden"]
far = elsewhere.distance.sel().values[:, ~main][:, :, main].mean(axis=0, dtype=float)
to_road = elsewhere.to_geodesic.values[~main].mean(axis=1)
known_places = fits[first_split].transform(np.c_[far, to_road]) if len(far) else placed
assert np.allclose(placed, known_places, equal_nan=True), (
    f"expected {known_places[:1]} first, found {placed[:1]}"
)

# %% [markdown]
# 3. Define `loner`, the name of the run that is farthest from all others on average, by `d_traj` of the first split. What happened to it? Look at its final losses.

# %% tags=["stub"]
loner = ...  # a name in the index of `runs`

# %% tags=["solution"]
loner = runs.index[d_traj[first_split].mean(axis=1).argmax()]
ends_of = [f"final_loss_{first_split}", f"final_error_{first_split}"]
runs.loc[loner, [*atlas.factors, *ends_of]]

# %% tags=["check"]
assert isinstance(loner, str) and loner in runs.index, (
    f"expected the name of a run, found {loner!r}"
)

# %% tags=["check", "hidden"]
means_of = pd.Series(d_traj[first_split].sum(axis=1), index=runs.index)
assert np.isclose(means_of[loner], means_of.max()), (
    f"expected {means_of.idxmax()}, found {loner}"
)

# %% [markdown]
# 4. Our distance is a mean over progress. Define `widest`, its maximum over progress instead, for every two runs of the main grid on the first split. Do families stay apart?

# %% tags=["stub"]
widest = ...  # array (n_runs, n_runs)

# %% tags=["solution"]
widest = elsewhere.distance.values[:, main][:, :, main].max(axis=0).astype(float)
in_pairs = {name: widest[upper][same_family == name] for name in (False, True)}
sizes = {name: values.mean() for name, values in in_pairs.items() if len(values)}
sizes, contrast

# %% tags=["check"]
assert np.shape(widest) == (n_runs, n_runs), (
    f"expected an array of shape {(n_runs, n_runs)}, found {np.shape(widest)}"
)

# %% tags=["check", "hidden"]
stacked = elsewhere.distance.values[:, main][:, :, main]
off = np.abs(np.maximum.reduce(stacked) - widest).max()
assert off < 1e-6 or np.isnan(off), (
    f"expected the maximum over progress, found {off:.1e} away"
)

# %% [markdown]
# 5. The distance compares two runs at equal progress. The paper's code knows another way: the distance of every checkpoint to the nearest one of the other run, averaged both ways (`trajectory_gap`). Does it rank pairs of runs alike? Define `gaps`, a list with this gap on the first split for every two of the runs `some`, in the order of `np.triu_indices`, and `same_ranking`, the rank correlation of the gaps with `d_traj` of the same pairs.

# %% tags=["stub"]
some = np.arange(0, n_runs, max(1, n_runs // 30))  # given: about thirty runs
gaps = ...  # a list of nats
same_ranking = ...  # a number from -1 to 1

# %% tags=["solution"]
checkpoints = [np.flatnonzero(atlas.points.run == runs.index[k]) for k in some]
between = np.asarray(atlas.distances(first_split)[:])
first, second = np.triu_indices(len(some), 1)
gaps = [
    trajectory_gap(between[np.ix_(checkpoints[a], checkpoints[b])])
    for a, b in zip(first, second, strict=True)
]
ranked = spearmanr(gaps, d_traj[first_split][some[first], some[second]])
same_ranking = ranked.statistic
same_ranking

# %% tags=["check"]
assert np.ndim(gaps) == 1 and len(gaps) == len(some) * (len(some) - 1) // 2, (
    f"expected {len(some) * (len(some) - 1) // 2} numbers, found {gaps!r}"
)
assert np.isscalar(same_ranking) and not abs(same_ranking) > 1, (
    f"expected a correlation, found {same_ranking!r}"
)

# %% tags=["check", "hidden"]
two = [np.flatnonzero(atlas.points.run == runs.index[k]) for k in some[:2]]
cross = np.asarray(atlas.distances(first_split)[:])[np.ix_(*two)]
known_gap = (cross.min(axis=0).mean() + cross.min(axis=1).mean()) / 2
assert np.isclose(gaps[0], known_gap, rtol=1e-5), (
    f"expected {known_gap:.6f} for the first two, found {gaps[0]}"
)
in_order = d_traj[first_split][np.ix_(some, some)][np.triu_indices(len(some), 1)]
known_ranks = spearmanr(gaps, in_order).statistic
assert np.isclose(same_ranking, known_ranks, equal_nan=True), (
    f"expected {known_ranks:.4f}, found {same_ranking}"
)

# %% [markdown]
# ### Quiz
#
# **1.** What is one point in this chapter's embedding?
#
# <details><summary>Answer</summary>A whole training run: its predictions at many values of progress. Two runs are close if they are close at equal progress all along the way.</details>
#
# **2.** Two runs follow the same way, and one takes ten times as many epochs. How far apart are they here?
#
# <details><summary>Answer</summary>Not far at all: the trajectories are compared at equal progress, so speed does not count. Chapter 45 measures speed by itself.</details>

# %% [markdown]
# ## What next
#
# Chapter 44 asks which factors put the runs where they are.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figure 4.
# * [Mantel1967] Mantel, *The detection of disease clustering and a generalized regression approach*, Cancer Research 27, 1967.
