# %% [markdown]
# # Which points lie far off, and what do they do to the picture?
#
# **What.** The points that are 2 nats or more from the truth: which networks, which epochs, and what the spectrum is with and without them.
# **Figure of the paper.** The appendix figure on outliers by epoch and architecture.
# **Answer.** They are confident and wrong; a few of them can turn a leading axis time-like, and three points on paper show why.
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
from manifold_utils.embedding import select
from manifold_utils.geometry import ignorance, truth
from manifold_utils.inpca import InPCA
from manifold_utils.subsets import first_time_like, spectrum, spectrum_by_limit, spectrum_by_weight, thinned

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
limit = 2.0  # nats to truth from which a point is an outlier (the paper's choice)
n_points = 700  # points used for spectra; all outliers are among them
n_made = 40  # outliers made by hand for the last experiment
seed = 0  # of the choice of networks for it

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
print(f"{len(atlas.points)} points; outliers are {limit} nats or more from the train truth")

# %% [markdown]
# ## What do we load?
#
# The table of all points of all grids. No distance to the truth has to be computed: it is half the train loss.

# %%
table = atlas.table()
to_truth = (table.loss_train / 2).to_numpy()
print(f"{table.run.nunique()} runs in the grids {', '.join(table.grid.unique())}")
print(f"distance to truth: {to_truth.min():.3f} to {to_truth.max():.3f} nats, median {np.median(to_truth):.3f}")

# %% [markdown]
# We trust an identity after checking it: for the run with the farthest point, the distances themselves must agree.

# %%
farthest = table.run.iloc[int(to_truth.argmax())]
truth_train = truth(atlas.labels("train"), atlas.log_probs("train").shape[2])
direct = pairwise(atlas.run_log_probs(farthest, "train"), truth_train)[:, 0]
print(f"largest difference for {farthest}: {np.abs(direct - to_truth[table.run == farthest]).max():.1e} nats")
assert np.allclose(direct, to_truth[table.run == farthest], rtol=1e-4, atol=1e-4)

# %% [markdown]
# Ignorance itself is only $\tfrac12\log C$ away from the truth. A point beyond that knows *less* than nothing: it is confident, and wrong.
#
# ## Who is far off, and when?
#
# *Prediction:* at the start of training, or at the end? In the next figure every dot is a point beyond ignorance; the dashed line is the limit.

# %%
n_classes = truth_train.shape[2]
outlier = to_truth >= limit
beyond = to_truth > 1.001 * np.log(n_classes) / 2
print(f"{beyond.sum()} points are farther from truth than ignorance is, {outlier.sum()} of {len(table)} are outliers")
by_grid = pd.crosstab(table.grid, np.where(outlier, "outlier", "near"))
by_grid

# %%
fig, ax = plt.subplots(figsize=(9, 4.4))
for architecture, rows in table[beyond].groupby("architecture"):
    colour, marker, _ = plots.style_of(architecture)
    ax.scatter(rows.epoch, rows.loss_train / 2, s=14, color=colour, marker=marker, alpha=0.6, linewidths=0, label=f"{architecture} (n = {len(rows)})")
ax.axhline(limit, color="black", ls="--", lw=1, label=f"limit, {limit} nats")
ax.axhline(np.log(n_classes) / 2, color="black", ls=":", lw=1, label="ignorance")
ax.set(xscale="symlog", yscale="log", xlabel="epoch (below 0: fitting something else first)", ylabel="$d_B$ to truth (nats)")
ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.save_figure(fig, atlas.figure_path("53_outliers_by_epoch.png"), alt="Distance to truth against epoch for all points beyond ignorance, coloured by architecture, with the limit for outliers as a dashed line.")

# %% [markdown]
# The legend counts the dots of each family. Dots left of zero belong to runs that were first fitted to something else, such as random labels; dots at zero are untrained networks. How are the outliers shared between the families, and between the phases?

# %%
phase = np.select([table.phase == "pretrain", table.step == 0, table.epoch <= 1], ["fitted to something else", "untrained", "first epoch"], "later")
by_family = pd.crosstab(table.architecture[outlier], pd.Series(phase, index=table.index)[outlier])
by_family if outlier.any() else "no outliers in this atlas"

# %% [markdown]
# The paper leaves the outliers out before it embeds. Is that a cosmetic choice, or does the result depend on it?
#
# ## When is a triangle time-like?
#
# Three points are enough to see it. Take ignorance $P_0$, the truth $P_*$, and a network that is certain of a *wrong* class everywhere. Both certain points are $a = \tfrac12 \log C$ from ignorance, and they may be arbitrarily far, $b$, from each other.
#
# InPCA of such an isosceles triangle has two eigenvalues, $b/2$ and $(4a - b)/6$. The second is negative as soon as $b > 4a = 2 \log C$: the two are farther apart than any detour over ignorance would allow in an ordinary space.

# %%
softness = np.logspace(-1, -8, 15)
sides, second = [], []
for e in softness:
    certain = np.full((2, 1, n_classes), np.log(e / (n_classes - 1)))  # right and wrong about one sample
    certain[[0, 1], 0, [0, 1]] = np.log1p(-e)
    triangle = pairwise(np.concatenate([certain, ignorance(1, n_classes)]))
    sides.append((triangle[0, 2], triangle[0, 1]))
    second.append(np.linalg.eigvalsh(-0.5 * (triangle - triangle.mean(0) - triangle.mean(1)[:, None] + triangle.mean()))[[0, -1]])

# %%
a, b = np.array(sides).T
predicted = np.sort(np.column_stack([b / 2, (4 * a - b) / 6, 0 * a]), axis=1)
print(f"largest difference from the formula: {np.abs(predicted[:, [0, -1]] - np.array(second)).max():.1e}")
print(f"time-like from b = {b[b > 4 * a].min():.2f} nats on; 2 log C = {2 * np.log(n_classes):.2f}")
assert np.allclose(predicted[:, [0, -1]], np.array(second), atol=1e-9)

# %% [markdown]
# Between the nearly certain and the certain, the turning point is near $2 \log C$. Whether an atlas has such pairs is a question to its matrix: how far are the outliers from the trained networks?

# %%
keep = np.union1d(thinned(table.run.to_numpy(), n_points), np.flatnonzero(outlier))
D = np.asarray(select(atlas.distances("train"), keep), dtype=float)
part, far, distance = table.iloc[keep], outlier[keep], to_truth[keep]
stands_for = np.where(far, 1.0, (~outlier).sum() / (~far).sum())  # near points are thinned, outliers are not
trained = distance < 0.05 * np.log(n_classes)
across = D[np.ix_(far, trained)].max() if far.any() and trained.any() else np.nan
print(f"largest distance between an outlier and a trained network: {across:.2f} nats; 2 log C = {2 * np.log(n_classes):.2f}")

# %% [markdown]
# ## What is the spectrum with and without them?
#
# We embed four times: the ordinary runs of the grid `main` and all runs of all grids, each with and without the outliers. Near points were thinned, so each stands for several. *Prediction:* in which of the four does a time-like axis come early?

# %%
main = (part.grid == "main").to_numpy()
parts = {"main, no outliers": main & ~far, "main": main, "all grids, no outliers": ~far, "all grids": np.ones(len(part), dtype=bool)}
fits = {name: spectrum(D, rows, sample_weight=stands_for) for name, rows in parts.items()}
overview = pd.DataFrame({name: {"points": len(f.embedding_), "first time-like axis (0: none)": first_time_like(f.eigenvalues_), "stress of 3 axes": f.explained_stress_[2]} for name, f in fits.items()}).T
overview.round(3)

# %%
fig, axes = plt.subplots(1, 4, figsize=(15, 3.6), sharey=True)
for ax, (name, fit) in zip(axes, fits.items(), strict=True):
    plots.plot_spectrum(ax, fit.eigenvalues_ / np.abs(fit.eigenvalues_[0]), fit.explained_stress_, marks=(3, 10))
    ax.set(title=f"{name} (n = {len(fit.embedding_)})", ylabel="")
    ax.get_legend().remove()
axes[0].set_ylabel(r"$|\lambda_k|\, /\, |\lambda_1|$")
axes[0].legend(fontsize=8, loc="upper right")
plots.save_figure(fig, atlas.figure_path("53_spectra.png"), alt="Relative eigenvalues of four embeddings, with and without outliers; time-like ones are hatched red.")

# %% [markdown]
# Hatched red columns are time-like. Compare the panels in pairs: the difference within a pair is due to the outliers alone. The paper found the second axis of all train models time-like with the outliers, and the first five axes space-like without them. Here:

# %%
leading = {name: (first_time_like(f.eigenvalues_) or len(f.eigenvalues_) + 1) - 1 for name, f in fits.items()}
for name, count in leading.items():
    print(f"{name}: the first {count} of {len(fits[name].eigenvalues_)} axes are space-like")

# %% [markdown]
# ## Does the limit matter?
#
# The limit of 2 nats is a choice. We move it and look at the first time-like axis and at the stress of three axes.

# %%
reach = np.unique(np.r_[np.log(n_classes) / 2 * 1.05, 1.5, limit, np.quantile(distance, [0.9, 0.99]), distance.max()].round(3))
limits = [value for value in np.nextafter(reach, np.inf) if (distance < value).sum() > 10]
by_limit = spectrum_by_limit(D, distance, limits, sample_weight=stands_for)
by_limit.round(3)

# %% [markdown]
# Rows further down let more far points in. If the numbers in the last two columns hardly move, the conclusions of the book do not hang on the limit; if they jump, we see at which one.
#
# ## How many wrong networks does it take?
#
# An atlas of careful runs may have few outliers, so we make some: trained networks whose class names are rotated, which are as confident as before and wrong on every sample. Giving them a share of the weight is the same as adding more or fewer of them.

# %%
ends = part[trained & main].groupby("run").tail(1)
ends = ends if len(ends) else part[main].groupby("run").tail(1)
chosen = ends.iloc[rng.permutation(len(ends))[:n_made]].sort_index()
made = np.roll(np.asarray(atlas.log_probs("train")[chosen.index.to_numpy()]), 1, axis=2)
print(f"{len(made)} made outliers, {pairwise(made, truth_train).min():.2f} to {pairwise(made, truth_train).max():.2f} nats from truth")

# %%
base = np.flatnonzero(main & ~far)
base = base[:: max(1, len(base) // 250)]
to_base = pairwise(made, np.asarray(atlas.log_probs("train")[part.index.to_numpy()[base]]))
grown = np.block([[D[np.ix_(base, base)], to_base.T], [to_base, pairwise(made)]])
is_made = np.arange(len(grown)) >= len(base)
shares = np.r_[0, np.logspace(-3, np.log10(0.3), 8)]
by_share = spectrum_by_weight(grown, is_made, shares)

# %% [markdown]
# The next figure follows the second and third axis while the share grows. *Prediction:* at which share will they change?

# %%
fig, ax = plt.subplots(figsize=(7.5, 4))
for k in (2, 3):
    colour, symbol, dash = plots.FACTOR_STYLES[k - 1]
    ax.plot(100 * shares, by_share[k].astype(float), color=colour, marker=symbol, ls=dash, label=f"axis {k}")
ax.axhline(0, color="black", lw=1)
ax.set_xscale("symlog", linthresh=0.1)
ax.set(xlim=(-0.01, None), xlabel="made outliers, % of the weight", ylabel=r"$\lambda_k\, /\, |\lambda_1|$ (below 0: time-like)")
ax.legend()
plots.save_figure(fig, atlas.figure_path("53_made_outliers.png"), alt="The second and third signed eigenvalue against the share of made outliers; where a curve is below zero, that axis is time-like.")

# %% [markdown]
# Left, without them, the spectrum is that of the ordinary runs. Where a curve crosses zero it does not pass smoothly: axes are ordered by size, so another axis takes the place. The most negative of the three says how strong time-like axes become.

# %%
negative = by_share[[1, 2, 3]].astype(float).min(axis=1).clip(upper=0).to_numpy()
print(f"strongest time-like axis among the first three, over lambda_1: {negative[0]:.3f} without made outliers, {negative.min():.3f} at {100 * shares[negative.argmin()]:.1f} % of the weight")

# %% [markdown]
# ## What we learned

# %%
print(f"{outlier.sum()} of {len(table)} points ({100 * outlier.mean():.2f} %) are outliers; in the grid main, {outlier[table.grid == 'main'].sum()}.")
print(f"Without outliers the first {leading['main, no outliers']} axes are space-like (paper: 5); with those of all grids the first {leading['all grids']} (paper: 1).")
print(f"Two certain networks that disagree make a time-like triangle with ignorance beyond 2 log C = {2 * np.log(n_classes):.2f} nats; the farthest here are {D.max():.2f} apart.")

# %%
results = {
    "n_outliers": claims.result(outlier.sum(), n=len(table), unit="points"),
    "n_outliers_main": claims.result(outlier[table.grid == "main"].sum(), n=int((table.grid == "main").sum()), unit="points"),
    "space_like_without": claims.result(leading["main, no outliers"], n=int(parts["main, no outliers"].sum()), unit="axes"),
    "space_like_with": claims.result(leading["all grids"], n=len(part), unit="axes"),
    "time_like_without": claims.result(negative[0], n=len(base), note="most negative of the first three eigenvalues over lambda_1"),
    "time_like_with_made": claims.result(negative.min(), n=len(base) + len(made), note="the same at the worst share of made outliers"),
    "largest_distance": claims.result(D.max(), n=len(D), unit="nats"),
}
claims.save_results(atlas, "53", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Count the outliers of the *test* predictions. Are they the same points?

# %% tags=["solution"]
outlier_test = (table.loss_test / 2 >= limit).to_numpy()
shared = (outlier & outlier_test).sum()
outlier_test.sum(), shared

# %% tags=["check"]
assert shared <= min(outlier.sum(), outlier_test.sum())

# %% [markdown]
# 2. The Hellinger distance is bounded by 1 and is a squared Euclidean distance. Embed the made outliers and the truth with it: is any axis time-like?

# %% tags=["solution"]
hellinger = pairwise(np.concatenate([made.astype(float), truth_train]), metric="hellinger")
hellinger_fit = InPCA(n_components=min(5, len(made))).fit(hellinger)
hellinger_fit.signature_

# %% tags=["check"]
assert hellinger_fit.eigenvalues_.min() > -1e-6 * hellinger_fit.eigenvalues_.max()

# %% [markdown]
# 3. The authors replace an infinite term of a sample by 100 nats. Rotate the classes of the truth itself: how far is it from the truth, without a cap, with a cap of 100, with a cap of 5?

# %% tags=["solution"]
rotated = np.roll(truth_train, 1, axis=2)
capped = {cap: pairwise(rotated, truth_train, cap=cap)[0, 0] for cap in (None, 100.0, 5.0)}
capped

# %% tags=["check"]
assert np.isinf(capped[None]) and np.isclose(capped[100.0], 100) and np.isclose(capped[5.0], 5)

# %% [markdown]
# ## What next
#
# Chapter 51 looks at divergences for which nothing can be far; chapter 54 at ImageNet, where ignorance is three times as far from the truth.
#
# **References.** Mao et al., PNAS 2024, appendix, outliers. Quinn et al., PNAS 2019, for time-like axes. Schoenberg, *Remarks to Maurice Fréchet's article*, 1935, for when distances are Euclidean.
