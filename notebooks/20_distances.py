# %% [markdown]
# # How far apart are two networks, and how can billions of distances be exact and cheap?
#
# **What.** The Bhattacharyya distance between all pairs of points, over the train and over the test samples.
# **Figure of the paper.** The matrix behind every figure; the paper's has 151,407 rows.
# **Answer.** The logarithm of a product is the sum of the logarithms. So one logarithm for each pair is enough, and no number needs to be clamped.
#
# | | |
# |---|---|
# | Goals | compute $d_B$ for many points; know why clamping changes results; read the distance matrix of an atlas |
# | Prerequisites | chapters 00 and 11 (essential), floating-point numbers (helpful) |
# | Minutes | 1 on two cores at the digits profile |
# | Inputs, outputs | predictions/; distances/, results/20.json |

# %%
import inspect
import time

import numpy as np

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import bhattacharyya, pairwise
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.geometry import ignorance, truth
from manifold_utils.profiles import Profile
from manifold_utils.statistics import mean_over_groups
from manifold_utils.workers import Resources, engine

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
space = ""  # prediction space: empty is the main one, else a grid with its own data
client = "threads"  # "threads", "local" Dask processes, or a scheduler's address
max_error = 0.1  # final train error up to which a run counts as trained
n_pairs = 200  # pairs that are checked against the formula in float64
seed = 0  # of the choice of these pairs

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
settings = Profile.load(profile, data_dir)
atlas = Atlas.open(profile, data_dir).space(space)
plots.use_house_style(atlas.levels)
family_factor = atlas.family
chapter = f"20-{space}" if space else "20"
print(
    f"{len(atlas.points)} points, metrics "
    f"{settings.metrics}, tiles of {settings.tile} points"
)

# %% [markdown]
# ## What goes in?
#
# The predictions are on disk, one file for each run, and are read only when they are needed.

# %%
first_split = atlas.splits[0]
log_probs = {split: atlas.log_probs(split) for split in atlas.splits}
labels = {split: atlas.labels(split) for split in atlas.splits}
for split, array in log_probs.items():
    print(split, array.shape, array.dtype, f"{array.nbytes / 1e6:.0f} MB")
    assert array.shape[:2] == (len(atlas.points), len(labels[split]))

# %% [markdown]
# ## Why is one logarithm for each pair enough?
#
# The definition asks for one logarithm for every pair *and every sample*. But $\sum_n \log b_n = \log \prod_n b_n$, so the coefficients $b_n = \sum_c \sqrt{p^n_c q^n_c}$ can be multiplied first. *What goes wrong if we just do so in float32?*

# %%
P, Q = np.asarray(log_probs[first_split][[0, -1]], dtype=float)
coefficients = np.exp(0.5 * (P + Q)).sum(axis=1)
one_log_each = np.log(coefficients).sum()
naive_product = np.log(
    np.maximum(np.prod(coefficients.astype(np.float32)), np.float32(1e-45))
)
print(
    f"a log each: {one_log_each:.3f}; the log "
    f"of the float32 product: {naive_product:.3f}"
)

# %% [markdown]
# The product of all coefficients falls below the smallest float32 as soon as the sum of logarithms is below about $-103$; then every pair gets the same wrong answer. The remedy is to keep the *exponent* in a separate integer: we multiply, and from time to time move the power of two of the product into this integer.

# %%
mantissa, exponent = np.float32(1), 0
for b in coefficients.astype(np.float32):
    mantissa, shift = np.frexp(mantissa * b)
    exponent += int(shift)
carried = float(np.log(mantissa)) + exponent * np.log(2)
print(f"a log each: {one_log_each:.6f}; exponent carried apart: {carried:.6f}")
assert abs(carried - one_log_each) < 1e-6 * max(1, abs(one_log_each)) + 1e-3

# %% [markdown]
# The two agree, although the second needs only one logarithm for the whole pair. The fast kernel does this for many pairs at once in the processor's registers. Its inner part is short enough to read:

# %% tags=["hide-output"]
print(inspect.getsource(bhattacharyya))

# %% [markdown]
# Two kinds of input need special care: probabilities that are too small for float32, and predictions that share no class. The first are detected and computed again with logarithms; the second give infinity. Nothing is clamped unless you ask for it.

# %%
extreme = np.log(np.array([[[1.0, 1e-300]], [[1e-300, 1.0]]]))
print("tiny coefficient:", pairwise(extreme)[0, 1], "nats; by hand:", -np.log(2e-150))
certain = truth([0], 2), truth([1], 2)
print(
    "disjoint supports:",
    pairwise(*certain)[0, 0],
    "; with the authors' clamp of 100:",
    pairwise(*certain, cap=100)[0, 0],
)
assert np.isclose(pairwise(extreme)[0, 1], -np.log(2e-150))

# %% [markdown]
# The clamp is a choice, and the results for points far from the manifold depend on it. The paper's code replaces infinity by 100 for each sample; ours returns infinity.
#
# ## The whole matrix
#
# The matrix is written in square tiles. Each tile is a file with a checksum and appears only when it is complete, so an interrupted computation resumes with the next tile. The same call works for 200 points and for 151,407.

# %%
with engine(client) as workers:
    for metric in settings.metrics:
        for split, source in log_probs.items():
            write_tiles(
                source,
                atlas.distances_path(split, metric),
                metric=metric,
                tile=settings.tile,
                resources=Resources(client=workers),
                fingerprint=atlas.points_fingerprint(),
            )

# %% [markdown]
# A matrix of distances must have a zero diagonal, be symmetric, and have no negative entry. We read it back and check all three.

# %%
D = {split: np.asarray(atlas.distances(split)[:]) for split in atlas.splits}
for split, matrix in D.items():
    print(
        f"{split}: {matrix.shape}, median "
        f"{np.median(matrix):.3f}, largest {matrix.max():.3f} nats"
    )
    assert (
        np.all(np.diag(matrix) == 0)
        and np.array_equal(matrix, matrix.T)
        and matrix.min() >= 0
    )

# %% [markdown]
# ## Are the numbers right?
#
# We check by three routes. First, the formula itself in float64, for pairs drawn at random.

# %%
pairs = rng.integers(len(atlas.points), size=(n_pairs, 2))
drawn = log_probs[first_split]
rows = {i: np.asarray(drawn[i], dtype=float) for i in np.unique(pairs)}
formula = [
    -np.log(np.exp(0.5 * (rows[i] + rows[j])).sum(axis=1)).mean() for i, j in pairs
]
error = np.abs(
    D[first_split][tuple(pairs.T)] - np.where(pairs[:, 0] == pairs[:, 1], 0, formula)
).max()
print(f"largest difference from the formula in float64: {error:.1e} nats")
assert error < 1e-6 * max(1, np.max(formula)), "the store keeps float32, 7 digits"

# %% [markdown]
# Second, an identity: the distance to the truth is half the cross-entropy that was recorded during training.

# %%
one_run = atlas.points.run.iloc[0]
to_truth = pairwise(
    atlas.run_log_probs(one_run, first_split),
    truth(labels[first_split], atlas.n_classes),
)[:, 0]

# %%
loss = atlas.points[f"loss_{first_split}"][atlas.points.run == one_run]
print(
    "largest |d_B(P, P*) - loss / 2| of one run: "
    f"{np.abs(to_truth - loss / 2).max():.1e} nats"
)
assert np.allclose(to_truth, loss / 2, atol=1e-4)

# %% [markdown]
# Third, a constant: ignorance and truth are $\tfrac12\log C$ apart on any data.

# %%
n_classes, y = atlas.n_classes, labels[first_split]
constant = pairwise(ignorance(len(y), n_classes), truth(y, n_classes))[0, 0]
print(f"d_B(P0, P*) = {constant:.6f}, (log C)/2 = {np.log(n_classes) / 2:.6f}")
assert np.isclose(constant, np.log(n_classes) / 2)

# %% [markdown]
# ## What does the matrix look like?
#
# We order the points by their loss and draw the matrix as a picture. *Prediction:* if all networks follow the same path, where are the small distances?

# %% tags=["hide-input"]
order = np.argsort(-atlas.points[f"loss_{first_split}"].to_numpy(), kind="stable")
shown = order[:: max(1, len(order) // 400)]
fig, axes = plots.panels(atlas.splits, figsize=(9, 3.8), sharey=False)
for ax, (split, matrix) in zip(axes, D.items(), strict=True):
    ordered, top = matrix[np.ix_(shown, shown)], np.quantile(matrix, 0.99)
    picture = ax.imshow(ordered, cmap=plots.SEQUENTIAL, vmin=0, vmax=top)
    ax.set(title=f"{split} predictions", xticks=[], yticks=[])
    ax.set_xlabel(f"points, from high to low {first_split} loss")
    ax.grid(visible=False)
fig.colorbar(picture, ax=axes, label="$d_B$ (nats)")
alt = (
    f"Distances between {len(shown)} points, for each split, ordered from high to low "
    f"{first_split} loss; dark is near, yellow far."
)
plots.save_figure(fig, atlas.figure_path(f"{chapter}_matrix.png"), alt=alt)

# %% [markdown]
# Dark means near. Points of similar loss are neighbours in this order, and most neighbours come from different runs. A dark band along the diagonal therefore means that networks of similar loss are near each other, *whatever their family*. This is the manifold, seen before any embedding. Bright lines are points that are far from nearly everything, such as networks that are confident and wrong; the brightest are beyond the end of the colour scale.
#
# The lower right corner holds the points of lowest loss. Do they agree on test samples as well as on train samples? We take the tenth of all points with the lowest loss.

# %%
best = order[-len(order) // 10 :]
corner = {
    split: matrix[np.ix_(best, best)].sum() / (len(best) * (len(best) - 1))
    for split, matrix in D.items()
}
print(
    {
        split: f"{value:.4f} nats between two of the {len(best)} best"
        for split, value in corner.items()
    }
)

# %% [markdown]
# In words:

# %% tags=["hide-input"]
gap = corner[atlas.splits[-1]] - corner[first_split]
print(
    "There is one split only, so nothing can be compared."
    if len(D) == 1
    else "These networks disagree more on samples that they have not seen."
    if gap > 0
    else "Here the best networks do not disagree more on samples that are new to them."
)

# %% [markdown]
# ## What we learned

# %%
end = atlas.table(space or "main").groupby("run", sort=False).tail(1)
trained = end[end[f"error_{first_split}"] <= max_error]
families = list(map(str, trained[family_factor].unique()))
near_truth = {s: trained[f"loss_{s}"] / 2 for s in atlas.splits}
print(
    f"{len(atlas.points) ** 2} distances for each split; the "
    f"largest error against float64 is {error:.1e} nats."
)

# %% [markdown]
# How far from truth do trained networks end? We take the main grid alone: other grids hold runs on random labels and other sizes, which the paper's mean does not. The interval is a 95 % t interval that leaves out one family at a time (a jackknife), because runs of the same family are not independent of each other.

# %%
estimate = {
    split: mean_over_groups(to_the_truth, trained[family_factor])
    for split, to_the_truth in near_truth.items()
}

# %% tags=["answer"]
paper_ends = {"train": 0.026, "test": 0.586}
for split in atlas.splits:
    if not len(trained):
        print(f"{split}: none of {len(end)} runs of the main grid is trained.")
        continue
    mean, low, high = estimate[split]
    about = f"{low:.3f} to {high:.3f}" if len(families) > 1 else "no interval"
    print(
        f"{len(trained)} of {len(end)} runs are trained; they end {mean:.3f} ({about}) "
        f"nats from the {split} truth (paper: {paper_ends[split]})."
    )
if len(families) > 1:
    print(f"The intervals are over {len(families)} families: {', '.join(families)}.")

# %% tags=["hide-input"]
results = {
    "n_points": claims.result(len(atlas.points), unit="points"),
    "error_float64": claims.result(error, n=n_pairs, unit="nats"),
}
for split, values in near_truth.items():
    mean, low, high = estimate[split]
    note = f"mean over trained runs; 95 % t interval over {len(families)} families"
    results[f"{split}_end_to_truth"] = claims.result(
        mean, low=low, high=high, n=len(values), unit="nats", note=note
    )
    results[f"{split}_median_distance"] = claims.result(
        np.median(D[split]), n=len(D[split]), unit="nats"
    )
claims.save_results(atlas, chapter, results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. The Hellinger distance of a sample, $1 - b$, is bounded. Define `hellinger`, the Hellinger distances between the checkpoints of the first run. Which grows faster for far points, this distance or $d_B$?

# %% tags=["stub"]
few = atlas.run_log_probs(one_run, first_split)  # given
hellinger = ...  # array (len(few), len(few))

# %% tags=["solution"]
hellinger = pairwise(few, metric="hellinger")

# %% tags=["check"]
assert np.shape(hellinger) == (len(few), len(few)), (
    f"expected an array of shape {(len(few), len(few))}, found {np.shape(hellinger)}"
)

# %% tags=["check", "hidden"]
roots = np.exp(np.asarray(few, dtype=float) / 2)
by_hand = 1 - np.tensordot(roots, roots, ((1, 2), (1, 2))) / few.shape[1]
assert np.allclose(hellinger, by_hand, atol=1e-5), (
    f"expected the mean of 1 - b, found {np.abs(hellinger - by_hand).max():.1e} away"
)

# %% [markdown]
# 2. $d_B$ is no metric. Define `three_points`, log-probabilities of shape (3, samples, classes), so that the way from the first to the last over the second is shorter than the straight one.

# %% tags=["stub"]
three_points = ...  # array (3, samples, classes)

# %% tags=["solution"]
sure = [[1 - 1e-9, 1e-9]], [[0.5, 0.5]], [[1e-9, 1 - 1e-9]]
three_points = np.log(np.array(sure))

# %% tags=["check"]
assert np.ndim(three_points) == 3 and len(three_points) == 3, (
    f"expected an array (3, samples, classes), found {np.shape(three_points)}"
)

# %% tags=["check", "hidden"]
sums = np.exp(three_points).sum(axis=2)
assert np.allclose(sums, 1, atol=1e-6), (
    f"expected probabilities that sum to 1, found {sums}"
)
sides = pairwise(three_points)
assert sides[0, 2] > sides[0, 1] + sides[1, 2] + 1e-9, (
    f"expected a shorter way over the second, found {sides}"
)

# %% [markdown]
# 3. The paper's code uses every second sample only. Define `change`, the largest change of a distance between two checkpoints of the first run (`few`) if you do so too, from the first sample on.

# %% tags=["stub"]
change = ...  # a number, in nats

# %% tags=["solution"]
change = np.abs(pairwise(few[:, ::2]) - pairwise(few)).max()
change

# %% tags=["check"]
assert np.isscalar(change) and 0 <= change < pairwise(few).max(), (
    f"expected a change below the largest distance, found {change!r}"
)

# %% tags=["check", "hidden"]
halved = max(np.abs(pairwise(few[:, ::2]) - pairwise(few)).ravel())
assert np.isclose(change, halved), f"expected {halved:.6f}, found {change}"

# %% [markdown]
# ### Quiz
#
# **1.** Why is the logarithm taken sample by sample before the mean, and not once of the mean?
#
# <details><summary>Answer</summary>Because networks predict samples independently: probabilities of independent samples multiply, so their logarithms add. The distance per sample then does not grow with the number of samples.</details>
#
# **2.** Two networks disagree on one sample with certainty. What is their distance, and is this a fault?
#
# <details><summary>Answer</summary>It is infinite: on this sample they have no answer in common. It is no fault of the formula, and the book neither hides it nor clamps it unless you ask for a cap.</details>

# %% [markdown]
# ## What next
#
# Chapter 30 turns the matrix into coordinates. Chapter 90 measures how fast the kernel is, compared with the usual way.
#
# **References.**
#
# * [Bhattacharyya1943] Bhattacharyya, *On a measure of divergence between two statistical populations*, Bulletin of the Calcutta Mathematical Society 35, 1943.
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. The equation for $d_B$ in section 2.
