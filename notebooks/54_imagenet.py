# %% [markdown]
# # Does ImageNet have such a manifold too?
#
# **What.** What the `imagenet` profile would train and cost, what changes with 1,000 classes, and the path from image files to an embedding, executed.
# **Figure of the paper.** The embedding of 792 configurations on ImageNet.
# **Answer.** Only an atlas of the `imagenet` profile can tell. Without one, this chapter says so, and shows on a handful of small pictures that everything needed is here.
#
# | | |
# |---|---|
# | Goals | plan a large grid before starting it; know what depends on the number of classes; run the whole path on an image folder of one's own |
# | Prerequisites | chapters 11, 20 and 30 (essential) |
# | Minutes | 1 on CPU (reading: 10); the real grid needs a cluster |
# | Inputs, outputs | an imagenet atlas if this is its profile, else nothing; figures, results/54.json |

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, datasets, distances, geometry, plots
from manifold_utils.atlas import Atlas
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.profiles import Profile
from manifold_utils.studies.image_folders import write_digits
from manifold_utils.training import grid, planning

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_pictures = 40  # training pictures of the small folder, where there is no ImageNet
epochs = 3  # of the small runs on it
n_embedded = 4000  # points of a real atlas that are embedded here

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
n_classes_here = atlas.log_probs("train").shape[2]
is_imagenet = atlas.profile.name == "imagenet" and n_classes_here == 1000
not_here = (
    f"This atlas ({atlas.profile.name}) holds no ImageNet "
    "runs: nothing below is a statement about ImageNet."
)
print("This is an ImageNet atlas." if is_imagenet else not_here)

# %% [markdown]
# ## What would be trained?
#
# The profile `imagenet` spans two residual networks and a small vision transformer, over optimiser, learning rate, batch size, weight decay, augmentation and seeds. The dry run counts without starting anything. Each training run would take hours of a GPU, so one wants to know.

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
# With measured minutes: `python -m manifold_utils plan --profile imagenet`. To run it, put the images into `data/imagefolder/train/<class>/` and `val/<class>/`, start a Dask cluster with one worker a GPU, and give its address: `python -m manifold_utils run --profile imagenet --client tcp://...`.
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
# The figure draws the probability of the true class along the whole road.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4))
for k, (n_classes, curve) in enumerate(of_true.items()):
    colour, _, dash = plots.FACTOR_STYLES[k]
    label = f"C = {n_classes}: half-way {curve[20]:.2f}"
    ax.plot(lambdas, curve, color=colour, ls=dash, lw=2.2, label=label)
ax.set(xlabel=r"$\lambda$ on the geodesic", ylabel="probability of the true class")
ax.legend(handlelength=3)
alt = "Probability of the true class along the geodesic for 10, 100 and 1000 classes."
plots.save_figure(fig, atlas.figure_path("54_geodesic.png"), alt=alt)

# %% [markdown]
# All curves end alike. With more classes, ignorance starts lower, the curve takes the shape of an S, and half-way tends to one half, as on a great circle through two right-angled directions. The geometry does not mind a thousand classes; what grows is the cost, since a distance reads $N \times C$ numbers of each point.

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
# ## Does the path from pictures to points work?
#
# ImageNet is a folder of files of differing sizes, too many to hold in memory: they are streamed, decoded by threads while the network trains. We walk the same path with a few enlarged digits in ImageNet's layout. At the `imagenet` profile the real atlas takes over where the networks come in.

# %%
workshop = tempfile.TemporaryDirectory(prefix="manifold-")
place = Path(workshop.name)
written = write_digits(place / "tiny", n_pictures, n_pictures // 2)
some = sorted((place / "tiny" / "train").glob("*/*.png"))[:: max(1, n_pictures // 8)][
    :8
]
print(written, "files; for instance", some[0].relative_to(place))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(some), figsize=(1.35 * len(some), 1.8))
for ax, file in zip(axes, some, strict=True):
    image = plt.imread(file)
    ax.imshow(image)
    ax.set(xticks=[], yticks=[], title=f"{image.shape[1]}x{image.shape[0]}")
alt = (
    "Some of the small pictures, tinted digits of "
    "differing sizes, with their sizes in pixels."
)
plots.save_figure(fig, atlas.figure_path("54_pictures.png"), alt=alt)

# %% [markdown]
# The sizes differ, as they do on ImageNet. A profile of its own says how they are cut and what is trained. It is a file like all others, and it is validated.

# %%
tiny_profile = f"""
name: tiny-images
description: a few small pictures through the path of ImageNet
dataset: {{name: imagefolder, folder: tiny, image_size: 16}}
defaults: {{batch_size: 10, epochs: {epochs}}}
grids:
  main:
    blocks:
      - {{architecture: resnet18, learning_rate: 0.01, seed: 42}}
      - {{architecture: vit-small, scale: 0.03125, optimizer: adam,
         learning_rate: 2e-3, seed: [42, 43]}}
"""

# %%
(place / "tiny-images.yaml").write_text(tiny_profile, encoding="utf-8")
small = Profile.load(str(place / "tiny-images.yaml"))
print([config.run_id for _, config in small.configs()])

# %% [markdown]
# Loading opens no picture yet: it lists files. The first batch shows that they arrive resized, cropped and normalised by ImageNet's means.

# %%
data = datasets.load_dataset(small.dataset, str(place))
batch, index = next(data.batches("train", data.recorded("train"), 16))
print(f"{len(data.y_train)} train pictures of {data.n_classes} classes")
print(f"a batch: {tuple(batch.shape)}, mean {batch.mean():.2f}, s.d. {batch.std():.2f}")
assert tuple(batch.shape[1:]) == data.input_shape and len(index) == len(batch)

# %% [markdown]
# Now the runs, by the function that a Dask worker calls, into an atlas of their own. They are few and short, so they will hardly learn; nothing here depends on that.

# %%
if is_imagenet:
    shown = atlas
else:
    shown = Atlas.create(small, place / "atlases")
    grid.freeze_data(shown, small.dataset, str(place))
    for of_grid, config in small.configs():
        print(grid.train_one(config, str(shown.path), of_grid, str(place)))
    shown.collect(small)

# %%
table = shown.table("main")
n_samples, n_shown_classes = shown.log_probs("train").shape[1:]
print(
    f"{table.run.nunique()} runs, {len(table)} points of "
    f"{n_samples} samples and {n_shown_classes} classes"
)
table.groupby("run")[["loss_train", "error_train"]].agg(["first", "last"]).round(
    3
).head(6)

# %% [markdown]
# ## From points to a picture
#
# Distances, embedding and progress know nothing of pictures: they are those of the other chapters. *Prediction:* on a handful of samples and epochs, how far do the runs get?

# %%
labels = shown.labels("train")
_, straight = embedding.road(shown, "train", n=21)
rows = table.index.to_numpy()[:: max(1, len(table) // n_embedded)]
if is_imagenet:
    D = np.asarray(shown.distances("train")[:], dtype=float)[np.ix_(rows, rows)]
else:
    D = distances.pairwise(np.asarray(shown.log_probs("train")[rows]))
fit = InPCA(n_components=min(10, len(rows) - 1)).fit(D)
of_runs = [shown.run_log_probs(run, "train") for run in table.run.unique()]
clock = np.concatenate([geometry.progress(values, labels) for values in of_runs])

# %%
by_run = [distances.pairwise(straight, values) for values in of_runs]
place_of_rows = np.searchsorted(table.index.to_numpy(), rows)
reference = fit.transform(np.concatenate(by_run, axis=1)[:, place_of_rows])

# %% [markdown]
# The embedding, by architecture, with the road from ignorance to truth in black.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4.8))
plots.plot_embedding(
    ax, fit.embedding_, shown.table().architecture[rows], size=30, legend=False
)
plots.plot_reference(ax, reference)
plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
ax.legend(markerscale=1.2)
kind = "ImageNet" if is_imagenet else "a demonstration, not ImageNet"
ax.set_title(f"{kind} (n = {len(rows)} points)")
alt = (
    f"InPCA of the train predictions of {kind}, by architecture, "
    "with the geodesic from ignorance to truth in black."
)
plots.save_figure(fig, atlas.figure_path("54_embedding.png"), alt=alt)

# %% [markdown]
# The title says what is shown. If it is the demonstration, the picture has one use: it proves that files went in at one end and an embedding came out at the other.
#
# ## What we learned

# %%
k = min(10, fit.n_components)
stress = fit.explained_stress_[k - 1]
print(
    f"The imagenet profile spans {n_runs} configurations "
    f"(paper: 792) and {outline.table.points['total']} points."
)
print(
    f"Ignorance is {lengths[1000]['d_B']:.3f} nats from "
    f"truth on ImageNet, {lengths[10]['d_B']:.3f} on CIFAR-10."
)

# %%
if is_imagenet:
    print(
        f"{k} axes explain {100 * stress:.0f} % of "
        f"the train stress of {len(rows)} points."
    )
else:
    print(
        f"The path ran on {len(data.y_train)} small pictures: "
        f"{len(rows)} points, progress up to {clock.max():.2f}."
    )
    print("The claim about ImageNet stays open: it is not computed on this profile.")

# %% tags=["hide-input"]
d_b = claims.result(lengths[1000]["d_B"], unit="nats")
results = {
    "n_configurations": claims.result(n_runs, unit="runs"),
    "planned_gigabytes": claims.result(outline.table.gigabytes["total"], unit="GB"),
    "ignorance_to_truth_1000": d_b,
}

# %% tags=["hide-input"]
# Chapter 99 takes this number for ImageNet's, so nothing else may bear its name.
if is_imagenet:
    results[f"train_stress_{k}"] = claims.result(stress, n=len(rows))
else:
    note, n_made = "enlarged digits, not ImageNet", len(data.y_train)
    made = claims.result(len(rows), n=n_made, unit="points", note=note)
    results["demonstration_points"] = made
claims.save_results(atlas, "54", results, started=started)

# %%
workshop.cleanup()

# %% [markdown]
# ## Exercises
#
# 1. How many hours would the distances of the whole imagenet grid take at 10 billion multiplications and additions a second and core? Chapter 90 measures the rate.

# %% tags=["solution"]
m, n_recorded = int(outline.table.points["total"]), recorded
hours = m**2 / 2 * n_recorded * 1000 / 10e9 / 3600
hours

# %% tags=["check"]
assert hours > 0 and np.isclose(hours * 3600 * 10e9 * 2, m**2 * n_recorded * 1000)

# %% [markdown]
# 2. From which number of classes on is ignorance more than three times as far from the truth as with ten?

# %% tags=["solution"]
three_times = 10**3
np.log(three_times) / np.log(10)

# %% tags=["check"]
assert np.isclose(np.log(three_times), 3 * np.log(10))

# %% [markdown]
# 3. A picture is damaged. Which error do you expect from the loader, and does it help? Cut a file short and see.

# %% tags=["solution"]
with tempfile.TemporaryDirectory() as folder:
    write_digits(Path(folder) / "imagefolder", 10, 10)
    broken = sorted(Path(folder).glob("imagefolder/train/*/*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:40])
    torn = small.dataset.model_copy(update={"folder": "imagefolder"})
    try:
        datasets.load_dataset(torn, folder)
        message = ""
    except ValueError as error:
        message = str(error)

# %% tags=["check"]
assert broken.name in message, "the file is named"

# %% [markdown]
# ## What next
#
# Chapter 60 asks which of all these findings a null model would have too.
#
# **References.** Deng et al., *ImageNet: a large-scale hierarchical image database*, 2009. Mao et al., PNAS 2024, results on ImageNet. He et al., *Deep residual learning*, 2016; Dosovitskiy et al., *An image is worth 16x16 words*, 2021.
