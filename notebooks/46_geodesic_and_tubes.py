# %% [markdown]
# # How far do networks stray from the straight road, and from each other?
#
# **What.** The distance to the geodesic against progress, by family and by another factor, and the width of the tube that the seeds of a configuration fill.
# **Figure of the paper.** Figure 7.
# **Answer.** All networks leave the geodesic on the way. The chapter measures how far, how much of it the family and another factor explain, and how much of the detour two networks have in common.
#
# | | |
# |---|---|
# | Goals | read distances against progress; correct a width for the number of seeds; split a variance between factors |
# | Prerequisites | chapter 31 (essential), chapter 44 (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | trajectories/, points.parquet; figures, results/46.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.trajectories import common_progress, crossings
from manifold_utils.trajectories.of_atlas import load_trajectories

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_permutations = 200  # permuted factors for the null of the variance shares
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)

# %% tags=["hide-input"]
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{(atlas.runs.grid == 'main').sum()} runs of "
    "the main grid; this chapter reads artefacts only"
)

# %% [markdown]
# ## What do we load?
#
# At each progress $s$, the distance of every run to the point $\lambda = s$ of the geodesic, and to the mean of its configuration's seeds. A run that never gets to $s$ has no value there; we use NaN, so that no curve continues with a repeated last point.

# %%
splits, first_split, design = atlas.splits, atlas.splits[0], atlas.design
to_road, width, layers = {}, {}, {}

# %%
for split in splits:
    trajectories, all_runs = load_trajectories(atlas, split)
    main = (all_runs.grid == "main").to_numpy()
    runs, s = all_runs[main], trajectories.s.values
    reached = ~np.isinf(
        crossings(atlas.points, s, split=split).loc[runs.index].to_numpy()
    )
    to_road[split] = np.where(reached, trajectories.to_geodesic.values[main], np.nan)
    width[split] = np.where(reached, trajectories.tube_width.values[main], np.nan)
    layers[split] = common_progress(
        trajectories.distance.values[:, main][:, :, main], reached
    )

# %% [markdown]
# A known value: every network starts near ignorance, which is the geodesic's own start. And no distance is negative. We take medians only where at least half of the runs have a value, because the few fastest runs are not typical.

# %%
number, table = statistics.configurations(runs, design)
varied = statistics.shown_factors(runs, design)
others = [f for f in varied if f != family_factor]
panel_factors = [family_factor, *others[:1]]
road_curves = to_road[first_split]

# %%
for split in splits:
    assert np.nanmin(to_road[split]) > -1e-6
    known = np.isfinite(to_road[split]).mean(axis=0) >= 0.5
    if not known.any():
        print(f"{split}: fewer than half of the runs get to s = {s[0]:.2f}")
        continue
    middle = np.nanmedian(to_road[split][:, known], axis=0)
    print(
        f"{split}: half of the runs get to s = {s[known][-1]:.2f}; "
        "median distance to the geodesic (nats)"
    )
    print(
        f"  {middle[0]:.4f} at s = {s[known][0]:.2f}, "
        f"{middle.max():.3f} at most, {middle[-1]:.3f} at the last s"
    )

# %% [markdown]
# ## How far from the geodesic?
#
# The geodesic is the shortest way to the truth, on which every sample is learned at the same pace. A network that learns some samples before others must leave it. In the next figure lines are medians over runs and bands are the middle half. A ring marks the first progress that some run of the line never reaches; from there on the line is the median of the runs that are left. The line is thin where fewer than three quarters of them are left, and it ends where fewer than half are. *Prediction:* where is the distance largest, and in which panel do the lines separate?

# %% tags=["hide-input"]
fig, axes = plots.panels(panel_factors, figsize=(9, 4.4))
for ax, factor in zip(axes, panel_factors, strict=True):
    plots.plot_quantiles(ax, s, road_curves, runs[factor], mark_stops=True)
    ax.set(xlabel="progress $s$", title=f"by {plots.factor_name(factor)}")
axes[0].set(ylabel="distance to the geodesic (nats)", ylim=(0, None))
alt = (
    f"Distance of {len(runs)} runs to the geodesic against {first_split} progress, by "
    f"{' and by '.join(map(plots.factor_name, panel_factors))}: medians, middle halves "
    "shaded. Rings: first run stops; thin: fewer than three quarters are left."
)
plots.save_figure(fig, atlas.figure_path("46_to_geodesic.png"), alt=alt)

# %% [markdown]
# Each curve starts near zero and rises. Where a curve falls again, the networks come back to the geodesic as they approach the truth. To the right of its ring a curve can jump although no run jumps, because runs drop out of the median. If the lines of a panel are well separated, its factor determines the detour. Here are the numbers, and how many runs stop on the way:

# %%
peak = {}

# %%
for level in statistics.sorted_levels(runs[family_factor]):
    of_family = road_curves[(runs[family_factor] == level).to_numpy()]
    seen = np.flatnonzero(np.isfinite(of_family).mean(axis=0) >= 0.5)
    if not len(seen):
        print(f"{level}: fewer than half of its runs get to any progress on the grid")
        continue
    typical = np.nanmedian(of_family[:, seen], axis=0)
    k = int(np.argmax(typical))
    peak[level] = typical[k]
    left = np.isfinite(of_family[:, np.argmin(np.abs(s - 0.9))])
    print(
        f"{level}: farthest at s = {s[seen][k]:.2f}, {typical[k]:.3f} nats; "
        f"at its last s {typical[-1]:.3f}; {(~left).sum()} of {len(left)} runs "
        "stop before s = 0.9"
    )

# %% [markdown]
# How much of the variation between runs does a factor explain? Distances to the geodesic are positive and skewed, so a few far runs would dominate their variance. We therefore take *logarithms*. At each $s$ we split the variance of the log distance into the part between a factor's levels and the rest,
#
# $$\eta^2 = \frac{\sum_l n_l\,(\bar y_l - \bar y)^2}{\sum_i (y_i - \bar y)^2}, \qquad y_i = \log d_B(P_i(s), P_{\lambda = s}).$$
#
# The share does not depend on the unit, nor on whether we take $d_B$ or its root. A factor with many levels explains something by chance; permuting the levels over the runs says how much.

# %%
inner = np.flatnonzero((s > 0.1) & (s < 0.9))[:: max(1, len(s) // 20)]
detour = road_curves[:, inner]

# %%
share, chance = {}, {}
for factor in varied:
    of_factor = statistics.variance_share(detour, runs[factor])
    if not np.isfinite(of_factor).any():
        print(f"{plots.factor_name(factor)}: too few runs get to s > 0.1 to compare")
        continue
    share[factor] = np.nanmean(of_factor)
    shuffled = [rng.permutation(runs[factor].to_numpy()) for _ in range(n_permutations)]
    permuted = [statistics.variance_share(detour, levels) for levels in shuffled]
    chance[factor] = np.quantile(np.nanmean(permuted, axis=1), 0.95)
shares = {"share of log variance": share, "95 % of permuted": chance}
pd.DataFrame(shares).round(2)

# %% [markdown]
# A share above the column of permuted levels is more than chance. The shares do not add up to 1, because the rest is due to combinations of factors and to seeds.
#
# ## Is it the same for test predictions?
#
# On test samples the geodesic leads to the true labels of samples that no network has seen. The next figure shows both splits. *Prediction:* do networks stay nearer to it, or farther away?

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 4.2))
for ax, split in zip(axes, splits, strict=True):
    options = {"legend": False, "mark_stops": True}
    plots.plot_quantiles(ax, s, to_road[split], runs[family_factor], **options)
    ax.set(xlabel=f"{split} progress $s$", title=f"{split} predictions")
axes[0].set(ylabel="distance to the geodesic (nats)", ylim=(0, None))
plots.figure_legend(fig, axes[0], ncols=4)
alt = (
    f"Distance of {len(runs)} runs to the geodesic against progress for "
    f"{' and for '.join(splits)} predictions, by {family_name}; a ring marks where the "
    "first run stops, and a line is thin where fewer than three quarters are left."
)
plots.save_figure(fig, atlas.figure_path("46_train_and_test.png"), alt=alt)

# %% [markdown]
# Compare where the curves end, and how high. In words:

# %%
both_roads = to_road[splits[-1]] - road_curves
extra = both_roads[:, s >= 0.5][np.isfinite(both_roads[:, s >= 0.5])]
if len(splits) > 1 and len(extra):
    print(
        f"Beyond half-way, test predictions are {np.median(extra):+.4f} "
        "nats farther from their geodesic (median over runs)."
    )
elif len(splits) > 1:
    print("No run gets beyond half-way on both splits: on test samples the networks")
    print("  stop early, because they are confident in wrong answers there.")
else:
    print("There is one split only, so nothing can be compared.")

# %% [markdown]
# ## How wide is a tube?
#
# The seeds of a configuration fill a tube around their mean. We define its width as the paper does, by the distance of each run to the arithmetic mean of its configuration's seeds. The next figure shows the width against progress. *Prediction:* is the tube wide where the detour is large?

# %% tags=["hide-input"]
tubes = "A tube needs repeats: two runs of a configuration with different seeds."
alt = (
    f"Distance of {len(runs)} runs to the mean of their seeds against progress, by "
    f"{' and by '.join(map(plots.factor_name, panel_factors))}: medians and middle "
    "halves; a ring marks where the first run of a line stops."
)

# %% tags=["hide-input"]
fig, axes = plots.panels(panel_factors, figsize=(9, 4.4))
for ax, factor in zip(axes, panel_factors, strict=True):
    plots.plot_quantiles(ax, s, width[first_split], runs[factor], mark_stops=True)
    ax.set(xlabel="progress $s$", title=f"by {plots.factor_name(factor)}")
axes[0].set(ylabel="tube width (nats)", ylim=(0, None))
if np.isfinite(width[first_split]).any():
    tubes = plots.save_figure(fig, atlas.figure_path("46_tube_width.png"), alt=alt)
plt.close(fig)
tubes

# %% [markdown]
# Note that the mean contains the run itself. For squared lengths, the mean distance to the mean of $n$ is $\frac{n-1}{2n}$ times the mean distance between two of them; with two seeds, a quarter. Since $d_B$ of near points behaves like a squared length, we can check this here.

# %%
seeds = statistics.seeds_of(runs, design)
between_seeds = statistics.seed_means(layers[first_split], number, seeds)
seeds_apart = np.diagonal(between_seeds, axis1=1, axis2=2).T
n_seeds = np.bincount(number)
mean_width = np.array(
    [width[first_split][number == k].mean(axis=0) for k in range(len(table))]
)

# %%
expected = seeds_apart * ((n_seeds - 1) / (2 * n_seeds))[:, None]
both = np.isfinite(mean_width) & np.isfinite(expected) & (s > 0.1)
rule = mean_width[both].sum() / expected[both].sum() if both.any() else np.nan

# %%
print(
    f"tube width over what squared lengths predict: {rule:.2f}"
    if both.any()
    else "no configuration has two seeds that get beyond s = 0.1"
)

# %% [markdown]
# The nearer this ratio is to 1, the better $d_B$ is described as a squared length. It also follows that widths of configurations with different numbers of seeds cannot be compared directly. The distance *between two seeds* can, and we use it now.
#
# ## How do these distances compare?

# %%
means = statistics.seed_means(layers[first_split], number, seeds)
scales = {
    "to the geodesic": road_curves.T,
    "between seeds": np.diagonal(means, axis1=1, axis2=2),
}

# %%
plural = {"architecture": "architectures", "optimizer": "optimisers"}
for factor in panel_factors:
    pairs = statistics.matched_pairs(table, factor, design=design)
    levels_name = plural.get(factor, f"levels of {plots.factor_name(factor)}")
    scales[f"between {levels_name}"] = means[:, pairs["first"], pairs["second"]]
enough = {
    name: np.isfinite(v).mean(axis=1) >= 0.5 for name, v in scales.items() if v.shape[1]
}

# %%
curves = {
    name: np.where(
        keep,
        [
            np.nanmean(r) if k else np.nan
            for r, k in zip(scales[name], keep, strict=True)
        ],
        np.nan,
    )
    for name, keep in enough.items()
    if keep.any() or name == "to the geodesic"
}

# %% [markdown]
# The next figure shows four distances at equal progress: to the geodesic, between families, between levels of another factor (the optimiser in the book's own atlases) and between seeds. Pairs agree in all other factors. As in chapter 31, the dotted line is twice the distance to the geodesic: detours that have nothing in common would be that far apart, because squared lengths of unrelated directions add up. *Prediction:* in which order will the curves lie?

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.8))
for k, (name, curve) in enumerate(curves.items()):
    colour, _, dash = ("black", "", "-") if k == 0 else plots.numbered_style(k)
    label = f"{name} (n = {scales[name].shape[1]})"
    ax.plot(s, curve, color=colour, ls=dash, lw=2.4, label=label)
twice = 2 * curves["to the geodesic"]
ax.plot(s, twice, color="black", ls=":", lw=1, label="twice to the geodesic")
ax.set(xlabel="progress $s$", ylabel="mean distance (nats)", ylim=(0, None))
plots.legend_below(ax, ncols=2)
alt = f"Mean distance against progress: {', '.join(curves)}."
plots.save_figure(fig, atlas.figure_path("46_three_scales.png"), alt=alt)

# %% [markdown]
# The further a curve is below the dotted line, the more its pairs share of their detours; below the black line they share more than half. If the curve of a factor lies on that of the seeds, the factor makes no more difference than another seed. The dotted line is only a rough guide, because matched pairs do not weigh the families as the mean over all runs does. Curves end where fewer than half of their pairs can still be compared.

# %%
at_middle = {
    name: float(curve[np.argmin(np.abs(s - 0.5))]) for name, curve in curves.items()
}

# %%
pairs_of = {
    name: v for name, v in at_middle.items() if "between" in name and np.isfinite(v)
}
in_common = {
    name: 1 - v / (2 * at_middle["to the geodesic"]) for name, v in pairs_of.items()
}

# %%
at_middle = {name: value for name, value in at_middle.items() if np.isfinite(value)}
for name, value in at_middle.items():
    shared = (
        f", about {100 * in_common[name]:.0f} % of the detour in common"
        if name in in_common
        else ""
    )
    print(f"half-way, {name}: {value:.4f} nats{shared}")

# %% [markdown]
# ## What we learned

# %%
if peak:
    farthest = max(peak, key=peak.get)
    nearest = min(peak, key=peak.get)
    print(
        f"The largest detour is that of {farthest}, up to {peak[farthest]:.3f} nats "
        f"from the geodesic; the smallest is that of {nearest} ({peak[nearest]:.3f})."
    )

# %%
shares_said = [f"{plots.factor_name(f)} {100 * v:.0f} %" for f, v in share.items()]
if shares_said:
    print(f"Shares of the variance of the log detour: {', '.join(shares_said)}.")

# %%
apart, away = (at_middle.get(k, np.nan) for k in ("between seeds", "to the geodesic"))
ratio = apart / away
print(
    f"Half-way, two seeds are {ratio:.2f} times as far "
    "from each other as the networks are from the geodesic."
    if np.isfinite(ratio)
    else "Half-way there are no two seeds of a configuration to compare with the road."
)

# %%
for name, part in in_common.items():
    print(
        f"Two {name.removeprefix('between ')} have about {100 * part:.0f} % "
        "of their detours in common."
    )

# %%
if "optimizer" in share and share["optimizer"] > chance["optimizer"]:
    print(
        "The paper says that the optimiser hardly matters; here it "
        "explains more of the detour than permuted optimisers do."
    )

# %% tags=["hide-input"]
results = {
    f"peak_{a}": claims.result(
        v, n=int((runs[family_factor] == a).sum()), unit="nats", note="median over runs"
    )
    for a, v in peak.items()
}

# %% tags=["hide-input"]
results |= {
    f"share_{f}": claims.result(
        v, n=len(runs), note=f"of log distances; permuted: {chance[f]:.3f}"
    )
    for f, v in share.items()
}

# %% tags=["hide-input"]
results |= {
    "halfway_" + k.replace(" ", "_"): claims.result(
        v, n=scales[k].shape[1], unit="nats"
    )
    for k, v in at_middle.items()
}

# %% tags=["hide-input"]
results["seeds_over_geodesic"] = claims.result(ratio, n=len(table))
results["width_rule"] = claims.result(
    rule,
    n=int(both.sum()),
    note="tube width over (n-1)/(2n) of the distance between seeds",
)

# %% tags=["hide-input"]
claims.save_results(atlas, "46", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Draw the quantiles of the detour by the last factor of your grid, `last_factor`. Define `band_ax`, the axes with this picture. Does the band move?

# %% tags=["stub"]
last_factor = [family_factor, *varied][-1]  # given
band_ax = ...  # axes of matplotlib

# %% tags=["solution"]
fig, band_ax = plt.subplots(figsize=(7, 4.2))
plots.plot_quantiles(band_ax, s, road_curves, runs[last_factor])
plt.close(fig)

# %% tags=["check"]
assert isinstance(band_ax, plt.Axes) and len(band_ax.get_lines()) > 0, (
    f"expected axes with lines, found {band_ax!r}"
)

# %% tags=["check", "hidden"]
n_levels = runs[last_factor].nunique()
assert len(band_ax.get_lines()) <= n_levels, (
    f"expected at most a line for each of {n_levels} levels, "
    f"found {len(band_ax.get_lines())}"
)

# %% [markdown]
# 2. The tube width is a mean over the seeds of a configuration, each compared with their centre, so that few seeds look closer than they are. Define `corrected`, the width times $n/(n-1)$ with $n$ seeds, and not a number with a single one.

# %% tags=["stub"]
corrected = ...  # array, like `mean_width`

# %% tags=["solution"]
factor_n = np.where(n_seeds > 1, n_seeds / np.maximum(n_seeds - 1, 1), np.nan)
corrected = mean_width * factor_n[:, None]
known_widths = np.isfinite(corrected) & (s > 0.1)
corrected[known_widths].mean() if known_widths.any() else "no repeats"

# %% tags=["check"]
assert np.shape(corrected) == np.shape(mean_width), (
    f"expected an array of shape {np.shape(mean_width)}, found {np.shape(corrected)}"
)

# %% tags=["check", "hidden"]
repeats = np.asarray(n_seeds, dtype=float)[:, None]
undone = np.where(
    repeats > 1, corrected * (repeats - 1) / np.maximum(repeats, 1), np.nan
)
uncorrected = np.where(repeats > 1, mean_width, np.nan)
assert np.allclose(undone, uncorrected, equal_nan=True), (
    f"expected n / (n - 1) times the width, found {corrected}"
)

# %% [markdown]
# 3. Define `returned`, the list of the runs that are less than 0.02 nats from the geodesic at the last progress that they reach.

# %% tags=["stub"]
returned = ...  # a list of names in the index of `runs`

# %% tags=["solution"]
last_seen = pd.DataFrame(road_curves, index=runs.index).ffill(axis=1).iloc[:, -1]
returned = list(runs.index[last_seen < 0.02])
runs.loc[returned].groupby(family_factor).size()

# %% tags=["check"]
assert isinstance(returned, list) and set(returned) <= set(runs.index), (
    f"expected a list of names of runs, found {returned!r}"
)

# %% tags=["check", "hidden"]
final_seen = [curve[np.isfinite(curve)][-1:] for curve in np.asarray(road_curves)]
close = {
    run for run, end in zip(runs.index, final_seen, strict=True) if (end < 0.02).any()
}
assert set(returned) == close, f"expected {len(close)} runs, found {len(returned)}"

# %% [markdown]
# ### Quiz
#
# **1.** What is a tube?
#
# <details><summary>Answer</summary>The part of prediction space that the seeds of one configuration fill around their mean way. Its width is the yardstick for the distance between configurations.</details>
#
# **2.** Networks leave the geodesic on their way to truth. What would a network have to do to stay on it?
#
# <details><summary>Answer</summary>Improve all samples at the same rate. Real networks learn easy samples first and hard ones late, and so they are off the geodesic in between.</details>

# %% [markdown]
# ## What next
#
# Chapter 47 starts networks elsewhere: at the corners of prediction space, and from random labels.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figure 7.
