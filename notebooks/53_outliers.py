# %% [markdown]
# # Which points are outliers, and how do they change the picture?
#
# **What.** The points that are 2 nats or more from the truth: which networks, which epochs, and what the spectrum is with and without them, with points as they were recorded and weighted by their step in progress.
# **Figure of the paper.** The appendix figure on outliers by epoch and architecture.
# **Answer.** They are confident and wrong. An example with three points shows how such points can make an axis time-like. The chapter computes whether the time-like axes of this atlas are due to them or to the many checkpoints of early training.
#
# | | |
# |---|---|
# | Goals | find the outliers of an atlas; predict when a triangle of predictions is time-like; judge whether a result rests on a few points |
# | Prerequisites | chapters 30 and 42 (essential) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | distances/train_bhattacharyya.zarr, points.parquet; figures, results/53.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.geometry import ignorance, truth
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.inpca.embedding import first_time_like, select, spectrum, thinned
from manifold_utils.studies.subsets import spectrum_by_limit, spectrum_by_weight
from manifold_utils.trajectories import progress_weights

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
limit = 2.0  # nats to truth from which a point is an outlier (the paper's choice)
n_points = 700  # points used for spectra, about; all outliers are among them
n_made = 40  # outliers made by hand for the last experiment
seed = 0  # of the choice of networks for it

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
first_split = atlas.splits[0]
limit = round(embedding.outlier_limit(atlas.n_classes, limit), 3)
print(
    f"{len(atlas.points)} points; outliers are "
    f"{limit} nats or more from the {first_split} truth"
)

# %% [markdown]
# ## What do we load?
#
# The table of all points of all grids. The distance to the truth needs no computation, because it is half the loss on the same samples.

# %%
table = atlas.table()
loss = f"loss_{first_split}"
to_truth = (table[loss] / 2).to_numpy()
print(f"{table.run.nunique()} runs in the grids {', '.join(table.grid.unique())}")
print(
    f"distance to truth: {to_truth.min():.3f} to "
    f"{to_truth.max():.3f} nats, median {np.median(to_truth):.3f}"
)

# %% [markdown]
# We check this identity: for the run with the farthest point, the distances themselves must agree.

# %%
farthest = table.run.iloc[int(to_truth.argmax())]
own_truth = truth(atlas.labels(first_split), atlas.n_classes)
direct = pairwise(atlas.run_log_probs(farthest, first_split), own_truth)[:, 0]
print(
    f"largest difference for {farthest}: "
    f"{np.abs(direct - to_truth[table.run == farthest]).max():.1e} nats"
)
assert np.allclose(direct, to_truth[table.run == farthest], rtol=1e-4, atol=1e-4)

# %% [markdown]
# Ignorance itself is only $\tfrac12\log C$ away from the truth. A point beyond that knows *less* than nothing: it is confident and wrong.
#
# ## Which points are far off, and when?

# %%
n_classes = own_truth.shape[2]
outlier = to_truth >= limit
beyond = to_truth > 1.001 * np.log(n_classes) / 2
print(
    f"{beyond.sum()} points are farther from truth than "
    f"ignorance is, {outlier.sum()} of {len(table)} are outliers"
)

# %%
usual = table.grid.isin(["main", "sizes"])
panels = {"ordinary runs": usual, "unusual starts, random labels": ~usual}
panels = {title: among for title, among in panels.items() if among.any()}
alt = (
    f"Distance to truth against epoch for the {beyond.sum()} points beyond ignorance, "
    f"coloured by {family_name}, ordinary runs left and unusual ones, if any, right; "
    "dashed: the limit for outliers."
)

# %%
seen = {
    title: table.epoch[beyond & among.to_numpy()] for title, among in panels.items()
}
epochs = {
    title: [t for t in (-20, -5, -1, 0, 1, 2, 5, 20, 100) if x.min() <= t <= x.max()]
    for title, x in seen.items()
}
nats = [t for t in (1, 2, 5, 10, 20, 50) if t <= to_truth.max()]
by_grid = pd.crosstab(table.grid, np.where(outlier, "outlier", "near"))
by_grid

# %%
ignorant = np.log(n_classes) / 2
dots = {"s": 22, "alpha": 0.65, "linewidths": 0}

# %% [markdown]
# *Prediction:* at the start of training, or at the end? In the next figure every dot is a point beyond ignorance; the dashed line is the limit. Runs on random labels or from unusual starts are in a separate panel on the right.

# %% tags=["hide-input"]
fig, axes = plots.panels(panels, figsize=(9, 4.6))
for ax, (title, among) in zip(axes, panels.items(), strict=True):
    there = table[beyond & among.to_numpy()]
    for level, rows in there.groupby(family_factor):
        colour, marker, _ = plots.style_of(level, table[family_factor])
        look = dots | {"color": colour, "marker": marker, "label": str(level)}
        ax.scatter(rows.epoch, rows[loss] / 2, **look)
    ax.axhline(limit, color="black", ls="--", lw=1.4, label=f"limit, {limit} nats")
    ax.axhline(ignorant, color="black", ls=":", lw=1.4, label="ignorance")
    ax.set(xscale="symlog", yscale="log", xlabel="epoch", title=title)
    ax.set_xticks(epochs[title], epochs[title])
axes[0].set(yticks=nats, yticklabels=nats, ylabel="$d_B$ to truth (nats)")
axes[0].yaxis.set_minor_formatter("")
plots.figure_legend(fig, axes, ncols=4)
plots.save_figure(fig, atlas.figure_path("53_outliers_by_epoch.png"), alt=alt)

# %% [markdown]
# Dots left of zero belong to runs that were first fitted to something else, such as random labels; dots at zero are untrained networks. Runs that learn random labels to the end are in the right panel too; their dots rise with the epochs, because a run that learns its random labels better moves farther away from truth.
#
# How are the outliers distributed over families and phases?

# %%
kinds = ["fitted to something else", "untrained", "random labels", "first epoch"]
phase = np.select(
    [
        table.phase == "pretrain",
        table.step == 0,
        table.grid == "random_labels",
        table.epoch <= 1,
    ],
    kinds,
    "later",
)

# %%
by_family = pd.crosstab(
    table[family_factor][outlier], pd.Series(phase, index=table.index)[outlier]
)
by_family if outlier.any() else "no outliers in this atlas"

# %% [markdown]
# The paper leaves out the outliers before it embeds. Does the result depend on this choice?
#
# ## When is a triangle time-like?
#
# Three points are enough to show it. Take ignorance $P_0$, the truth $P_*$, and a network that is certain of a *wrong* class everywhere. Both certain points are $a = \tfrac12 \log C$ from ignorance, and they may be arbitrarily far, $b$, from each other.
#
# InPCA of such an isosceles triangle has two eigenvalues, $b/2$ and $(4a - b)/6$. The second is negative as soon as $b > 4a = 2 \log C$: the two certain points are farther apart than is possible in an ordinary space, given their distances to ignorance.

# %%
softness = np.logspace(-1, -8, 15)
sides, second = [], []

# %%
for e in softness:
    # Right and wrong about one sample.
    certain = np.full((2, 1, n_classes), np.log(e / (n_classes - 1)))
    certain[[0, 1], 0, [0, 1]] = np.log1p(-e)
    triangle = pairwise(np.concatenate([certain, ignorance(1, n_classes)]))
    sides.append((triangle[0, 2], triangle[0, 1]))
    centred = -0.5 * (
        triangle - triangle.mean(0) - triangle.mean(1)[:, None] + triangle.mean()
    )
    second.append(np.linalg.eigvalsh(centred)[[0, -1]])

# %%
a, b = np.array(sides).T
predicted = np.sort(np.column_stack([b / 2, (4 * a - b) / 6, 0 * a]), axis=1)
print(
    "largest difference from the formula: "
    f"{np.abs(predicted[:, [0, -1]] - np.array(second)).max():.1e}"
)

# %%
print(
    f"time-like from b = {b[b > 4 * a].min():.2f} "
    f"nats on; 2 log C = {2 * np.log(n_classes):.2f}"
)
assert np.allclose(predicted[:, [0, -1]], np.array(second), atol=1e-9)

# %% [markdown]
# The formula holds, and for nearly certain networks the turning point is near $2 \log C$. Does this atlas have such pairs? We look at the distances between the outliers and the trained networks:

# %%
keep = np.union1d(thinned(table.run.to_numpy(), n_points), np.flatnonzero(outlier))
D = np.asarray(select(atlas.distances(first_split), keep), dtype=float)
part, far, distance = table.iloc[keep], outlier[keep], to_truth[keep]
# near points are thinned, outliers are not
stands_for = np.where(far, 1.0, (~outlier).sum() / max(1, (~far).sum()))
trained = distance < 0.05 * np.log(n_classes)
across = D[np.ix_(far, trained)].max() if far.any() and trained.any() else np.nan
print(f"largest distance between an outlier and a trained network: {across:.2f} nats")
print(f"2 log C = {2 * np.log(n_classes):.2f} nats")

# %% [markdown]
# ## What is the spectrum with and without them?
#
# We embed four times: the ordinary runs of the grid `main` and all runs of all grids, each with and without the outliers. Near points were thinned, so each represents several. *Prediction:* in which of the four does a time-like axis come early?

# %%
main = (part.grid == "main").to_numpy()
everything = np.ones(len(part), dtype=bool)
parts = {
    "main, no outliers": main & ~far,
    "main": main,
    "all grids, no outliers": ~far,
    "all grids": everything,
}
fits = {
    name: spectrum(D, rows, sample_weight=stands_for) for name, rows in parts.items()
}

# %%
strongest = {
    name: min(0, (f.eigenvalues_ / f.eigenvalues_[0]).min()) for name, f in fits.items()
}

# %%
overview = {
    name: {
        "points": len(f.embedding_),
        "first time-like axis (0: none)": first_time_like(f.eigenvalues_),
        "strongest time-like, over lambda 1": strongest[name],
        "stress of 3 axes": f.explained_stress_[min(3, f.n_components) - 1],
    }
    for name, f in fits.items()
}
pd.DataFrame(overview).T.round(3)

# %% [markdown]
# The next figure shows the eigenvalues behind these numbers, one row for each set of grids, without the outliers on the left and with them on the right.

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey=True)
for ax, (name, fit) in zip(axes.flat, fits.items(), strict=True):
    relative = fit.eigenvalues_ / np.abs(fit.eigenvalues_[0])
    plots.plot_spectrum(ax, relative, fit.explained_stress_, marks=(1, 3, 10))
    ax.set(title=f"{name} (n = {len(fit.embedding_)})", ylabel="")
    ax.set_xlabel("component" if ax in axes[1] else "")
    ax.get_legend().remove()
for ax in axes[:, 0]:
    ax.set_ylabel(r"$|\lambda_k|\, /\, |\lambda_1|$")
axes[0, 1].legend(loc="upper right")
alt = (
    "Relative eigenvalues of four embeddings, without outliers (left) and with them "
    "(right); time-like ones are hatched red, n counts points."
)
plots.save_figure(fig, atlas.figure_path("53_spectra.png"), alt=alt)

# %% [markdown]
# Hatched red columns are time-like; percentages are the explained stress. Compare the panels of a row: the difference is due to the outliers alone. The paper found the second axis of all train models time-like with the outliers, and the first five axes space-like without them. Here:

# %%
first_of = {name: first_time_like(f.eigenvalues_) for name, f in fits.items()}
leading = {
    name: (first_of[name] or len(f.eigenvalues_) + 1) - 1 for name, f in fits.items()
}

# %%
for name, place in first_of.items():
    numbered = f"the first time-like axis is number {place}"
    which = numbered if place else "no time-like axis"
    n_axes, size = len(fits[name].eigenvalues_), abs(strongest[name])
    print(f"{name}: {which} of {n_axes}; the strongest has {size:.3f} of lambda 1")

# %% [markdown]
# Time-like axes are also possible without outliers: points that are confident in different answers on a *few* samples are enough, since $d_B$ grows without bound on each of them.
#
# ## Are the axes due to the many early checkpoints?
#
# Checkpoints are dense early in training, so the spectrum above mostly describes networks near ignorance. We repeat it with points weighted by their *step in progress*: the weight of a checkpoint is half the distance in progress between its neighbours in the same run. Every part of the way then counts in proportion to its length, however often it was recorded. How much weight do the points near ignorance have, before and after?

# %% tags=["hide-input"]
by_step = progress_weights(part, first_split)
assert np.isclose(by_step.sum(), 1)
near_ignorance = (part[f"progress_{first_split}"] < 0.1).to_numpy()
recorded = stands_for[near_ignorance].sum() / stands_for.sum()
print(
    f"points with s < .1: {100 * recorded:.0f} % of the points, "
    f"{100 * by_step[near_ignorance].sum():.0f} % of the weight"
)
print(
    f"outliers: {100 * stands_for[far].sum() / stands_for.sum():.2f} % of the "
    f"points, {100 * by_step[far].sum():.2f} % of the weight"
)

# %% [markdown]
# The four embeddings again, each with both weights. *Prediction:* does the first time-like axis move to another place?

# %%
weighted = {
    name: spectrum(D, rows, sample_weight=by_step) for name, rows in parts.items()
}
both_fits = {"as recorded": fits, "by step in progress": weighted}
time_likes = {}
for weighting, fits_of in both_fits.items():
    for name, f in fits_of.items():
        time_likes[name, weighting] = {
            "first time-like axis (0: none)": first_time_like(f.eigenvalues_),
            "strongest": min(0, (f.eigenvalues_ / f.eigenvalues_[0]).min()),
            "stress of 3 axes": f.explained_stress_[min(3, f.n_components) - 1],
        }

# %%
time_likes = pd.DataFrame(time_likes).T.rename_axis(["points", "weights"]).sort_index()
time_likes.round(4)

# %% [markdown]
# `strongest` is the strongest time-like eigenvalue over $|\lambda_1|$. In words:

# %% tags=["hide-input"]
places = time_likes["first time-like axis (0: none)"].astype(int).unstack()
for name, row in places.iterrows():
    before, after = (
        f"number {k}" if k else f"none of {len(fits[name].eigenvalues_)}"
        for k in (row["as recorded"], row["by step in progress"])
    )
    print(f"{name}: first time-like axis {before} as recorded, {after} by step")

# %% [markdown]
# ## Does the limit matter?
#
# The limit of 2 nats is a choice. We move it and look at the first time-like axis and at the stress of three axes.

# %%
steps = [np.log(n_classes) / 2 * 1.05, 1.5, limit, distance.max()]
steps += [*np.quantile(distance, [0.9, 0.99])]
reach = np.unique(np.round(steps, 3))
limits = [
    value for value in np.nextafter(reach, np.inf) if (distance < value).sum() > 10
]
by_limit = spectrum_by_limit(D, distance, limits, sample_weight=stands_for)
by_limit.round(3)

# %% [markdown]
# Rows further down include more far points. Does the stress of three axes depend on the limit?

# %% tags=["hide-input"]
moved = np.ptp(by_limit.iloc[:, -1].to_numpy(dtype=float))
print(
    f"The last column moves by {moved:.3f} over these limits:",
    "the limit hardly matters." if moved < 0.02 else "the limit matters.",
)

# %% [markdown]
# ## How many wrong networks does it take?
#
# An atlas may have only few outliers, so we make some: we rotate the classes of trained networks, which makes them as confident as before and wrong wherever they were right. The share of the weight that we give them says how many there are.

# %%
predictions = atlas.log_probs(first_split)
ends = part[trained & main].groupby("run").tail(1)
ends = ends if len(ends) else part[main].groupby("run").tail(1)
chosen = ends.iloc[rng.permutation(len(ends))[:n_made]].sort_index()
made = np.roll(np.asarray(predictions[chosen.index.to_numpy()]), 1, axis=2)
from_truth = pairwise(made, own_truth)
print(
    f"{len(made)} made outliers, {from_truth.min():.2f} "
    f"to {from_truth.max():.2f} nats from truth"
)

# %%
base = np.flatnonzero(main & ~far)
base = base[:: max(1, len(base) // 250)]
to_base = pairwise(made, np.asarray(predictions[part.index.to_numpy()[base]]))
grown = np.block([[D[np.ix_(base, base)], to_base.T], [to_base, pairwise(made)]])
is_made = np.arange(len(grown)) >= len(base)
shares = np.r_[0, np.logspace(-3, np.log10(0.3), 8)]
by_share = spectrum_by_weight(grown, is_made, shares)

# %% [markdown]
# Axes are numbered by size, so their numbers change while the share grows. We therefore follow the strongest time-like axis and the strongest space-like one after the first; whichever is larger is axis 2. The next figure shows both. *Prediction:* which of the two grows more with confident, wrong networks?

# %% tags=["hide-input"]
signed = by_share[list(range(1, 11))].astype(float).to_numpy()
space_like = np.sort(np.where(signed > 0, signed, 0), axis=1)[:, -2]
time_like = -np.where(signed < 0, signed, 0).min(axis=1)
ticks = [0, 0.1, 0.3, 1, 3, 10, 30]
alt = (
    "Size of the strongest time-like axis (dashed) and of the strongest space-like one "
    "after the first (solid), relative to the first, against the share of "
    f"{len(made)} made outliers among {len(grown)} points."
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.4))
time_style = {"color": plots.TIME_LIKE, "marker": "s", "ls": "--"}
space_style = {"color": plots.SPACE_LIKE, "marker": "o", "ls": "-"}
look = {"lw": 2.2, "ms": 8}
ax.plot(100 * shares, time_like, label="strongest time-like", **look, **time_style)
ax.plot(100 * shares, space_like, label="strongest space-like", **look, **space_style)
ax.set_xscale("symlog", linthresh=0.1)
ax.set_xticks(ticks, ticks)
ax.minorticks_off()
ax.set(xlim=(-0.01, 38), ylim=(0, None), xlabel="made outliers, % of the weight")
ax.set_ylabel(r"$|\lambda|\, /\, |\lambda_1|$, axes after the first")
ax.legend()
plots.save_figure(fig, atlas.figure_path("53_made_outliers.png"), alt=alt)

# %% [markdown]
# At the left, without made outliers, the spectrum is that of the ordinary runs. Where the dashed curve lies above the solid one, axis 2 is time-like. In words:

# %%
worst = int(time_like.argmax())
print(
    "strongest time-like axis, over lambda 1: "
    f"{time_like[0]:.3f} without made outliers,"
)
print(f"  at most {time_like[worst]:.3f}, at {100 * shares[worst]:.1f} % of the weight")

# %% [markdown]
# Is the second axis time-like at the smallest and at the largest share?

# %%
second_is = {True: "time-like", False: "space-like"}
for k in (0, -1):
    print(
        f"at {100 * shares[k]:.0f} % of the weight, axis 2 "
        f"is {second_is[bool(time_like[k] > space_like[k])]}"
    )

# %% [markdown]
# ## What we learned

# %%
n_main = outlier[table.grid == "main"]
print(
    f"{outlier.sum()} of {len(table)} points ({100 * outlier.mean():.2f} %) are "
    f"outliers, of which {n_main.sum()} in the main grid."
)

# %%
for name, paper in (
    ("main, no outliers", "none among the first five"),
    ("all grids", "number 2"),
):
    ours = f"number {first_of[name]}" if first_of[name] else "none"
    print(f"The first time-like axis of '{name}' is {ours} (paper: {paper}).")

# %%
made_it = first_of["main, no outliers"] != first_of["all grids"]
print(
    f"So here the outliers {'change' if made_it else 'do not change'} "
    "the place of the first time-like axis; its strength over lambda 1 goes from "
    f"{-strongest['main, no outliers']:.3f} to {-strongest['all grids']:.3f}."
)

# %% tags=["hide-input"]
by_weight = {w: places.loc[["main, no outliers", "all grids"], w] for w in both_fits}
for weighting, (without, with_them) in by_weight.items():
    told = [f"number {k}" if k else "none" for k in (without, with_them)]
    print(
        f"Counting points {weighting}, the first time-like axis is {told[0]} in "
        f"main without outliers and {told[1]} in all grids with them."
    )
same_place = (places["as recorded"] == places["by step in progress"]).all()
print(
    "So the place of the axis does not depend on how densely training was recorded."
    if same_place
    else "So the place of the axis depends on how densely training was recorded."
)

# %%
print(
    "Two certain networks that disagree make a time-like triangle with ignorance beyond"
)
print(
    f"  2 log C = {2 * np.log(n_classes):.2f} nats; "
    f"the farthest points here are {D.max():.2f} apart."
)

# %% tags=["hide-input"]
note = "strongest time-like axis over lambda_1"
results = {
    "n_outliers": claims.result(outlier.sum(), n=len(table), unit="points"),
    "n_outliers_main": claims.result(n_main.sum(), n=len(n_main), unit="points"),
    "space_like_without": claims.result(
        leading["main, no outliers"], n=int((main & ~far).sum()), unit="axes"
    ),
    "space_like_with": claims.result(leading["all grids"], n=len(part), unit="axes"),
    "time_like_without": claims.result(-time_like[0], n=len(base), note=note),
    "time_like_with_made": claims.result(
        -time_like[worst], n=len(base) + len(made), note=f"{note}, worst share"
    ),
    "largest_distance": claims.result(D.max(), n=len(D), unit="nats"),
}

# %% tags=["hide-input"]
short = {"main, no outliers": "main_without", "main": "main_with"}
short |= {"all grids, no outliers": "all_without", "all grids": "all_with"}
tags_of = {"as recorded": "recorded", "by step in progress": "weighted"}
for (name, weighting), row in time_likes.iterrows():
    n_of, key = int(parts[name].sum()), f"{short[name]}_{tags_of[weighting]}"
    first, strongest_of, stress_of = row
    axis = claims.result(first, n=n_of, unit="axis", note="0: none of the first 10")
    results[f"first_time_like_{key}"] = axis
    results[f"time_like_{key}"] = claims.result(strongest_of, n=n_of, note=note)
    results[f"stress_3_{key}"] = claims.result(stress_of, n=n_of)
claims.save_results(atlas, "53", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Count the outliers of the *test* predictions (of the only ones, if there is one split). Define `outlier_test`, which marks the points of `table` with half the loss at or above `limit`, and `shared`, how many of them are outliers already. Are they the same points?

# %% tags=["stub"]
outlier_test = ...  # array of True and False, one for each row of `table`
shared = ...  # a whole number

# %% tags=["solution"]
outlier_test = (table[f"loss_{atlas.splits[-1]}"] / 2 >= limit).to_numpy()
shared = int((outlier & outlier_test).sum())
outlier_test.sum(), shared

# %% tags=["check"]
assert np.shape(outlier_test) == (len(table),), (
    f"expected {len(table)} marks, found {outlier_test!r}"
)
assert np.isscalar(shared) and 0 <= shared <= outlier.sum(), (
    f"expected a number from 0 to {outlier.sum()}, found {shared!r}"
)

# %% tags=["check", "hidden"]
over_limit = [loss / 2 >= limit for loss in table[f"loss_{atlas.splits[-1]}"]]
assert list(outlier_test) == over_limit, (
    f"expected {sum(over_limit)} outliers, found {np.sum(outlier_test)}"
)
both = sum(map(np.logical_and, outlier, over_limit))
assert shared == both, f"expected {both} shared points, found {shared}"

# %% [markdown]
# 2. The Hellinger distance is bounded by 1 and is a squared Euclidean distance. Define `hellinger`, these distances between the outliers `made` and, as the last point, the truth `own_truth`. The check embeds them: is any axis time-like?

# %% tags=["stub"]
hellinger = ...  # array (len(made) + 1, len(made) + 1)

# %% tags=["solution"]
all_points = np.concatenate([made.astype(float), own_truth])
hellinger = pairwise(all_points, metric="hellinger")

# %% tags=["check"]
assert np.shape(hellinger) == (len(made) + 1, len(made) + 1), (
    f"expected an array with {len(made) + 1} rows and columns, "
    f"found {np.shape(hellinger)}"
)

# %% tags=["check", "hidden"]
far_from_truth = (
    1 - np.exp((made[0].astype(float) + own_truth[0]) / 2).sum(axis=1).mean()
)
assert np.isclose(hellinger[0, -1], far_from_truth, atol=1e-5), (
    f"expected {far_from_truth:.5f} from the first to truth, found {hellinger[0, -1]}"
)
lengths = InPCA(n_components=min(5, len(made))).fit(hellinger).eigenvalues_
assert lengths.min() > -1e-6 * lengths.max(), (
    f"expected no time-like axis, found {lengths}"
)

# %% [markdown]
# 3. The authors replace an infinite term of a sample by 100 nats. Rotate the classes of the truth itself by one. Define `capped`, a dictionary with the distance of the rotated truth from `own_truth` without a cap (`None`), with a cap of 100 and with a cap of 5.

# %% tags=["stub"]
capped = ...  # {None: nats, 100.0: nats, 5.0: nats}

# %% tags=["solution"]
rotated = np.roll(own_truth, 1, axis=2)
capped = {
    cap: pairwise(rotated, own_truth, cap=cap)[0, 0] for cap in (None, 100.0, 5.0)
}
capped

# %% tags=["check"]
assert isinstance(capped, dict) and set(capped) == {None, 100.0, 5.0}, (
    f"expected a distance for None, 100.0 and 5.0, found {capped!r}"
)

# %% tags=["check", "hidden"]
assert np.isinf(capped[None]), (
    f"expected an infinite distance without a cap, found {capped[None]}"
)
assert np.isclose(capped[100.0], 100) and np.isclose(capped[5.0], 5), (
    f"expected the caps themselves, found {capped}"
)

# %% [markdown]
# ### Quiz
#
# **1.** A point lies very far from all others. Which axes of the picture does it bend, and why?
#
# <details><summary>Answer</summary>The first ones: stress is made of squares, so a few large distances weigh more than many small ones. It is worth looking at a picture without such points.</details>
#
# **2.** What does a cap on the distance of a sample do to the geometry?
#
# <details><summary>Answer</summary>It makes everything beyond the cap equally far, so that distances no longer say by how much networks disagree there. It cures infinity, and hides what was infinite.</details>

# %% [markdown]
# ## What next
#
# Chapter 51 looks at divergences for which nothing can be far; chapter 54 at ImageNet, where ignorance is three times as far from the truth.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix, outliers.
# * [Quinn2019] Quinn et al., *Visualizing probabilistic models and data with intensive principal component analysis*, PNAS 116(28), 2019. For time-like axes.
# * [Schoenberg1935] Schoenberg, *Remarks to Maurice Fréchet's article*, Annals of Mathematics 36, 1935. For when distances are Euclidean.
