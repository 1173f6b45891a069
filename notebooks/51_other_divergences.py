# %% [markdown]
# # Which conclusions depend on the divergence?
#
# **What.** The same points, five times: Bhattacharyya, Hellinger, great-circle, Euclidean and symmetric Kullback-Leibler distances between the same predictions.
# **Figure of the paper.** The appendix figures with Euclidean and isKL embeddings; Hellinger and great-circle distances go beyond it.
# **Answer.** Rank correlations show how much the order of distances depends on the divergence, and six numbers show the same for the book's conclusions. Theorems decide for which divergences time-like axes are possible at all.
#
# | | |
# |---|---|
# | Goals | tell a property of networks from a property of a distance; know which divergences can have time-like axes; judge a difference by the spread over runs |
# | Prerequisites | chapters 30 and 40 (essential), chapter 42 (helpful) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | predictions/, points.parquet; figures, results/51.json |

# %%
import time
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import METRICS, pairwise
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.studies import robustness

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
limit = 2.0  # nats to the train truth from which a point is an outlier and left out
n_points = 500  # points that are compared, about; each run keeps its first and last
n_resamples = 20  # draws of half of the runs, for the spread
n_permutations = 200  # relabellings of runs, for the chance of a common family
seed = 0  # of these draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)

# %% tags=["hide-input"]
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{len(atlas.points)} points; about {n_points} of the "
    f"main grid are compared by {', '.join(METRICS)}"
)

# %% [markdown]
# ## What do we load?
#
# Predictions of some points of the main grid, evenly thinned, without outliers.

# %%
table, first_split = atlas.table("main"), atlas.splits[0]
bound = embedding.outlier_limit(atlas.n_classes, limit)
table = table[embedding.to_truth(atlas, table) < bound]
table = table.iloc[embedding.thinned(table.run.to_numpy(), n_points)]

# %%
log_probs = np.asarray(atlas.log_probs(first_split)[table.index.to_numpy()])
print(
    log_probs.shape,
    f"of {table.run.nunique()} runs and {table[family_factor].nunique()} families",
)

# %% [markdown]
# We compute five matrices from the same predictions. Each entry is a mean over samples: it says how much two networks differ on a sample.

# %%
D = {metric: pairwise(log_probs, metric=metric) for metric in METRICS}
pd.DataFrame(
    {
        metric: pd.Series(d[np.triu_indices(len(d), 1)]).describe()
        for metric, d in D.items()
    }
).round(4)

# %% [markdown]
# Two inequalities must hold for every pair: $1 - b \le -\log b$ for the coefficient $b = \cos\theta$ of a sample, and $1 - \cos\theta \le 2\theta/\pi$ for an angle up to a right one. Stored predictions have seven digits, so sums of probabilities, and therefore $b$, are correct to about $10^{-7}$.

# %%
assert np.all(D["hellinger"] <= D["bhattacharyya"] + 1e-6)
assert np.all(D["hellinger"] <= D["geodesic"] * 2 / np.pi + 1e-6)
print("both inequalities hold for", len(table) * (len(table) - 1) // 2, "pairs")

# %% [markdown]
# ## Do they agree on what is near?
#
# First without any embedding: do two divergences put the pairs of points in the same order? A rank correlation of 1 means yes. *Prediction:* in the next figure, which divergence is the exception?

# %% tags=["hide-input"]
upper = np.triu_indices(len(table), 1)
names = [metric.replace("_", " ") for metric in METRICS]
columns = zip(names, METRICS, strict=True)
order = pd.DataFrame({name: D[metric][upper] for name, metric in columns})
order = order.corr("spearman")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6.4, 5))
bar = {"label": "rank correlation of pairs"}
lowest = min(0.8, order.to_numpy().min())
shades = {"cmap": plots.SEQUENTIAL, "vmin": lowest, "vmax": 1}
sns.heatmap(order, annot=True, fmt=".3f", square=True, cbar_kws=bar, ax=ax, **shades)
ax.tick_params(axis="x", rotation=30)
ax.grid(visible=False)
alt = (
    "Table of rank correlations between five divergences over all pairs "
    f"of {len(table)} points; 1 means the same order."
)
plots.save_figure(fig, atlas.figure_path("51_ranks.png"), alt=alt)

# %% [markdown]
# There are two plausible guesses. The bounded divergences (Hellinger, great-circle, Euclidean) might differ from those with logarithms, because for the bounded ones a sample is at most completely different, while the others keep growing with the confidence of two networks in different answers. Or the Euclidean distance might be the exception: it alone compares probabilities directly, and so small probabilities hardly count. Which is right here?

# %%
odd = order.mean().idxmin()
print(
    f"The exception is {odd}, with a mean rank correlation of {order.mean().min():.3f} "
    f"with the others; most like the others is {order.mean().idxmax()}."
)

# %% [markdown]
# ## Does the picture look the same?
#
# We compare the first two axes of each, with the geodesic from ignorance to truth placed by the same divergence. The signs of the axes are chosen to agree with the first panel. *Prediction:* where will the axes be longest?

# %%
reference = embedding.road(atlas, first_split)[1]
fits = {
    metric: InPCA(n_components=min(10, len(d) - 1)).fit(d) for metric, d in D.items()
}
placed = {}

# %%
for metric, fit in fits.items():
    to_reference = pairwise(reference, log_probs, metric=metric)
    # Truth is infinitely far in symmetric KL.
    near = np.isfinite(to_reference).all(axis=1)
    placed[metric] = np.full((len(near), fit.n_components), np.nan)
    placed[metric][near] = fit.transform(to_reference[near])
first = fits["bhattacharyya"].embedding_[:, :2]
turn = {m: np.sign((f.embedding_[:, :2] * first).sum(axis=0)) for m, f in fits.items()}

# %% [markdown]
# How similar are these axes? The table has the correlations of the coordinates with those of Bhattacharyya.

# %%
alike = {
    m: [np.corrcoef(f.embedding_[:, k], first[:, k])[0, 1] for k in (0, 1)]
    for m, f in fits.items()
}
alike = pd.DataFrame(alike, index=["axis 1", "axis 2"]).abs()
alike.round(2)

# %% [markdown]
# The next figure shows all five embeddings.

# %% tags=["hide-input"]
alt = (
    f"Five embeddings of the same {len(table)} points, one for each divergence, by "
    f"{family_name}; black: the geodesic from ignorance (square) to truth (star)."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 3, figsize=(9, 6.4))
for ax, (metric, fit) in zip(axes.flat, fits.items(), strict=False):
    points = fit.embedding_[:, :2] * turn[metric]
    plots.plot_embedding(ax, points, table[family_factor], size=10, legend=False)
    plots.plot_reference(ax, placed[metric][:, :2] * turn[metric], names=False)
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
    ax.set_title(metric.replace("_", " "))
    ax.xaxis.label.set_size(9)
    ax.yaxis.label.set_size(9)
axes.flat[-1].axis("off")
look = {"loc": "center", "markerscale": 2.5, "fontsize": 11}
plots.short_legend(axes.flat[-1], axes[0, 0], **look)
plots.save_figure(fig, atlas.figure_path("51_embeddings.png"), alt=alt)

# %% [markdown]
# A first axis that correlates well is the same way from ignorance to truth in every panel, so it is a property of the networks. The second axis may have another meaning in another panel: the bend of the geodesic itself, or the distance of some families from it. Which of the two is longer depends on the divergence, and a low correlation of axis 2 shows where the meaning changes. Symmetric KL has no star: truth gives all wrong classes the probability 0, and $\log 0$ makes it infinitely far from all networks.
#
# ## Which divergences can have time-like axes?
#
# InPCA treats a divergence as a squared distance. All eigenvalues are non-negative exactly if it is *of negative type* (Schoenberg 1938). Three of ours are, so they can have no time-like axis, whatever the data:
#
# - **Hellinger**, $1 - \sum_c \sqrt{p_c q_c}$, is half the squared length of $\sqrt p - \sqrt q$.
# - **Euclidean**, unsquared: a norm in a Euclidean space is of negative type.
# - **Great-circle**: $\arccos$ is one too, since angles on a sphere count the random half-spaces that separate two points.
#
# Bhattacharyya and symmetric KL are not. For the latter this can be seen from its formula: $(p-q)(\log p - \log q)$ is a difference of two squares, so half of its exact axes are time-like.

# %%
every = {
    metric: InPCA(n_components=len(d), solver="dense").fit(d).eigenvalues_
    for metric, d in D.items()
}
share = pd.Series(
    {metric: values.min() / values.max() for metric, values in every.items()}
)

# %%
print("least over largest eigenvalue:", share.map("{:.1e}".format).to_dict())
# Stored predictions have seven digits.
rounding = 1e-9 + 1e-7 * len(table) / np.array([v.max() for v in every.values()])
negative = share < -rounding
assert not negative[["hellinger", "geodesic", "euclidean"]].any()

# %% [markdown]
# Theorem and computation agree: three numbers are zero up to rounding, and a negative number means a space with time-like directions. So "the paper's space is Minkowski" is a statement about $d_B$. The next section asks which conclusions do not depend on the divergence.
#
# ## Which conclusions hold for all five?
#
# Six numbers represent the book's conclusions: stress of 3 and of 10 axes, time-like axes among ten, how well the first axis gives progress, how often neighbours share the family, and how far apart families are at equal progress. As in chapter 40, neighbours come from other seeds, since runs of one family and seed start as the same network, and points with progress up to .1 are left out, since all are still near ignorance. The spread of the six numbers comes from drawing half of the runs, the same half for all divergences.

# %%
runs, families = table.run.to_numpy(), table[family_factor].to_numpy()
named_conclusions = robustness.conclusions_about(family_factor)
seeds = statistics.seeds_of(table, atlas.design)
clock = table[f"progress_{first_split}"].to_numpy()


# %% tags=["lesson"]
def numbers_of(matrices, progress, keep=slice(None)):
    about = (names[keep] for names in (runs, families, seeds, progress))
    about, by_metric = list(about), {}
    for metric, d in matrices.items():
        relabelled = statistics.stream(seed, "relabelling")
        options = {"family": family_factor, "rng": relabelled}
        found_here, _ = robustness.conclusions(d[keep][:, keep], *about, **options)
        by_metric[metric] = found_here
    return pd.DataFrame(by_metric)


# %%
found = numbers_of(D, clock)
found.rename(index=named_conclusions).round(3)

# %% [markdown]
# Is the count of neighbours above chance? Sets of runs that share family and seed exchange their families within the seed, many times:

# %%
p_of = {}
for metric, d in D.items():
    options = {"n_permutations": n_permutations, "rng": statistics.stream(seed, metric)}
    about = families, seeds, clock
    shared, by_chance = robustness.neighbour_share(d, *about, **options)
    if np.isfinite(shared):
        p_of[metric] = statistics.p_value(shared, by_chance, side="high")
rounded = {metric: round(float(p), 4) for metric, p in p_of.items()}
print(rounded or "no neighbours of other seeds: that needs runs of two seeds")

# %% [markdown]
# Now the spread, from halves of the runs:

# %%
names_of_runs, halves = np.unique(runs), []
for _ in range(n_resamples):
    half = rng.choice(names_of_runs, size=len(names_of_runs) // 2, replace=False)
    halves.append(numbers_of(D, clock, np.isin(runs, half)))
draws = np.stack([of_half.to_numpy() for of_half in halves])
low, high = statistics.interval(draws)
spread = pd.DataFrame(high - low, found.index, found.columns)
spread.rename(index=named_conclusions).round(3)

# %% [markdown]
# The figure has one panel for each conclusion that can be drawn here. Dots are the median of the draws and bars hold 95 % of them; an open diamond is the value of all runs. It may lie beyond its bar, because half as many runs have fewer near neighbours. *Prediction:* in which panels do the five agree within their bars?

# %% tags=["hide-input"]
known = [name for name in found.index if found.loc[name].notna().any()]
median = np.array([pd.DataFrame(d).median() for d in draws.transpose(1, 0, 2)])
open_mark = {"mec": "black", "mfc": "none", "ms": 9, "mew": 1.4, "label": "all runs"}
halves_said = "half of the runs, 95 % of draws"
alt = (
    f"{len(known)} numbers for five divergences, n = {len(table)} points: "
    "all runs (open diamond), median and 95 % of draws of half of the runs (bar)."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 3, figsize=(9, 6.6), sharey=True)
for ax, name in zip(axes.flat, known, strict=False):
    k, places = found.index.get_loc(name), np.arange(len(METRICS))
    ax.hlines(places, low[k], high[k], color=plots.SPACE_LIKE, lw=3, label=halves_said)
    ax.plot(median[k], places, "o", color=plots.SPACE_LIKE, ms=8, label="their median")
    ax.plot(found.loc[name], places, "D", **open_mark)
    ax.set_xlabel(fill(named_conclusions[name], 27), fontsize=10)
    ax.set_yticks(places, names)
    ax.locator_params(axis="x", nbins=4, integer=name == "time_like_10")
[ax.axis("off") for ax in axes.flat[len(known) :]]
axes.flat[0].set_ylim(len(METRICS) - 0.5, -0.5)
plots.figure_legend(fig, axes[0, 0])
plots.save_figure(fig, atlas.figure_path("51_conclusions.png"), alt=alt)

# %% [markdown]
# A conclusion is safe if it is the same in every row, even if the number differs. We use three rules: the first axis gives progress (rank correlation above .8), neighbours share the family more often than by chance (above 1), and families are apart (ratio above 1).

# %%
same_key = f"same_{family_factor}"
rules = {"axis_1_progress": 0.8, same_key: 1.0, f"{family_factor}_ratio": 1.0}
rules = {name: level for name, level in rules.items() if found.loc[name].notna().all()}
holds = pd.DataFrame({name: found.loc[name] > level for name, level in rules.items()}).T
certain = pd.DataFrame(
    {name: low[found.index.get_loc(name)] > level for name, level in rules.items()}
).T

# %%
certain.columns = holds.columns
for name in rules:
    n_hold, n_certain = holds.loc[name].sum(), certain.loc[name].sum()
    print(
        f"{named_conclusions[name]}: holds for {n_hold} of "
        f"{len(METRICS)}, also at the low end for {n_certain}"
    )

# %% [markdown]
# ## And for test predictions?
#
# We repeat only the first numbers, to see whether a conclusion changes.

# %%
second_split = atlas.splits[-1]
on_test = np.asarray(atlas.log_probs(second_split)[table.index.to_numpy()])
test_matrices = {metric: pairwise(on_test, metric=metric) for metric in METRICS}
test_clock = table[f"progress_{second_split}"].to_numpy()
test_found = numbers_of(test_matrices, test_clock)
if len(atlas.splits) < 2:
    print("There is one split only: the numbers are those of above.")
test_found.rename(index=named_conclusions).round(3)

# %% [markdown]
# Predictions that differ more from network to network need more axes. For how many of the five divergences do the test predictions need more?

# %%
needs_more = (test_found.loc["stress_3"] < found.loc["stress_3"]).sum()
same_sense = [
    named_conclusions[n]
    for n, level in rules.items()
    if ((test_found.loc[n] > level) == holds.loc[n]).all()
]

# %%
print(
    f"3 axes explain less of the {second_split} than of the {first_split} "
    f"stress for {needs_more} of {len(METRICS)} divergences."
)
print("the same sense on test samples:", "; ".join(same_sense) or "none")

# %% [markdown]
# ## What we learned

# %%
safe = [named_conclusions[name] for name in rules if holds.loc[name].all()]
print(
    f"All {len(METRICS)} divergences lead to the same conclusion about: "
    f"{'; '.join(safe) or 'none of the three rules'}."
)

# %%
if p_of:
    print(
        f"Neighbours from other seeds share the {family_name} more often than by "
        f"chance for {sum(p <= 0.05 for p in p_of.values())} of {len(p_of)} distances "
        f"(p at most .05): {found.loc[same_key].min():.1f} to "
        f"{found.loc[same_key].max():.1f} times as often."
    )

# %%
for name in ("stress_3", "stress_10"):
    row = found.loc[name]
    print(
        f"The {named_conclusions[name]} is between {row.min():.2f} "
        f"({row.idxmin()}) and {row.max():.2f} ({row.idxmax()})."
    )

# %%
with_time = [m for m in METRICS if found.loc["time_like_10", m] > 0]
print(
    "There are time-like axes among the first ten for: "
    f"{', '.join(with_time) or 'none of the five'}."
)

# %%
print(
    "Two divergences put the pairs in nearly the same order: the rank correlation is "
    f"at least {order.to_numpy().min():.3f}; the exception is {odd}."
)
second = alike.loc["axis 2"].drop("bhattacharyya")

# %%
print(
    "The first axis correlates with Bhattacharyya's "
    f"to {alike.loc['axis 1'].min():.2f} at least,"
)
print(
    f"  the second between {second.min():.2f} ({second.idxmin()}) "
    f"and {second.max():.2f} ({second.idxmax()})."
)

# %% tags=["hide-input"]
results = {}
note = "of all runs; bounds: 95 % of draws of half of the runs"
for k, name in enumerate(found.index):
    for j, metric in enumerate(found.columns):
        value = found.loc[name, metric]
        if np.isfinite(value):
            bounds = {"low": low[k, j], "high": high[k, j]}
            results[f"{name}_{metric}"] = claims.result(
                value, **bounds, n=len(table), note=note
            )
        if len(atlas.splits) > 1:
            of_test = claims.result(test_found.loc[name, metric], n=len(table))
            results[f"test_{name}_{metric}"] = of_test

# %% tags=["hide-input"]
for metric, p in p_of.items():
    note = f"points; {n_permutations} relabellings"
    key = f"{same_key}_p_{metric}"
    n_asked = (clock > robustness.UNDER_WAY).sum()
    results[key] = claims.result(p, n=n_asked, note=note)

# %% tags=["hide-input"]
note = f"of two divergences; the odd one is {odd}"
results["least_rank_correlation"] = claims.result(
    order.to_numpy().min(), n=len(upper[0]), note=note
)
claims.save_results(atlas, "51", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. The *square* of a Euclidean distance is the usual input of multidimensional scaling. Define `squared`, the squared Euclidean distances of the probabilities (`log_probs`), summed over classes and averaged over samples. Embedding them is PCA: the check compares.

# %% tags=["stub"]
squared = ...  # array (n_points, n_points)

# %% tags=["solution"]
flat = np.exp(log_probs.reshape(len(table), -1).astype(float))
squared = (
    (flat**2).sum(1)[:, None] + (flat**2).sum(1) - 2 * flat @ flat.T
) / log_probs.shape[1]
squared = squared.clip(0) * (1 - np.eye(len(flat)))

# %% tags=["check"]
assert np.shape(squared) == (len(table), len(table)), (
    f"expected an array of shape {(len(table), len(table))}, found {np.shape(squared)}"
)

# %% tags=["check", "hidden"]
assert np.allclose(np.diag(squared), 0, atol=1e-9), (
    f"expected no distance of a point from itself, found {np.diag(squared).max()}"
)
by_distance = InPCA(n_components=3).fit(squared).eigenvalues_
centred_probs = np.exp(log_probs.reshape(len(table), -1).astype(float))
centred_probs -= centred_probs.mean(axis=0)
by_pca = np.linalg.svd(centred_probs, compute_uv=False)[:3] ** 2 / log_probs.shape[1]
assert np.allclose(by_distance, by_pca, rtol=1e-5), (
    f"expected the variances of PCA, {by_pca}, found {by_distance}"
)

# %% [markdown]
# 2. Symmetric KL is a difference of two squares: with the coordinates $(p + \log p)/2$ (space-like) and $(p - \log p)/2$ (time-like). Define `by_coordinates`, the distance of the first and the last point computed from them.

# %% tags=["stub"]
by_coordinates = ...  # a number, in nats

# %% tags=["solution"]
p, lp = np.exp(log_probs[[0, -1]].astype(float)), log_probs[[0, -1]].astype(float)
space_like, time_like = (p + lp) / 2, (p - lp) / 2
squares = [(values[0] - values[1]) ** 2 for values in (space_like, time_like)]
by_coordinates = 0.5 * (squares[0] - squares[1]).sum(axis=1).mean()
by_coordinates

# %% tags=["check"]
assert np.isscalar(by_coordinates) and by_coordinates > 0, (
    f"expected a distance in nats, found {by_coordinates!r}"
)

# %% tags=["check", "hidden"]
measured = D["symmetric_kl"][0, -1]
assert np.isclose(by_coordinates, measured, rtol=1e-5), (
    f"expected {measured:.5f}, found {by_coordinates}"
)

# %% [markdown]
# 3. The authors' code clamps what is infinite at 100 a sample. Clamp $d_B$ at 1 nat a sample, and define `clamped`, the explained stress of three axes then. Compare with the one in `found`.

# %% tags=["stub"]
clamped = ...  # a share from 0 to 1

# %% tags=["solution"]
clamped = InPCA(n_components=3).fit(pairwise(log_probs, cap=1.0)).explained_stress_[-1]
clamped, found.loc["stress_3", "bhattacharyya"]

# %% tags=["check"]
assert np.isscalar(clamped) and 0 < clamped <= 1, (
    f"expected a share from 0 to 1, found {clamped!r}"
)

# %% tags=["check", "hidden"]
short = InPCA(n_components=3).fit(pairwise(log_probs, cap=1.0))
known_clamped = short.explained_stress_[-1]
assert np.isclose(clamped, known_clamped), (
    f"expected {known_clamped:.4f}, found {clamped}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Which conclusions of the book could depend on the choice of the divergence?
#
# <details><summary>Answer</summary>Those about how much a few axes explain, since divergences weigh rare and certain disagreements differently. Which networks are near each other depends on it much less.</details>
#
# **2.** What sets the Euclidean distance of probabilities apart from the other divergences?
#
# <details><summary>Answer</summary>It compares probabilities directly, so it hardly sees the difference between an improbable and a nearly impossible answer. The others compare logarithms or square roots, which see it.</details>

# %% [markdown]
# ## What next
#
# Chapter 52 asks where the low dimension comes from: from the data?
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix.
# * [Teoh2020] Teoh et al., *Visualizing probabilistic models in Minkowski space with intensive symmetrized Kullback-Leibler embedding*, Physical Review Research 2, 2020.
# * [Schoenberg1938] Schoenberg, *Metric spaces and positive definite functions*, Transactions of the American Mathematical Society 44, 1938.
