# %% [markdown]
# # How does a matrix of distances become a picture that does not lie?
#
# **What.** InPCA embeds all points so that signed squared differences of coordinates give back every distance.
# **Figure of the paper.** The embedding behind figures 2, 3 and 5.
# **Answer.** By double centring and an eigendecomposition. Negative eigenvalues are not noise but time-like axes, and without them the embedding is no longer isometric.
#
# | | |
# |---|---|
# | Goals | derive InPCA; check that it is isometric; read signed eigenvalues, explained stress and explained distance |
# | Prerequisites | chapters 00 and 20 (essential), eigendecomposition (essential) |
# | Minutes | 1 on two cores at the digits profile |
# | Inputs, outputs | distances/; embeddings/, results/30.json |

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.manifold import ClassicalMDS

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.embedding import embed, fitted_points, select
from manifold_utils.profiles import Profile
from manifold_utils.workers import engine

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
space = ""  # prediction space: empty is the main one, else a grid with its own data
client = "threads"  # "threads", or beyond memory "local" or a scheduler's address
n_small = 150  # points of the worked example
seed = 0  # of the choice of these points

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
settings = Profile.load(profile, data_dir)
atlas = Atlas.open(profile, data_dir).space(space)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
chapter = f"30-{space}" if space else "30"
print(
    f"{len(atlas.points)} points, metrics "
    f"{settings.metrics}, {settings.n_components} components"
)

# %% [markdown]
# ## What goes in?
#
# The matrix $D$ of chapter 20. The axes are fitted to the points of the grid `main` that lie within the paper's limit of 2 nats from the truth; all other points are placed afterwards.

# %%
table = atlas.table()
D = atlas.distances(atlas.splits[0])
fitted = fitted_points(atlas) if not space else np.ones(len(table), dtype=bool)
print(f"D: {D.shape}; {fitted.sum()} points are fitted, {(~fitted).sum()} placed")
assert D.shape == (len(table), len(table))
if fitted.sum() < 4:
    raise claims.NotEnough(f"{fitted.sum()} points are no outliers; axes need 4")

# %% [markdown]
# ## How do distances become coordinates?
#
# Suppose there were coordinates with $D_{uv} = \sum_k s_k (x_{uk} - x_{vk})^2$ and signs $s_k = \pm 1$. Expand the square and subtract the means of rows and columns; only the products remain. With $L = I - \mathbf{1}\mathbf{1}^\top/m$,
#
# $$ W = -\tfrac12 L D L = \sum_k s_k\, x_k x_k^\top . $$
#
# An eigendecomposition $W = U \Lambda U^\top$ gives them: $x_k = U_k \sqrt{|\Lambda_k|}$ and $s_k = \operatorname{sign} \Lambda_k$. Five lines of numpy do it for a small sample of points.

# %%
chosen = np.sort(
    rng.choice(np.flatnonzero(fitted), size=min(n_small, fitted.sum()), replace=False)
)
small = np.asarray(select(D, chosen), dtype=float)
W = -0.5 * (
    small - small.mean(axis=0) - small.mean(axis=1, keepdims=True) + small.mean()
)
eigenvalues, vectors = np.linalg.eigh(W)
order = np.argsort(-np.abs(eigenvalues))
n_negative = int((eigenvalues < -1e-9 * eigenvalues.max()).sum())
print(
    "largest eigenvalues:",
    eigenvalues[order][:6].round(3),
    f"; negative: {n_negative} of {len(eigenvalues)}",
)

# %% [markdown]
# The negative ones are not an error, because $D$ is not a matrix of squared Euclidean distances. `InPCA` in the package is the same computation as an estimator with scikit-learn's conventions; it must agree.

# %%
estimator = InPCA(n_components=len(small)).fit(small)
print("InPCA:              ", estimator.eigenvalues_[:6].round(3))
assert np.allclose(
    estimator.eigenvalues_, eigenvalues[order], atol=1e-8 * np.abs(eigenvalues).max()
)

# %% [markdown]
# It does. Apart from the validation of the input, its source is short:

# %% tags=["hide-output"]
print(inspect.getsource(InPCA.fit))

# %% [markdown]
# ## Is the embedding isometric?
#
# If it is, the signed coordinates rebuild $D$. *Prediction:* what happens to the rebuilt distances if we drop the negative part, as classical multidimensional scaling does?

# %%
squared = (estimator.embedding_[:, None, :] - estimator.embedding_[None, :, :]) ** 2
signed = squared @ estimator.signature_
positive_only = squared @ (estimator.signature_ > 0)
errors = {
    "all axes, signed": np.abs(signed - small).max(),
    "positive axes only": np.abs(positive_only - small).max(),
}
print(
    {name: f"{error:.1e} nats" for name, error in errors.items()},
    f"; median distance {np.median(small):.2f}",
)
assert errors["all axes, signed"] < 1e-8

# %% [markdown]
# With signs, every distance is rebuilt up to rounding error. To judge the error without the negative axes, compare it with the median distance, which is the last number. The next figure shows the error of every pair.

# %% tags=["hide-input"]
pairs = np.triu_indices(len(small), k=1)
fig, ax = plt.subplots(figsize=(5.4, 4.4))
look = {"marker": ".", "ls": "", "ms": 2, "alpha": 0.3}
rebuilt = {"positive axes only": positive_only, "all axes, signed": signed}
colours = plots.TIME_LIKE, plots.SPACE_LIKE
for (label, values), colour in zip(rebuilt.items(), colours, strict=True):
    ax.plot(small[pairs], values[pairs], color=colour, label=label, **look)
ax.set(xlabel="$d_B$ (nats)", ylabel="rebuilt from coordinates (nats)")
ax.legend(markerscale=6)
alt = (
    f"Rebuilt against true distances of {len(pairs[0])} pairs: with signed axes (grey) "
    "on the diagonal, with positive axes only (red) on it or above."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_isometry.png"), alt=alt)

# %% [markdown]
# Grey points lie on the diagonal. Red points lie on it or above it, never below: without time-like axes, points look farther apart than they are, and not by a constant factor.
#
# How does this compare with a library's classical scaling? On Euclidean input there is no negative part, and both must agree up to signs of axes. `ClassicalMDS` wants plain distances; InPCA takes squared ones.

# %%
flat = rng.normal(size=(60, 4))
euclidean = np.linalg.norm(flat[:, None] - flat[None], axis=2)
library = ClassicalMDS(n_components=4, metric="precomputed").fit_transform(euclidean)
ours = InPCA(n_components=4).fit_transform(euclidean**2)
print(
    f"largest difference up to sign: {np.abs(np.abs(library) - np.abs(ours)).max():.1e}"
)
assert np.allclose(np.abs(library), np.abs(ours), atol=1e-8)

# %% [markdown]
# ## The atlas' embeddings
#
# Now we embed all points, for every split and metric of the profile. Large matrices are never held in memory, because the solver only needs products with $W$, and the centring is applied to the vectors.

# %%
embeddings = {}
with engine(client) as workers:
    for metric in settings.metrics:
        for split in atlas.splits:
            found = embed(
                atlas,
                split,
                metric,
                settings.n_components,
                fitted=fitted,
                client=workers,
            )
            atlas.save_embedding(found, split, metric)
            embeddings[split, metric] = found

# %%
by_split = {split: embeddings[split, "bhattacharyya"] for split in atlas.splits}
first_split = atlas.splits[0]

# %% [markdown]
# What was saved can be read back; shapes and one known property are checked: the mean of the fitted coordinates is zero, because $W$ was centred.

# %%
again = atlas.embedding(first_split)
print(dict(again.sizes))
centre = again.embedding.values[again.fitted.values].mean(axis=0)
print(f"largest mean of a coordinate: {np.abs(centre).max():.1e}")
assert np.allclose(centre, 0, atol=1e-5 * np.abs(again.embedding).max())

# %% [markdown]
# ## How much do a few axes explain?
#
# *Explained stress* compares $W$ with its best approximation by $k$ axes, $1 - \sqrt{1 - \sum_{i \le k}\Lambda_i^2 / \lVert W\rVert_F^2}$. *Explained distance* compares the distances themselves, $1 - \lVert D - D_k\rVert_F/\lVert D\rVert_F$, where $D_k$ is rebuilt from the first $k$ coordinates. It can fall when a time-like axis joins.

# %%
depth = np.array([k for k in (1, 2, 3, 5, 10, 20, 50) if k <= again.sizes["component"]])
quality = pd.DataFrame(
    {
        f"{name}, {split}": data[f"explained_{name}"].values[depth - 1]
        for split, data in by_split.items()
        for name in ("stress", "distance")
    },
    index=pd.Index(depth, name="axes"),
)
quality.round(3)

# %% [markdown]
# Read down a column to see how much the next axes add, and along a row to compare the splits: a lower number means that more axes are needed. Chapter 42 gives intervals for these numbers and compares them with the paper's.
#
# ## A first look
#
# The first two axes, coloured by family. Chapter 40 draws them properly. The label of an axis gives its eigenvalue and, behind $\Sigma$, the explained stress of this axis and all axes before it. The percentage has this meaning in every figure of the book.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.2))
levels, signed_sizes = table[family_factor][fitted], again.eigenvalues.values
plots.plot_embedding(ax, again.embedding.values[fitted], levels, legend=False)
plots.plot_reference(ax, again.reference_embedding.values)
plots.label_embedding(ax, signed_sizes, again.explained_stress.values)
plots.short_legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
alt = (
    f"First two InPCA axes of {fitted.sum()} {first_split} predictions by "
    f"{family_name}, with the geodesic from ignorance to truth in black."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_first_look.png"), alt=alt)

# %% [markdown]
# If all families share a manifold, their points form one bent band that begins at the square (ignorance). The better the networks learn, the nearer it comes to the star (truth). The geodesic looks bent as well, because this is a flat picture of a curved space. Where the points are away from the black line, networks do not follow the geodesic. Mind the signs of the axes: along a time-like axis, points are nearer than they look.
#
# ## What we learned

# %%
k = min(3, again.sizes["component"])
stress = {s: e.explained_stress.values[k - 1] for s, e in by_split.items()}
n_time_like = int((again.signature.values[:10] < 0).sum())
print(
    "Signed coordinates rebuild every distance to "
    f"{errors['all axes, signed']:.1e} nats; positive axes "
    f"alone miss by up to {errors['positive axes only']:.2g} nats."
)

# %%
for split, explained in stress.items():
    beside = " (paper, CIFAR-10: 76 %)" if split == "train" else ""
    print(f"{k} axes explain {100 * explained:.0f} % of the {split} stress{beside}.")
print(
    f"Of the first {min(10, again.sizes['component'])} {first_split} axes, "
    f"{n_time_like} {'is' if n_time_like == 1 else 'are'} time-like."
)

# %% tags=["hide-input"]
results = {
    "isometry_error": claims.result(
        errors["all axes, signed"], n=len(small), unit="nats"
    ),
    "positive_part_error": claims.result(
        errors["positive axes only"], n=len(small), unit="nats"
    ),
    "n_time_like_of_10": claims.result(n_time_like, n=10, unit="axes"),
}
for split, explained in stress.items():
    results[f"{split}_stress_3"] = claims.result(explained, n=int(fitted.sum()))
claims.save_results(atlas, chapter, results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `landed`, the coordinates that `few_axes.transform` gives the first ten points of `small`. Do they land on themselves, also along time-like axes?

# %% tags=["stub"]
few_axes = InPCA(n_components=5).fit(small)  # given
landed = ...  # array, ten rows

# %% tags=["solution"]
landed = few_axes.transform(small[:10])

# %% tags=["check"]
assert np.shape(landed) == few_axes.embedding_[:10].shape, (
    f"expected an array of shape {few_axes.embedding_[:10].shape}, "
    f"found {np.shape(landed)}"
)

# %% tags=["check", "hidden"]
off = np.abs(landed - few_axes.embedding_[:10]).max()
assert off <= 1e-8 * np.abs(few_axes.embedding_).max(), (
    f"expected points that land on themselves, found {off:.1e} away"
)

# %% [markdown]
# 2. Repeat the first five points, so that each stands three times in the matrix. Define `weights`, with which `fit(small, sample_weight=weights)` gives the same eigenvalues.

# %% tags=["stub"]
weights = ...  # array, a weight for each row of `small`

# %% tags=["solution"]
weights = np.r_[np.full(5, 3), np.ones(len(small) - 5, dtype=int)]

# %% tags=["check"]
assert np.shape(weights) == (len(small),), (
    f"expected {len(small)} weights, found {np.shape(weights)}"
)

# %% tags=["check", "hidden"]
index = np.r_[np.repeat(np.arange(5), 3), 5 : len(small)]
repeated = InPCA(n_components=3).fit(small[np.ix_(index, index)]).eigenvalues_
weighted = InPCA(n_components=3).fit(small, sample_weight=weights).eigenvalues_
assert np.allclose(weighted, repeated, rtol=1e-6), (
    f"expected {repeated}, found {weighted}"
)

# %% [markdown]
# 3. The explained *distance* can fall when an axis is added. Define `n_falls`, the number of axes of `estimator` at which it does, and `n_time_like_falls`, how many of these are time-like.

# %% tags=["stub"]
n_falls = ...  # a whole number
n_time_like_falls = ...  # a whole number

# %% tags=["solution"]
gain = np.diff(estimator.explained_distance_)
falls = np.flatnonzero(gain < -1e-12) + 1
n_falls, n_time_like_falls = len(falls), int((estimator.signature_[falls] < 0).sum())
n_falls, n_time_like_falls

# %% tags=["check"]
assert (
    np.isscalar(n_falls)
    and np.isscalar(n_time_like_falls)
    and 0 <= n_time_like_falls <= n_falls
), f"expected two numbers, the second no larger, found {(n_falls, n_time_like_falls)}"

# %% tags=["check", "hidden"]
gains = np.diff(estimator.explained_distance_)
known_falls = [
    estimator.signature_[k + 1] for k in range(len(gains)) if gains[k] < -1e-12
]
assert n_falls == len(known_falls), (
    f"expected {len(known_falls)} falls, found {n_falls}"
)
assert n_time_like_falls == known_falls.count(-1), (
    f"expected {known_falls.count(-1)} time-like falls, found {n_time_like_falls}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why does InPCA keep axes with negative eigenvalues, where ordinary multidimensional scaling drops them?
#
# <details><summary>Answer</summary>The distances are not squared Euclidean ones. Negative eigenvalues are part of what makes the coordinates give every distance back exactly; without them the picture would show other distances.</details>
#
# **2.** Two points lie on top of each other in a picture of the first two axes. Are they close?
#
# <details><summary>Answer</summary>Not necessarily. Further axes may separate them, and a time-like axis may bring back together what lies apart in the picture. The explained stress tells how much the picture leaves out.</details>

# %% [markdown]
# ## What next
#
# Chapter 31 gives every point its progress. Chapter 40 draws the train manifold.
#
# **References.**
#
# * [Quinn2019] Quinn et al., *Visualizing probabilistic models and data with intensive principal component analysis*, PNAS 116(28), 2019. For InPCA.
# * [Torgerson1952] Torgerson, *Multidimensional scaling: I. Theory and method*, Psychometrika 17, 1952.
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Section 2 and supplement, for explained stress.
