# %% [markdown]
# # What do the networks look at?
#
# **What.** The samples of the profile's data set, its classes, and the spectrum of its inputs.
# **Figure of the paper.** None of its own; the input spectrum returns in the figure on sloppy data (chapter 52).
# **Answer.** The samples vary far more in some directions than in others, and the chapter counts how many directions matter. It also says whether the classes are balanced.
#
# | | |
# |---|---|
# | Goals | know the samples that span the prediction space; see whether the classes are balanced; read an input spectrum |
# | Prerequisites | chapter 00 (essential), principal components (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | the data set; the atlas with its labels, results/10.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.files import data_root
from manifold_utils.profiles import Profile

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds data sets and atlases; empty: the project's data/
n_pictures = 8  # samples shown of every class
n_rows = 20  # classes shown at most
megabytes = 600  # of pixels whose spectrum is taken; more samples are thinned evenly

# %% tags=["hide-input"]
started = time.time()
settings = Profile.load(profile, data_dir)
atlas = Atlas.create(settings, data_root(data_dir) / "atlases")
print(f"profile {settings.name}: {settings.description}")
print(f"data set {settings.dataset.name}, grids: {', '.join(settings.grids)}")

# %% [markdown]
# ## Which samples span the prediction space?
#
# Every network of this atlas predicts the same samples, in the same order. Their number $N$ and the number of classes $C$ determine the space: it has $N(C-1)$ dimensions. A profile may record only a part of its train samples, as the paper does (every second); $N$ counts the recorded ones.

# %%
data = load_dataset(settings.dataset, data_dir)
plots.use_house_style({"class": list(data.classes)})
recorded = {split: data.recorded(split) for split in ("train", "test")}
labels = {split: data.labels(split)[recorded[split]].numpy() for split in recorded}
for split, y in labels.items():
    print(
        f"{split}: N = {len(y)}, C = {data.n_classes}, "
        f"{len(y) * (data.n_classes - 1)} dimensions"
    )
print("files left out:", "; ".join(data.left_out) or "none")

# %% [markdown]
# The labels are kept in the atlas, so that later chapters never need the data set itself. Reading them back must give the same numbers.

# %%
for split, y in labels.items():
    atlas.save_labels(split, y)
    assert np.array_equal(atlas.labels(split), y)
    assert y.min() == 0 and y.max() == data.n_classes - 1

# %% [markdown]
# *Prediction:* which classes would you confuse? Look at the samples and decide, before any network does.

# %% tags=["hide-input", "pictures"]
places = recorded["train"].numpy()
n_shown = min(data.n_classes, n_rows)
size = 0.8 * n_pictures, 0.8 * n_shown
fig, axes = plt.subplots(n_shown, n_pictures, figsize=size, squeeze=False)
for c, row in enumerate(axes):
    of_class = places[labels["train"] == c][:n_pictures]
    for image, ax in zip(data.images("train", of_class), row, strict=False):
        ax.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="gray_r")
    for ax in row:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    row[0].set_ylabel(str(data.classes[c]), rotation=0, ha="right", va="center")
alt = f"Samples of the data set {settings.dataset.name}, one row a class."
plots.save_figure(fig, atlas.figure_path("10_samples.png"), alt=alt)

# %% [markdown]
# Each row is a class. If two rows share shapes or colours, networks can confuse them. The samples that you find hard are likely to be those on which networks disagree longest.
#
# ## Is every class equally present?
#
# Ignorance, the point where training starts, is the right guess only if the classes are balanced. If a profile asks for a number of samples, they are drawn class by class for that reason; otherwise all samples are taken, and some classes may be larger than others.

# %% tags=["hide-input"]
n_classes, width = data.n_classes, 0.38
counts = {split: np.bincount(y, minlength=n_classes) for split, y in labels.items()}
totals = ", ".join(f"{len(y)} {split}" for split, y in labels.items())
alt = f"Samples of every class as pairs of columns, {totals} samples in all."

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 3))
for k, (split, count) in enumerate(counts.items()):
    colour = plots.FACTOR_STYLES[k][0]
    place = np.arange(n_classes) + 0.4 * k - 0.2
    bars = {"color": colour, "hatch": ("", "//")[k], "edgecolor": "white"}
    ax.bar(place, count, width=width, label=split, **bars)
named = range(0, n_classes, -(-n_classes // (2 * n_rows)))
ax.set_xticks(named, [data.classes[c] for c in named])
ax.set(xlabel="class", ylabel="samples")
if max(len(str(name)) for name in data.classes) > 3:
    plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plots.save_figure(fig, atlas.figure_path("10_classes.png"), alt=alt)

# %% [markdown]
# The classes are balanced if the columns of one colour have nearly the same height. The next cell compares the largest and the smallest class of each split.

# %%
for split, count in counts.items():
    most, least = count.max(), count.min()
    balanced = "balanced" if most <= 1.05 * least + 1 else "not balanced"
    print(f"{split}: classes of {least} to {most} samples, which is {balanced}")

# %% [markdown]
# ## In how many directions do the inputs vary?
#
# The eigenvalues of the inputs' covariance say how the variance is shared between directions. If they fall over many orders of magnitude, the data is called *sloppy*: a few *stiff* directions hold nearly all of the variance.
# *Prediction:* how many directions hold 90 % of the variance of these images?

# %%
fitting = max(2, int(1e6 * megabytes / (8 * np.prod(data.input_shape))))
few = places[:: -(-len(places) // fitting)]
flat = data.images("train", few).reshape(len(few), -1).astype(float)
variance = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
share = np.cumsum(variance) / variance.sum()
n_90 = int(np.searchsorted(share, 0.9)) + 1
print(f"{n_90} of {flat.shape[1]} directions hold 90 % of the variance")

# %% [markdown]
# The total must not depend on how it is computed: the sum of the eigenvalues is the sum of the pixels' variances.

# %%
total = (flat - flat.mean(axis=0)).var(axis=0).sum() * len(flat)
print(f"sum of eigenvalues / sum of variances - 1 = {variance.sum() / total - 1:.1e}")
assert np.isclose(variance.sum(), total)

# %% [markdown]
# The check passes. The next figure shows the whole spectrum; an exponential decay would be a straight line on its logarithmic axis.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 3.4))
positive = variance > 1e-12 * variance[0]
visible = variance[positive] / variance.sum()
ax.semilogy(np.arange(1, len(visible) + 1), visible, color=plots.SPACE_LIKE)
label = f"90 % of the variance: {n_90} directions"
ax.axvline(n_90, color="black", ls="--", lw=1, label=label)
ax.set(xlabel="direction", ylabel="share of the variance")
ax.legend()
alt = (
    f"Eigenvalues of the covariance of {len(few)} inputs as shares of the variance, "
    f"logarithmic; the dashed line marks the {n_90} directions that hold 90 %."
)
plots.save_figure(fig, atlas.figure_path("10_spectrum.png"), alt=alt)

# %% [markdown]
# The faster the curve falls, and the farther to the left the dashed line is, the sloppier the inputs. At the right end are directions in which the images hardly vary at all, such as borders that are always blank, or differences between neighbouring pixels. With fewer samples than pixels the curve ends early, because centred samples vary in at most one direction fewer than there are samples. Chapter 52 asks whether sloppy inputs are why the manifold of predictions is low-dimensional.
#
# ## What we learned

# %%
decades = float(np.log10(variance[0] / variance[positive][-1]))
n_train, n_test = len(labels["train"]), len(labels["test"])
print(
    "The train predictions of one network are a point "
    f"in {n_train * (data.n_classes - 1)} dimensions."
)
print(
    f"The inputs' eigenvalues span {decades:.1f} decades; {n_90} "
    f"of {flat.shape[1]} directions hold 90 % of the variance."
)
print(
    "The paper's CIFAR-10 has 50,000 train "
    "samples of 3,072 numbers each, in 10 classes."
)

# %% tags=["hide-input"]
results = {
    "n_train": claims.result(n_train, unit="samples"),
    "n_test": claims.result(n_test, unit="samples"),
    "n_classes": claims.result(data.n_classes, unit="classes"),
    "directions_90": claims.result(n_90, n=flat.shape[1], unit="directions"),
    "spectrum_decades": claims.result(decades, n=len(flat), unit="decades"),
}
claims.save_results(atlas, "10", results, seed=settings.dataset.seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `n_99`, the number of directions that hold 99 % of the variance.

# %% tags=["stub"]
n_99 = ...  # a whole number

# %% tags=["solution"]
n_99 = int(np.searchsorted(share, 0.99)) + 1
n_99

# %% tags=["check"]
assert isinstance(n_99, int | np.integer) and 1 <= n_99 <= len(share), (
    f"expected a whole number from 1 to {len(share)}, found {n_99!r}"
)

# %% tags=["check", "hidden"]
assert share[n_99 - 1] >= 0.99, f"expected at least 99 %, found {share[n_99 - 1]:.4f}"
assert n_99 == 1 or share[n_99 - 2] < 0.99, (
    f"expected the least such number, found {n_99}"
)

# %% [markdown]
# 2. A network always answers with the class frequencies of the train samples. Define `frequency_distance`, its distance from truth on them. Compare it with ignorance.

# %% tags=["stub"]
frequency_distance = ...  # a number, in nats

# %% tags=["solution"]
frequencies = counts["train"] / counts["train"].sum()
frequency_distance = -0.5 * np.log(frequencies[labels["train"]]).mean()
frequency_distance, np.log(data.n_classes) / 2

# %% tags=["check"]
assert (
    np.isscalar(frequency_distance)
    and 0 < frequency_distance <= np.log(data.n_classes) / 2 + 1e-9
), f"expected nats, no farther than ignorance, found {frequency_distance!r}"

# %% tags=["check", "hidden"]
shares = np.unique(labels["train"], return_counts=True)[1] / len(labels["train"])
half_entropy = -0.5 * np.sum(shares * np.log(shares))
assert np.isclose(frequency_distance, half_entropy), (
    f"expected half the entropy, {half_entropy:.6f}, found {frequency_distance}"
)

# %% [markdown]
# 3. Shuffle the pixels of every image by one fixed permutation. Define `permuted_variance`, the squared singular values of the centred images then. Which of this chapter's figures changes?

# %% tags=["stub"]
permuted_variance = ...  # array, like `variance`

# %% tags=["solution"]
permuted = flat[:, np.random.default_rng(0).permutation(flat.shape[1])]
permuted_variance = (
    np.linalg.svd(permuted - permuted.mean(axis=0), compute_uv=False) ** 2
)

# %% tags=["check"]
assert np.shape(permuted_variance) == variance.shape, (
    f"expected an array of shape {variance.shape}, found {np.shape(permuted_variance)}"
)

# %% tags=["check", "hidden"]
moved = np.abs(permuted_variance - variance).max() / variance[0]
assert moved < 1e-6, (
    f"expected the spectrum of the unshuffled images, found a change of {moved:.1e}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why do the networks of the book see the same samples in the same order when they are recorded?
#
# <details><summary>Answer</summary>Two predictions are compared sample by sample. With other samples, or in another order, the distance would mix what the networks think with what they were asked.</details>
#
# **2.** Inputs whose variance falls quickly over the directions are called sloppy. Does it follow that the networks' predictions are low-dimensional?
#
# <details><summary>Answer</summary>No. It is one possible reason, and it has to be tested: chapter 52 trains networks on data whose spectrum we choose.</details>

# %% [markdown]
# ## What next
#
# Chapter 11 trains the networks of the profile's grids on these samples.
#
# **References.**
#
# * [Krizhevsky2009] Krizhevsky, *Learning multiple layers of features from tiny images*, 2009. For CIFAR-10.
# * [Yang2022] Yang, Mao and Chaudhari, *Does the data induce capacity control in deep learning?*, ICML 2022. For sloppy inputs.
