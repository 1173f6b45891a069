# %% [markdown] tags=["slide"]
# # How can networks that share nothing be drawn in one picture?
#
# **What.** We look at a prediction space that is small enough to see: two samples, three classes. Everything that this book does with thousands of networks and samples happens here first.
# **Figure of the paper.** The sketch of prediction space (figure 1).
# **Answer.** A network is a point in the space of its *predictions*; training is a path from ignorance to truth, and we can measure how far apart two paths are, whatever made them.
#
# | | |
# |---|---|
# | Goals | say what a point, ignorance, truth, the geodesic and progress are; compute a Bhattacharyya distance by hand; read an InPCA plot |
# | Prerequisites | probability (essential), cross-entropy (helpful), eigenvectors (helpful) |
# | Minutes | 1 on CPU, no GPU needed (reading: 20) |
# | Inputs, outputs | no data; results/00.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.files import data_root
from manifold_utils.geometry import geodesic, ignorance, progress, truth
from manifold_utils.inpca import InPCA
from manifold_utils.profiles import Profile

# %% [markdown]
# The next cell holds the chapter's parameters. Change a value and run the chapter again, or let papermill change it.

# %% tags=["parameters"]
profile = "digits"  # which profile's atlas keeps the results
data_dir = ""  # folder that holds the atlases; empty: the project's data/
seed = 0  # of the random starting points
n_starts = 3  # starting points for each of the two toy models
n_steps = 1600  # steps of gradient descent
learning_rate = 0.05  # step size of gradient descent

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
settings = Profile.load(profile, data_dir)
atlas = Atlas.create(settings, data_root(data_dir) / "atlases")
plots.use_house_style()
print(f"plan: 2 toy models x {n_starts} starts x {n_steps} steps, drawn in the open")

# %% [markdown] tags=["slide"]
# ## What is a network, seen from outside?
#
# Give a network an input $x_n$ and it answers with probabilities $p^n_1, \dots, p^n_C$ over $C$ classes. With $N$ inputs fixed, the network *is* its $N$ lists of probabilities: a point in a product of $N$ simplices.
# Its weights, its layers and its number of parameters no longer matter. That is why a convolutional network and a transformer fit into the same picture.
#
# Our two samples have the true classes 0 and 1. Two points are special: **ignorance** $P_0$ answers $1/C$ everywhere, and **truth** $P_*$ is certain and right.

# %% tags=["fragment"]
labels = np.array([0, 1])
P_0 = ignorance(2, 3)
P_star = truth(labels, 3)
np.exp(P_0[0]), np.exp(P_star[0])

# %% [markdown]
# Predictions are kept as natural logarithms, `log_probs`, of shape (points, samples, classes). A certain prediction has the logarithms 0 and $-\infty$; every function of this book accepts minus infinity.

# %%
print("shape (points, samples, classes):", P_star.shape)
assert np.allclose(np.exp(P_0).sum(axis=-1), 1)
assert np.exp(P_star)[0, 1, 1] == 1

# %% [markdown] tags=["slide"]
# ## How far apart are two networks?
#
# For one sample, the overlap of two lists of probabilities is the Bhattacharyya coefficient $\sum_c \sqrt{p_c q_c}$: 1 if they agree, 0 if they share no class. The **Bhattacharyya distance** is
#
# $$ d_B(P, Q) = -\frac1N \sum_n \log \sum_c \sqrt{p^n_c q^n_c} \quad\text{(nats)}. $$
#
# *Before you run the next cell:* how far is ignorance from truth with three classes? Only one term of the sum survives, $\sqrt{1/3 \cdot 1}$, so the answer should be $\tfrac12 \log 3$.

# %% tags=["fragment"]
distance = pairwise(P_0, P_star)[0, 0]
print(f"d_B(P0, P*) = {distance:.6f}    (log 3)/2 = {np.log(3) / 2:.6f}")
assert np.isclose(distance, np.log(3) / 2)

# %% [markdown]
# The two agree. The same holds for any number of classes, and chapter 20 uses it as a check on the data of the real networks.
#
# There is a second identity that ties the distance to daily work: to the truth, $d_B$ is half the cross-entropy loss. We check it on a random prediction.

# %%
guess = np.log(rng.dirichlet(np.ones(3), size=(1, 2)))
cross_entropy = -guess[0, [0, 1], labels].mean()
print(
    f"d_B(P, P*) = {pairwise(guess, P_star)[0, 0]:.6f} "
    f"   cross-entropy / 2 = {cross_entropy / 2:.6f}"
)
assert np.isclose(pairwise(guess, P_star)[0, 0], cross_entropy / 2)

# %% [markdown] tags=["fragment"]
# So a training loss is already a distance: to one point, the truth. This book measures the distances to all the other networks as well.

# %% [markdown] tags=["slide"]
# ## What does training look like here?
#
# We train the smallest models that still differ: their logits $z$ (2 samples x 3 classes) follow gradient descent on the cross-entropy through a kernel $K$ that says how strongly a step on one sample moves the other, $z \leftarrow z - \eta K (p - y)$.
# If the model treats the two inputs as unrelated, $K = I$; if it treats them as alike, $K$ couples them. These are our two "architectures".

# %% tags=["same-slide"]
kernels = {"separate": np.eye(2), "coupled": np.array([[1.0, 0.7], [0.7, 1.0]])}
one_hot = np.eye(3)[labels]
starts = [rng.normal(scale=1.2, size=(2, 3)) for _ in range(n_starts)]


# %% [markdown]
# One function makes one training path; it is the whole "deep learning" of this chapter.

# %% tags=["lesson"]
def train(kernel, logits):
    path = []
    for _ in range(n_steps):
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        path.append(log_probs)
        logits = logits - learning_rate * kernel @ (np.exp(log_probs) - one_hot)
    return np.array(path)


# %% [markdown]
# Both models get the same starting points, so any later difference is due to the model.

# %%
names = [name for name in kernels for _ in starts]
paths = np.array([train(kernels[name], start) for name in kernels for start in starts])
print("paths (runs, steps, samples, classes):", paths.shape)

# %% [markdown] tags=["slide"]
# With three classes a prediction is a point of a triangle, one triangle a sample. *Prediction:* all paths must end in the corner of the true class. Do they have to take the same way?

# %% tags=["hide-input"]
lambdas = np.linspace(0, 1, 50)
road = geodesic(P_0, P_star, lambdas)
alt = (
    f"Two triangles, one for each sample: {len(paths)} paths run from scattered starts "
    "to the corner of the true class; dashes tell the two models apart."
)

# %% tags=["hide-input", "same-slide"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6))
for n, ax in enumerate(axes):
    plots.plot_triangle(ax, f"sample {n}, true class {labels[n]}")
    straight = plots.barycentric(np.exp(road[:, n]))
    ax.plot(*straight.T, color="black", lw=2.5, label="geodesic")
    for k, path in enumerate(paths):
        colour, _, dash = plots.style_of(names[k], names)
        label = None if names[k] in names[:k] else f"model {names[k]!r}"
        bent = plots.barycentric(np.exp(path[:, n]))
        ax.plot(*bent.T, color=colour, ls=dash, lw=1.3, label=label)
plots.figure_legend(fig, axes[0])
plots.save_figure(fig, atlas.figure_path("00_triangles.png"), alt=alt)

# %% [markdown]
# Corners are certain predictions of classes 0, 1 and 2; the next section explains the geodesic. All paths run into the correct corner, but none of them is straight: each start gives a path of its own, and the two models bend it differently.
# One triangle for each sample works for two or three samples. For thousands we need distances and an embedding.

# %% [markdown] tags=["slide"]
# ## What is the straight road from ignorance to truth?
#
# The square roots $\sqrt{p_c}$ of a prediction have length 1: a prediction is a point on a sphere. On a sphere the shortest road is a great circle, sample by sample:
#
# $$ \sqrt{p_\lambda} = \frac{\sin((1-\lambda)\theta)\,\sqrt{p} + \sin(\lambda\theta)\,\sqrt{q}}{\sin\theta}, \qquad \cos\theta = \sum_c \sqrt{p_c q_c}. $$
#
# Along the geodesic from $P_0$ to $P_*$ the probability of the true class rises from 1/3 to 1.

# %% tags=["fragment"]
true_class = np.exp(road[:, 0, 0])
print(
    "probability of the true class at lambda = 0, 1/2, 1:",
    true_class[[0, 25, 49]].round(3),
)
assert np.isclose(true_class[0], 1 / 3) and np.isclose(true_class[-1], 1)
assert np.all(np.diff(true_class) > 0)

# %% [markdown] tags=["slide"]
# It rises all the way, as it should. The **progress** of a network is the $\lambda$ of the nearest point of this geodesic. It is a clock that does not depend on how fast a network learns.

# %% tags=["same-slide"]
clock = np.array([progress(path, labels) for path in paths])
print("progress at the first and last step of each run:")
print(np.column_stack([clock[:, 0], clock[:, -1]]).round(3))

# %% [markdown]
# A start with progress 0 in the left column need not be near ignorance: if it is confidently wrong, ignorance is merely the nearest point of the geodesic. A start that is right on one sample has some progress already. The right column is larger in every row: each run has covered most of the way in these steps, and how far it got depends on the model.

# %% [markdown] tags=["slide"]
# ## Can one flat picture hold all distances?
#
# We take steps of every path, dense at first and rarer later, add the geodesic to one list of points, and measure all pairwise distances. **InPCA** finds coordinates whose *signed* squared differences give these distances back: axes with a positive eigenvalue count as in ordinary space (space-like), axes with a negative one count negatively (time-like). The *explained stress* says how much of the matrix the first axes hold, from 0 to 1; chapter 30 defines it.

# %% tags=["fragment"]
kept = np.unique(np.geomspace(1, n_steps, 40).astype(int)) - 1
points = np.concatenate([paths[:, kept].reshape(-1, 2, 3), road])
D = pairwise(points[:-1])  # the last point is truth itself: see the exercises
inpca = InPCA(n_components=6).fit(D)
print("eigenvalues:", inpca.eigenvalues_.round(3))
print("explained stress:", inpca.explained_stress_.round(3))

# %% [markdown]
# A handful of numbers describes the matrix. Two triangles have only four degrees of freedom, and the curvature of the distance adds a few more axes, which are small.
#
# Is the embedding really isometric? If so, the signed coordinates must rebuild every distance. We use all axes for this check.

# %%
full = InPCA(n_components=len(D)).fit(D)
differences = full.embedding_[:, None, :] - full.embedding_[None, :, :]
rebuilt = (differences**2 * full.signature_).sum(axis=-1)
print(f"largest error of a rebuilt distance: {np.abs(rebuilt - D).max():.1e} nats")
assert np.allclose(rebuilt, D, atol=1e-6)

# %% [markdown] tags=["slide"]
# It does. Now the picture itself, the first two axes. *Prediction:* from the triangles, do you expect the two models to separate, or the starts?

# %% tags=["hide-input", "same-slide"]
n_each = len(kept)
fig, ax = plt.subplots(figsize=(7.5, 4.2))
for k, name in enumerate(names):
    colour, marker, dash = plots.style_of(name, names)
    x, y = inpca.embedding_[k * n_each : (k + 1) * n_each, :2].T
    label = None if name in names[:k] else name
    ax.plot(x, y, color=colour, ls=dash, marker=marker, ms=3, label=label)
plots.plot_reference(ax, inpca.embedding_[len(names) * n_each :])
plots.label_embedding(ax, inpca.eigenvalues_, inpca.explained_stress_)
ax.legend()
alt = (
    f"InPCA of {len(paths)} toy training paths, {n_each} steps each: they join near "
    "truth (star), beside the geodesic (black)."
)
plots.save_figure(fig, atlas.figure_path("00_embedding.png"), alt=alt)

# %% [markdown]
# Two curves that begin at the same place belong to the same start, given to both models: they separate at once and approach the star together. The first axis sorts points by how far they are from the truth. The star stands one step before truth, since truth itself was left out of the matrix.
#
# How much of the difference is due to the model, and how much to the start? We compare the paths at equal steps: the mean distance between the two models from the same start, against that between different starts of the same model.

# %% tags=["slide"]
same_start = [
    pairwise(paths[i], paths[i + n_starts]).diagonal().mean() for i in range(n_starts)
]
same_model = [
    pairwise(paths[i], paths[j]).diagonal().mean()
    for i in range(n_starts)
    for j in range(i)
]
print(
    f"models apart: {np.mean(same_start):.4f} nats, "
    f"starts apart: {np.mean(same_model):.4f} nats"
)

# %% [markdown] tags=["fragment"]
# Read the first number with care: equal steps are not equal progress, and the column of last values above shows that one model is faster than the other. Two runs on the same path are far apart at equal steps if one is ahead of the other. That is why this book compares runs at equal *progress* from chapter 31 on.

# %% [markdown] tags=["slide"]
# ## What we learned

# %% tags=["same-slide"]
ratio = float(np.mean(same_start) / np.mean(same_model))
stress = inpca.explained_stress_[1]
print(
    f"Two axes carry {100 * stress:.0f} % of the stress "
    f"of {len(D)} points in a space of 4 dimensions."
)
print(
    f"At equal steps, the two toy models are {ratio:.2f} "
    "times as far apart as two starting points."
)
print(
    f"Ignorance and truth are {distance:.4f} nats apart; for "
    f"ten classes it is {np.log(10) / 2:.4f} (paper: 1.1513)."
)

# %% [markdown]
# The last line is exact for every data set. The first two are about toys: whether thousands of *real* networks share a road is the question of the book.

# %% tags=["hide-input"]
results = {
    "stress_2": claims.result(stress, n=len(D), note="toy paths, two axes"),
    "models_over_starts": claims.result(
        ratio, n=len(names), note="mean d_B at equal steps"
    ),
}
claims.save_results(atlas, "00", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Show on paper that $d_B(P_0, P_*) = \tfrac12\log C$. Define `imagenet_distance`, this distance for ImageNet's 1,000 classes.

# %% tags=["stub"]
imagenet_distance = ...  # a number, in nats

# %% tags=["solution"]
imagenet_distance = np.log(1000) / 2
imagenet_distance

# %% tags=["check"]
assert np.isscalar(imagenet_distance) and 0 < imagenet_distance < 5, (
    f"expected a number of nats between 0 and 5, found {imagenet_distance!r}"
)

# %% tags=["check", "hidden"]
measured = pairwise(ignorance(4, 1000), truth(np.arange(4), 1000))[0, 0]
assert np.isclose(imagenet_distance, measured), (
    f"expected {measured:.4f}, as measured, found {imagenet_distance}"
)

# %% [markdown]
# 2. We left the point truth out of the matrix `D`. Define `never_distance`, its distance to a prediction that gives the true class of sample 0 a probability of exactly 0. Why would InPCA refuse such a matrix?

# %% tags=["stub"]
never_distance = ...  # a number, in nats

# %% tags=["solution"]
never = np.array([[[-np.inf, np.log(0.5), np.log(0.5)], [-np.inf, 0.0, -np.inf]]])
never_distance = pairwise(never, P_star)[0, 0]
never_distance

# %% tags=["check"]
assert np.isscalar(never_distance) and never_distance > D.max(), (
    f"expected a number above all of D ({D.max():.2f} nats), found {never_distance!r}"
)

# %% tags=["check", "hidden"]
assert np.isinf(never_distance), f"expected the logarithm of 0, found {never_distance}"

# %% [markdown]
# 3. Train the second model with a weaker coupling (0.1), with its own (0.7), and with a stronger one (0.95). Define `apart_by`, a dictionary from each coupling to the mean distance from the separate model. When do the two models travel together?

# %% tags=["stub"]
apart_by = ...  # {0.1: nats, 0.7: nats, 0.95: nats}

# %% tags=["solution"]
apart_by = {}
for coupling in (0.1, 0.7, 0.95):
    kernel = np.array([[1, coupling], [coupling, 1]])
    coupled = [train(kernel, start) for start in starts]
    pairs = zip(paths[:n_starts], coupled, strict=True)
    apart_by[coupling] = np.mean([pairwise(a, b).diagonal().mean() for a, b in pairs])
apart_by

# %% tags=["check"]
assert isinstance(apart_by, dict) and set(apart_by) == {0.1, 0.7, 0.95}, (
    f"expected a dictionary with the keys 0.1, 0.7 and 0.95, found {apart_by!r}"
)
assert apart_by[0.1] < apart_by[0.95], (
    f"expected models that are farther apart with a strong coupling, found {apart_by}"
)

# %% tags=["check", "hidden"]
weak = np.array([train(np.array([[1, 0.1], [0.1, 1]]), s) for s in starts])
known = np.mean([pairwise(paths[i], weak[i]).diagonal() for i in range(n_starts)])
assert np.isclose(apart_by[0.1], known), (
    f"expected {known:.4f} nats at the coupling 0.1, found {apart_by[0.1]}"
)
assert apart_by[0.1] < apart_by[0.7] < apart_by[0.95], (
    f"expected distances that grow with the coupling, found {apart_by}"
)

# %% [markdown] tags=["slide"]
# ### Quiz
#
# **1.** Two networks have very different weights, and give the same probabilities on every sample. How far apart are they in this book?
#
# <details><summary>Answer</summary>At distance zero. A point of the book is what a network predicts, not what its weights are. That is why networks of different size and architecture can be compared.</details>
#
# **2.** All trajectories lie along one line, and the first axis explains nearly all of the stress. Does this prove that networks share a manifold?
#
# <details><summary>Answer</summary>No. Every network that learns goes from ignorance to truth, and this common way fills the first axis. The proof has to come from a comparison at equal progress, beside a world in which nothing else is shared.</details>
#
# **3.** Why is the point truth left out when the embedding is made?
#
# <details><summary>Answer</summary>A network that gives some true class a probability of zero is infinitely far from truth, and a matrix with an infinite entry cannot be embedded. Truth is placed afterwards, or approached along the geodesic.</details>

# %% [markdown] tags=["slide"]
# ## What next
#
# One warning applies to the whole book. Every network that learns travels from ignorance to truth, so a picture in which all of them lie along one line, and a first axis that explains nearly all of the stress, prove only that they learn. What networks share beyond their learning curves shows when they are compared at equal progress, beside a world in which nothing else is shared: chapter 32 makes that world, and every headline number of the book stands beside it.
#
# Chapter 10 shows the data of your profile, chapter 11 trains the networks, and chapter 20 measures the distances with a kernel that is exact and fast.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Section 2 and figure 1.
# * [Quinn2019] Quinn et al., *Visualizing probabilistic models and data with intensive principal component analysis*, PNAS 116(28), 2019. For InPCA.
