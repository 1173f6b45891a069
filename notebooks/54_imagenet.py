# %% [markdown]
# # ImageNet, or any large atlas made elsewhere: does it have such a manifold too?
#
# **What.** The embedding of an atlas whose runs were made elsewhere: recorded on ImageNet by somebody with a cluster, or on any other large data. What such a grid costs, and what changes with 1,000 classes.
# **Figure of the paper.** The embedding of 792 configurations on ImageNet. **These 792 runs were not made here**, and no number of this chapter is about them unless the first lines of output say so.
# **Answer.** Only recorded runs can tell. If the atlas is of kind `recorded`, this chapter reads it. Otherwise it writes a few runs of the book to files, imports them as a user would import runs from elsewhere, and checks every step from files to an embedding.
#
# | | |
# |---|---|
# | Goals | plan a large grid before starting it; know what depends on the number of classes; read an atlas that was made elsewhere; know what half precision costs |
# | Prerequisites | chapters 11, 20 and 30 (essential), 63 (helpful) |
# | Minutes | 1 on CPU (reading: 10); the real grid needs a cluster |
# | Inputs, outputs | a recorded atlas if this is its profile, else some runs of this one; figures, results/54.json |

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, datasets, distances, geometry, inpca, plots
from manifold_utils.atlas import Atlas
from manifold_utils.profiles import RECORDED, DatasetConfig, Profile
from manifold_utils.recording import importing
from manifold_utils.studies.image_folders import write_digits
from manifold_utils.training import planning

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml, or a recorded atlas
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_written = 8  # runs of the book that are written to files, where none are recorded
n_embedded = 4000  # points that are embedded here, at most
seed = 0  # of the draw of these runs

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
is_recorded = atlas.profile.kind == RECORDED
holds_images = is_recorded or atlas.profile.data_name == claims.IMAGE_FOLDER
is_imagenet = holds_images and atlas.n_classes == claims.IMAGENET_CLASSES
first_split = atlas.splits[0]
kind = "a recorded atlas" if is_recorded else "an atlas of the book's own runs"
print(f"{atlas.path.name} is {kind} with {atlas.n_classes} classes.")
if not is_imagenet:
    print("It holds no ImageNet runs: nothing below is a statement about ImageNet.")

# %% [markdown]
# ## What would be trained?
#
# The profile `imagenet` spans two residual networks and a small vision transformer, over optimiser, learning rate, batch size, weight decay, augmentation and seeds. The plan counts the runs without starting any. This is worthwhile, because each training run would take hours on a GPU.

# %%
imagenet = Profile.load("imagenet")
outline = planning.plan(imagenet, measure=False)
n_runs = len(imagenet.configs())
print(f"{n_runs} configurations; the paper: 792")
outline.table

# %%
factors = pd.DataFrame(
    [c.model_dump(exclude={"dataset"}) for _, c in imagenet.configs()]
)
varied = [name for name in factors if factors[name].nunique() > 1]
values = {
    name: [f"{v} ({count})" for v, count in factors[name].value_counts().items()]
    for name in varied
}
pd.DataFrame(
    {"values (runs)": {name: ", ".join(listed) for name, listed in values.items()}}
)

# %% [markdown]
# The command `python -m manifold_utils plan --profile imagenet` gives the plan with measured minutes. To train it yourself, put the images into `data/imagefolder/train/<class>/` and `val/<class>/`, start a Dask cluster with one worker per GPU, and give its address: `python -m manifold_utils run --profile imagenet --client tcp://...`. If runs exist already, their recorded predictions are enough.
#
# ## What changes with a thousand classes?
#
# Ignorance lies at $\tfrac12 \log C$ from the truth and at an angle of $\arccos(1/\sqrt C)$. *Prediction:* half-way along the geodesic, how probable is the true class, for ten and for a thousand classes?

# %%
lambdas = np.linspace(0, 1, 41)
lengths, of_true = {}, {}

# %%
for n_classes in (10, 100, 1000):
    start, end = geometry.ignorance(1, n_classes), geometry.truth([0], n_classes)
    angle = np.arccos(n_classes**-0.5)
    lengths[n_classes] = {
        "(log C)/2": np.log(n_classes) / 2,
        "d_B": distances.pairwise(start, end)[0, 0],
        "angle": angle,
    }
    of_true[n_classes] = np.exp(geometry.geodesic(start, end, lambdas)[:, 0, 0])
pd.DataFrame(lengths).T.rename_axis("C").round(4)

# %% [markdown]
# The next figure shows the probability of the true class along the whole geodesic.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4))
for k, (n_classes, curve) in enumerate(of_true.items()):
    colour, _, dash = plots.FACTOR_STYLES[k]
    label = f"C = {n_classes}: half-way {curve[20]:.2f}"
    ax.plot(lambdas, curve, color=colour, ls=dash, lw=2.2, label=label)
ax.set(xlabel=r"$\lambda$ on the geodesic", ylabel="probability of the true class")
ax.legend(handlelength=3)
alt = (
    "Probability of the true class along the geodesic from ignorance to truth for 10 "
    "(solid), 100 (dashed) and 1000 classes (dash-dotted)."
)
plots.save_figure(fig, atlas.figure_path("54_geodesic.png"), alt=alt)

# %% [markdown]
# All curves end at 1. With more classes, the curve starts lower and becomes S-shaped, and its value half-way tends to one half, as on a great circle between two orthogonal directions. The geometry is the same for a thousand classes, but the cost grows, because a distance needs $N \times C$ numbers of each point.

# %%
n_train, n_test = planning.sizes_of(imagenet.dataset)
recorded = -(-n_train // imagenet.dataset.record_every) + n_test
total = outline.table.loc["total"]
megabytes = [recorded * n_classes * 4 / 1e6 for n_classes in (1000, 10)]

# %%
print(
    f"one checkpoint on {recorded} recorded samples: {megabytes[0]:.0f} MB on ImageNet,"
)
print(f"  {megabytes[1]:.1f} MB with ten classes")
print(
    f"the whole grid: {total.points:.0f} points, "
    f"{total.gigabytes:,.0f} GB of predictions before compression"
)

# %% [markdown]
# ## How do you import runs that were made elsewhere?
#
# You need two things: a table with one row for each run, and a file of logits for each run and split. The command `python -m manifold_utils import NAME --runs runs.csv --predictions 'logits/{run}_{split}.npy' --labels 'labels_{split}.npy'` makes an atlas of them, with one run in memory at a time.
#
# If this atlas is recorded already, we use it. Otherwise we do the same with a few of the book's runs: we write their predictions in half precision, which halves the size of the files, and shift every row by a random constant, because logits are not normalised.

# %%
workshop = tempfile.TemporaryDirectory(prefix="manifold-")
place = Path(workshop.name)
runs = atlas.runs
finished = runs[(runs.grid == "main") & (runs.status == "finished")]
rank = finished.groupby(atlas.family, sort=False).cumcount()
chosen = finished.loc[rank.sort_values(kind="stable").index[:n_written]]

# %%
(place / "logits").mkdir()
for split in atlas.splits:
    np.save(place / f"labels_{split}.npy", atlas.labels(split))
for name in () if is_recorded else chosen.index:
    for split in atlas.splits:
        logits = atlas.run_log_probs(name, split)
        logits = logits + rng.normal(size=(*logits.shape[:2], 1))
        np.save(place / "logits" / f"{name}_{split}.npy", logits.astype(np.float16))

# %%
columns = list(dict.fromkeys([atlas.family, *atlas.factors, *atlas.design.columns]))
chosen[columns].to_csv(place / "runs.csv", index_label="run")
files = sorted((place / "logits").glob("*.npy"))
megabytes_written = sum(file.stat().st_size for file in files) / 1e6
print(f"{len(files)} files of logits, {megabytes_written:.1f} MB")
print(*(place / "runs.csv").read_text().splitlines()[:3], sep="\n")

# %% [markdown]
# The import checks every run before it is stored: its shape, its numbers, that they are logits and not probabilities, and that classes and samples are in the same order. The result is an atlas like any other.

# %%
where = [
    str(place / name)
    for name in ("runs.csv", "logits/{run}_{split}.npy", "labels_{split}.npy")
]
design = {"factors": list(atlas.design.factors), "family": atlas.family}
if is_recorded:
    shown = atlas
else:
    design |= {"seed": atlas.seed, "data_dir": str(place)}
    shown, intake = importing.import_runs("elsewhere", *where, **design)
    print(intake.summary())

# %%
table = shown.table()
assert table.run.nunique() >= 3 and shown.splits == atlas.splits

# %% [markdown]
# ## Do imported runs give the same distances and picture?
#
# Distances, embedding and progress do not depend on where the points come from. *Prediction:* half precision keeps three digits of a logit. How precise are the distances then?

# %%
rows = table.index.to_numpy()[:: -(-len(table) // n_embedded)]
if is_recorded:
    D = np.asarray(shown.distances(first_split)[:], dtype=float)[np.ix_(rows, rows)]
else:
    points = np.asarray(shown.log_probs(first_split))[rows]
    D = distances.pairwise(points)
print(f"{len(rows)} points, up to {D.max():.2f} nats apart")

# %%
if is_recorded:
    largest_error = 0.0
else:
    original = np.asarray(atlas.log_probs(first_split, list(shown.runs.index)))[rows]
    largest_error = np.abs(D - distances.pairwise(original)).max()
    assert largest_error < 1e-2, "half precision moved a point"
print(f"largest error of a distance by half precision: {largest_error:.1g} nats")

# %%
fit = inpca.InPCA(n_components=min(10, len(rows) - 1)).fit(D)
labels = shown.labels(first_split)
ends = geometry.ignorance(len(labels), shown.n_classes), geometry.truth(
    labels, shown.n_classes
)
straight = geometry.geodesic(*ends, np.linspace(0, 1, 21))

# %%
of_runs = {run: shown.run_log_probs(run, first_split) for run in table.run.unique()}
to_road = [distances.pairwise(straight, values) for values in of_runs.values()]
reference = fit.transform(np.concatenate(to_road, axis=1)[:, rows])
clock = [geometry.progress(values, labels).max() for values in of_runs.values()]

# %% [markdown]
# The next figure shows the embedding, by family, with the geodesic from ignorance to truth in black. Its title says whose runs these are.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4.8))
family_levels = table[shown.family].loc[rows]
plots.plot_embedding(ax, fit.embedding_, family_levels, size=30, legend=False)
plots.plot_reference(ax, reference)
plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
plots.short_legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
whose = shown.path.name if is_recorded else f"runs of {atlas.path.name}, from files"
ax.set_title(f"{whose}, not ImageNet" if not is_imagenet else whose)
alt = (
    f"InPCA of {len(rows)} {first_split} predictions of {whose}, by "
    f"{plots.factor_name(shown.family)}, with the geodesic in black."
)
plots.save_figure(fig, atlas.figure_path("54_embedding.png"), alt=alt)

# %% [markdown]
# What does it show?

# %% tags=["hide-input"]
if not is_recorded:
    print("It shows that runs from files give the same points as the book's own runs.")
if not is_imagenet:
    print("To see ImageNet, record runs on it (chapter 63), import them, and run this")
    print("chapter with --profile NAME.")

# %% [markdown]
# ## What we learned

# %%
k = fit.n_components
stress = fit.explained_stress_[k - 1]

# %%
print(
    f"The imagenet profile has {n_runs} configurations "
    f"and {outline.table.points['total']} points; this chapter trained none of them."
)
print(
    f"Ignorance is {lengths[1000]['d_B']:.3f} nats from "
    f"truth with 1,000 classes and {lengths[10]['d_B']:.3f} with ten."
)

# %%
print(
    f"The chapter read {len(of_runs)} runs with {len(rows)} points, "
    f"which get to a progress of {max(clock):.2f}."
)
if is_recorded:
    print(f"{k} axes explain {100 * stress:.0f} % of their {first_split} stress.")
if not is_imagenet:
    print("The claim about ImageNet stays open: this atlas has no part in it.")

# %% tags=["hide-input"]
d_b = claims.result(lengths[1000]["d_B"], unit="nats")
results = {
    "n_configurations": claims.result(n_runs, unit="runs"),
    "planned_gigabytes": claims.result(outline.table.gigabytes["total"], unit="GB"),
    "ignorance_to_truth_1000": d_b,
    "points_read": claims.result(len(rows), n=len(of_runs), unit="points"),
    "half_precision_error": claims.result(largest_error, n=len(rows), unit="nats"),
}

# %% tags=["hide-input"]
# Chapter 99 takes this number for ImageNet's, so nothing else may bear its name.
if is_imagenet:
    results[f"{first_split}_stress_{k}"] = claims.result(stress, n=len(rows))
claims.save_results(atlas, "54", results, seed=seed, started=started)

# %%
workshop.cleanup()

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. How many hours would the distances of the whole imagenet grid take at 10 billion multiplications and additions a second and core? Chapter 90 measures the rate. Define `hours`, for half of all pairs of `n_all` points with `recorded` samples and 1,000 classes.

# %% tags=["stub"]
n_all = int(outline.table.points["total"])  # given
hours = ...  # a number

# %% tags=["solution"]
hours = n_all**2 / 2 * recorded * 1000 / 10e9 / 3600
hours

# %% tags=["check"]
assert np.isscalar(hours) and hours > 0, f"expected a number of hours, found {hours!r}"

# %% tags=["check", "hidden"]
operations = n_all**2 * recorded * 1000
assert np.isclose(hours * 3600 * 10e9 * 2, operations), (
    f"expected {operations / 7.2e13:.3g}, found {hours}"
)

# %% [markdown]
# 2. Define `n_many`, the number of classes for which ignorance is three times as far from the truth as with ten.

# %% tags=["stub"]
n_many = ...  # a whole number

# %% tags=["solution"]
n_many = 10**3
n_many

# %% tags=["check"]
assert np.isscalar(n_many) and n_many > 10, (
    f"expected a number above 10, found {n_many!r}"
)

# %% tags=["check", "hidden"]
assert np.isclose(np.log(n_many), 3 * np.log(10)), (
    f"expected three times the logarithm of ten, found {n_many}"
)

# %% [markdown]
# 3. One picture of a training folder is damaged. Which error do you expect from the loader, and does it help? Write a folder with `write_digits`, cut a file short, and load it. Define `broken_name`, the file's name, and `message`, the text of the error.

# %% tags=["stub"]
broken_name = ...  # the name of the damaged file
message = ...  # the text of the error

# %% tags=["solution"]
with tempfile.TemporaryDirectory() as folder:
    write_digits(Path(folder) / "imagefolder", 10, 10)
    broken = sorted(Path(folder).glob("imagefolder/train/*/*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:40])
    torn = DatasetConfig(name="imagefolder", image_size=16)
    broken_name, message = broken.name, ""
    try:
        datasets.load_dataset(torn, folder)
    except ValueError as error:
        message = str(error)
message.replace(folder, "data")

# %% tags=["check"]
assert isinstance(broken_name, str) and broken_name.endswith(".png"), (
    f"expected the name of a picture, found {broken_name!r}"
)
assert isinstance(message, str) and message, (
    f"expected the text of an error, found {message!r}"
)

# %% tags=["check", "hidden"]
assert broken_name in message, (
    f"expected a message that names {broken_name}, found {message}"
)

# %% [markdown]
# ### Quiz
#
# **1.** With more classes ignorance is farther from truth. Does this make the task harder?
#
# <details><summary>Answer</summary>Not by itself. The distance only says how much there is to learn in nats per sample; how hard it is depends on the data.</details>
#
# **2.** Why does the book not train ImageNet by default, and what can this chapter show without it?
#
# <details><summary>Answer</summary>It would take many days of computing. The chapter shows what the profile plans and costs, and imports a few small runs from files, as runs from a cluster would be imported, so that each step can be checked.</details>

# %% [markdown]
# ## What next
#
# Chapter 60 asks which of all these findings a null model would have too.
#
# **References.**
#
# * [Deng2009] Deng et al., *ImageNet: a large-scale hierarchical image database*, CVPR 2009.
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Results on ImageNet.
# * [He2016] He et al., *Deep residual learning for image recognition*, CVPR 2016.
# * [Dosovitskiy2021] Dosovitskiy et al., *An image is worth 16x16 words*, ICLR 2021.
