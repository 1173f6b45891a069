# %% [markdown]
# # How do you put your own network into this atlas?
#
# **What.** A network that is none of the book's, trained in a plain loop, recorded, kept on disk, placed in the picture and judged; then 24 runs of six other kinds of learners, which become an atlas of their own.
# **Figure of the paper.** None of its own; the grey background is the train manifold of figure 2.
# **Answer.** Two lines in your training loop record a run; `place(run, atlas)` gives its coordinates and `judge(run, atlas)` a verdict. The verdict uses two yardsticks that are made from held-out runs of the atlas: how near the run is to its nearest neighbour, and how much nearer than a shared learning curve explains. `Atlas.from_runs(...)` makes an atlas of runs on your own data, and all chapters can read it.
#
# | | |
# |---|---|
# | Goals | record predictions so that they can be compared; place a new point without fitting again; judge "on the manifold" by a yardstick, not by eye; make an atlas of your own runs |
# | Prerequisites | chapters 30 and 31 (essential), PyTorch (helpful), 60 (helpful) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | the data set, distances/, embeddings/, trajectories/; figures, results/63.json, guests/ |

# %%
import inspect
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from manifold_utils import claims, datasets, geometry, inpca, plots, recording
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.recording import example
from manifold_utils.statistics import shuffle_within_class
from manifold_utils.training import checkpoint_steps
from manifold_utils.trajectories import resample, trajectory_distances

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds data sets and atlases; empty: the project's data/
n_hidden = 48  # units of the small network
n_epochs = 30  # passes over the train samples
batch_size = 50  # samples a step
learning_rate = 3e-3  # of Adam
n_stations = 16  # values of progress at which runs are compared
n_fit = 2000  # samples that the model from elsewhere is fitted to, at most
n_ruler = 60  # held-out runs for the second yardstick, at most
n_shuffles = 199  # shuffles of each guest
limit = 0.95  # quantile of held-out runs up to which a guest counts as ordinary
n_example_seeds = 2  # repeats of the 12 configurations of the example
seed = 7  # of the weights, the batches and the control

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
torch.manual_seed(seed)
torch.set_num_threads(1)  # these networks are too small to share
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
print(f"atlas of {len(atlas.runs)} runs and {len(atlas.points)} points")
print(f"{n_epochs} epochs of batches of {batch_size}, Adam at {learning_rate}")

# %% [markdown]
# ## Which samples must you predict?
#
# Two networks can be compared if they predict on the *same samples in the same order*. So we load exactly the samples that the atlas was made from; its stored profile says which. A fingerprint over all samples and labels confirms it.

# %%
data = datasets.load_dataset(atlas.profile.dataset, data_dir)
labels = atlas.labels("train")
print(f"{data.name}, {tuple(data.x_train.shape)}, fingerprint {data.fingerprint}")
assert set(atlas.runs.data.dropna()) == {data.fingerprint}


# %% [markdown]
# ## How do you record a run?
#
# A `Recorder` knows the samples. Call `record(model, step, epoch)` as often as you like; it switches to eval mode, predicts without augmentation, computes the log_softmax in float32 and restores the state of the model. The rest of the cell below is an ordinary training loop: replace it by yours.

# %% tags=["lesson"]
def train(model, recorder, order):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    n, n_batches = len(data.y_train), max(1, len(data.y_train) // batch_size)
    checkpoints, step = set(checkpoint_steps(n_epochs, n_batches)), 0
    recorder.record(model, step=0, epoch=0.0)
    for _ in range(n_epochs):
        shuffled = torch.randperm(n, generator=order)[: n_batches * batch_size]
        for inputs, index in data.batches("train", shuffled, batch_size):
            loss = torch.nn.functional.cross_entropy(model(inputs), data.y_train[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step in checkpoints:
                recorder.record(model, step=step, epoch=step / n_batches)


# %% [markdown]
# The checkpoints are those of the book's own runs, dense early, when predictions change fast. If yours are sparse, a run is drawn as a line with few corners; everything else works as before.
#
# As guests we train two models that are not among the book's families: a small network with one hidden layer of tanh units, and a linear softmax model, which is not a deep network at all.

# %%
n_inputs, n_classes = int(np.prod(data.input_shape)), data.n_classes
flat, linear = torch.nn.Flatten(), torch.nn.Linear
hidden = linear(n_inputs, n_hidden), torch.nn.Tanh(), linear(n_hidden, n_classes)
models = {"tanh network": torch.nn.Sequential(flat, *hidden)}
models["linear softmax"] = torch.nn.Sequential(flat, linear(n_inputs, n_classes))
recorders = {name: recording.Recorder(data, name) for name in models}
for name, model in models.items():
    train(model, recorders[name], torch.Generator().manual_seed(seed))

# %%
runs = {name: recorder.run() for name, recorder in recorders.items()}
assert all(model.training for model in models.values()), "they are back in train mode"
pd.DataFrame({name: run.points.iloc[-1] for name, run in runs.items()})

# %% [markdown]
# ## How is it kept, and what is refused?
#
# `save` writes a folder of Zarr and JSON files, completely or not at all, so you may call it after every epoch. Opening a run never executes code, even if it comes from somebody else. What we read back must be what we saved:

# %%
for name, run in runs.items():
    saved = run.save(atlas.folder("guests") / name.replace(" ", "_"))
    again = recording.load_run(saved)
    recording.check_same_space(again, atlas)
    assert again.points.equals(run.points), "the points came back"
    assert np.array_equal(again.log_probs["test"], run.log_probs["test"])

# %% [markdown]
# Mistakes that would give a meaningless picture are refused with an error. Here a run is marked as made on another data set:

# %%
try:
    recording.judge(replace(again, data="0" * 16), atlas)
    raise AssertionError("a run of another data set was accepted")
except ValueError as refused:
    print(refused)

# %% [markdown]
# ## Where is it in the picture?
#
# InPCA needs only the distances to all points of the atlas. With the stored coordinates $x_{uk}$ and eigenvalues $\lambda_k$, a new point with distances $d_u$ has the coordinates
#
# $$ x_k = c_k - \tfrac12 \sum_u d_u\, x_{uk} / \lambda_k , $$
#
# with a constant $c_k$ that chapter 30 stored with them. No eigenvector is computed again, and the axes stay those of the grey points. `place(run, atlas)` does this. As a check we place a run of the atlas itself: it must get the coordinates of chapter 30.

# %%
embedding = atlas.embedding("train")
member = atlas.points.run[embedding.fitted.values].iloc[0]
known = recording.load_run(atlas.path / "predictions" / f"{member}.zarr")
stored = embedding.embedding.values[(atlas.points.run == member).to_numpy()]
shift = np.abs(recording.place(known, atlas) - stored).max()
print(f"a run of the atlas comes back to within {shift:.0e}")
assert shift < 1e-3

# %% [markdown]
# The next figure draws both guests over the atlas. *Prediction:* the decision boundaries of a linear model are straight. Will it leave the grey band, or stop early on it?

# %% tags=["hide-input"]
placed = {name: recording.place(run, atlas) for name, run in runs.items()}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
for ax, pair in zip(axes, [(0, 1), (0, 2)], strict=True):
    plots.plot_guests(ax, embedding, placed, pair, legend=False)
plots.figure_legend(fig, axes[0], ncols=5)
alt = (
    f"Two planes of the train embedding: {embedding.fitted.values.sum()} points of the "
    "atlas in grey, the guests as coloured lines, the geodesic in black."
)
plots.save_figure(fig, atlas.figure_path("63_guests.png"), alt=alt)

# %% [markdown]
# This picture is no proof: a point that is far away along the axes that are not drawn would look the same. We need distances, and a yardstick for them.
#
# ## Does it lie on the manifold?
#
# Each run of the atlas is held out and measured like a guest: we take its distance to the nearest run of *another architecture* at several values of progress, and then the mean over these values. A guest passes if it is no farther from its nearest run than 95 % of the held-out runs.
#
# A distance depends on two things: which samples are learned when, and how confidence is distributed over them. So we use a second yardstick, from chapter 60. The distance to the nearest run is divided by the distance that the guest would have with its samples shuffled within classes; 1 means that only the learning curve is shared. `judge(run, atlas)` applies both.
#
# As a control we also judge the tanh network with its samples shuffled within classes. It has the same learning curve but is not a network, so a good yardstick must reject it. *Prediction:* which of the two yardsticks will reject it?

# %%
tanh = runs["tanh network"]
shuffled = shuffle_within_class(tanh.log_probs["train"], labels, rng)
control = {"train": shuffled, "test": tanh.log_probs["test"]}
guests = [*runs.values(), replace(tanh, name="shuffled control", log_probs=control)]
ruler = recording.Yardstick(atlas, guests, n_stations, n_ruler, rng)
options = {"n_shuffles": n_shuffles, "limit": limit, "rng": rng}
verdicts = {g.name: recording.judge(g, atlas, ruler, **options) for g in guests}
print(*verdicts.values(), sep="\n")

# %%
first, last = ruler.stations[[0, -1]]
print(f"{len(ruler.runs)} runs pass all stations from s = {first:.2f} to {last:.2f}")
shown = ["architecture", "optimizer", "batch_size", "augmentation", "seed", "d_traj"]
nearest = {name: v.neighbours[shown].iloc[:3] for name, v in verdicts.items()}
pd.concat(nearest, names=["guest"]).reset_index(level=1, drop=True).round(4)

# %% [markdown]
# The next figure shows both yardsticks. Further to the right means farther from the nearest run; further up means that less is shared with it. Coloured markers are held-out runs of the atlas, black ones are our guests.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.4))
plots.plot_yardsticks(ax, ruler, verdicts)
alt = (
    "Ratio of real to shuffled distance against the distance to the nearest run: "
    f"{len(ruler.runs)} held-out runs coloured by family, guests black."
)
plots.save_figure(fig, atlas.figure_path("63_two_yardsticks.png"), alt=alt)

# %% [markdown]
# A run on the line shares only the learning curve with its nearest run. We call a guest *on the manifold* if neither number is beyond the quantile `limit` of the held-out runs. The p-value of a verdict belongs to the second yardstick: it is small if hardly any shuffle of the guest comes as near. Keep in mind that a quantile of few runs is coarse, and that we chose all of these families.
#
# ## What if the predictions were made elsewhere?
#
# Predictions may come from another framework, another language or a model that is not a network: you need one row of logits for each sample. Here we use a logistic regression from scikit-learn, fitted to convergence. A single point has no trajectory, so `judge_point` compares it with the checkpoints of about the same progress.

# %%
batches = data.batches("train", data.recorded("train"), 500)
inputs = np.concatenate([x.flatten(1).numpy() for x, _ in batches])
elsewhere = LogisticRegression(C=0.01, max_iter=500).fit(inputs[:n_fit], labels[:n_fit])
logits = elsewhere.decision_function(inputs)
point = recording.log_probs_from_logits(logits, len(labels), n_classes)
closest, quantile = recording.judge_point(point, atlas)
s_point = geometry.progress(point, labels)[0]
print(f"progress {s_point:.3f}, quantile {quantile:.2f}, nearest {closest.run}")

# %% [markdown]
# ## What if the data are yours as well?
#
# Then there is no atlas in which to place your runs, and you make one. The example uses nothing of the book: it has seven classes of synthetic data from scikit-learn, two kinds of networks, gradient boosting, random forests, nearest neighbours and logistic regression. Its networks are trained as follows; the only new line is the one that records.

# %%
print(inspect.getsource(example.train))

# %% [markdown]
# `Recorder({"train": (x, y), "test": (x, y)}, name, factors={...})` gets the samples. They may also be a DataLoader that does not shuffle, or a Hugging Face data set. The recorder reads them twice, because samples in a changing order would give a meaningless picture.
#
# A random forest has no epochs. `record_estimator` therefore records a growing learner: a boosted ensemble by its stages, a learner with `partial_fit` by its batches, and all others by the number of samples that they are fitted to. Before it has seen any data a learner is at ignorance, so every run is a path that begins there.

# %%
folder = str(atlas.folder("guests"))
own = example.make_atlas(n_seeds=n_example_seeds, data_dir=folder)
ends = own.points.groupby("run").last().join(own.runs[list(own.factors)])
ends.groupby(list(own.factors))[["loss_train", "error_train", "error_test"]].mean()

# %% [markdown]
# This is an atlas of kind `recorded`. Its factors are the columns that we named, and its family is the kind of learner. Now we do in a few lines what the chapters do with any atlas: we compute all distances, then an embedding.

# %%
own_probs, own_labels = np.asarray(own.log_probs("train")), own.labels("train")
own_fit = inpca.InPCA(n_components=10).fit(pairwise(own_probs))
_, straight = inpca.embedding.road(own, "train", n=21)
own_road = own_fit.transform(pairwise(straight, own_probs))

# %% [markdown]
# The next figure shows the train manifold of the example. *Prediction:* a forest and a network share neither parameters nor an algorithm. Will their paths lie in the same plane?

# %% tags=["hide-input"]
kinds = own.table()[own.family]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2))
for ax, pair in zip(axes, [(0, 1), (0, 2)], strict=True):
    options_shown = {"components": pair, "size": 14, "legend": False}
    plots.plot_embedding(ax, own_fit.embedding_, kinds, **options_shown)
    plots.plot_reference(ax, own_road, pair)
    plots.label_embedding(
        ax, own_fit.eigenvalues_, own_fit.explained_stress_, components=pair
    )
plots.figure_legend(fig, axes[0], ncols=6)
alt = (
    f"Two planes of the example's train embedding, {len(kinds)} points coloured by the "
    "kind of learner; black is the geodesic from ignorance (square) to truth (star)."
)
plots.save_figure(fig, atlas.figure_path("63_example.png"), alt=alt)

# %% [markdown]
# The black line is the geodesic from ignorance to truth. How far a run is away from it, and on which side, depends on the kind of learner. To put a number on this we compare runs at equal progress: the mean distance between runs of different kinds, divided by that between runs of the same kind.

# %%
names = list(own.runs.index)
of_run = {name: own.run_log_probs(name, "train") for name in names}
clocks = {name: geometry.progress(of_run[name], own_labels) for name in names}
reached = min(clock.max() for clock in clocks.values())
grid = np.linspace(0.2 * reached, 0.95 * reached, 6)
at_grid = [resample(of_run[n], clocks[n], grid) for n in names]
apart = trajectory_distances(np.stack(at_grid))

# %%
kind_of = own.runs[own.family].to_numpy()
same = (kind_of[:, None] == kind_of) & ~np.eye(len(names), dtype=bool)
kind_ratio = apart[kind_of[:, None] != kind_of].mean() / apart[same].mean()
print(f"{len(names)} runs compared from s = {grid[0]:.2f} to {grid[-1]:.2f}")
print(f"different kinds are {kind_ratio:.1f} times as far apart as runs of one kind")

# %% [markdown]
# `python -m manifold_utils example` does the same in the book's own folder, and then runs chapters 40 and 44 on it, with their null and their intervals, and builds the pages. For your own runs, put `Atlas.from_runs("mine", runs, labels)` in the place of the example; `run --profile mine` executes every chapter that your runs allow, and names the others. If your predictions are files, no Python is needed: see `python -m manifold_utils import --help`.
#
# ## What we learned

# %%
for verdict in verdicts.values():
    next_to = verdict.neighbours.iloc[0]
    print(f"{verdict}. Nearest: {next_to.architecture} with {next_to.optimizer}.")
farther = verdicts["shuffled control"].distance / verdicts["tanh network"].distance
print(f"Shuffled, the tanh network is {farther:.1f} times as far from its nearest run.")
stress = own_fit.explained_stress_[2]
print(
    f"In the example, 3 axes explain {100 * stress:.0f} % of the train stress, and "
    f"different kinds of learners are {kind_ratio:.1f} times as far apart as one kind."
)

# %% tags=["hide-input"]
note = "among checkpoints of about its progress"
file_quantile = claims.result(quantile, n=closest.n_ruler, note=note)
file_distance = claims.result(closest.distance, n=closest.n_compared, unit="nats")
results = {"quantile_from_a_file": file_quantile, "nearest_from_a_file": file_distance}
results["example_stress_3"] = claims.result(stress, n=len(own_probs), unit="")
results["example_kind_ratio"] = claims.result(kind_ratio, n=len(names))
for verdict in verdicts.values():
    results |= verdict.results()
for run in runs.values():
    s = geometry.progress(run.log_probs["train"], labels)
    key = f"progress_{run.name.replace(' ', '_')}"
    results[key] = claims.result(s[-1], n=len(s), note="last checkpoint")
claims.save_results(atlas, "63", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Put a network of your own into the loop: two hidden layers of ReLU, say. Define `mine`, its recorded run. How far does it get?

# %% tags=["stub"]
mine = ...  # a run, from the recorder of your training

# %% tags=["solution"]
layers = linear(n_inputs, 32), torch.nn.ReLU(), linear(32, 32), torch.nn.ReLU()
deep = torch.nn.Sequential(flat, *layers, linear(32, n_classes))
my_recorder = recording.Recorder(data, "two layers of ReLU")
train(deep, my_recorder, torch.Generator().manual_seed(seed + 1))
mine = my_recorder.run()

# %% tags=["check"]
assert hasattr(mine, "log_probs") and len(mine.log_probs["train"]) > 1, (
    f"expected a run with several checkpoints, found {mine!r}"
)

# %% tags=["check", "hidden"]
my_progress = geometry.progress(mine.log_probs["train"], labels)
assert my_progress[-1] > my_progress[0], (
    f"expected a run that ends nearer to truth, found {my_progress}"
)

# %% [markdown]
# 2. Judge it with the yardstick `ruler`, and define `my_verdict`, the result.

# %% tags=["stub"]
my_verdict = ...  # what recording.judge gives

# %% tags=["solution"]
my_verdict = recording.judge(mine, atlas, ruler, rng=rng)
print(my_verdict)

# %% tags=["check"]
assert hasattr(my_verdict, "distance") and my_verdict.distance > 0, (
    f"expected a verdict, found {my_verdict!r}"
)

# %% tags=["check", "hidden"]
judged_again = recording.judge(mine, atlas, ruler, rng=rng)
assert np.isclose(my_verdict.distance, judged_again.distance), (
    f"expected the verdict on `mine`, {judged_again.distance:.4f}, "
    f"found {my_verdict.distance}"
)
assert 0 <= my_verdict.ratio_quantile <= 1, (
    f"expected a quantile from 0 to 1, found {my_verdict.ratio_quantile}"
)

# %% [markdown]
# 3. A model that is sure of everything: multiply the logits of the logistic regression (`logits`) by 5. Define `sharper`, its log-probabilities, and `comes_nearer`, whether it is nearer to truth than `point`. Half the loss is the distance to truth.

# %% tags=["stub"]
sharper = ...  # array, like `point`
comes_nearer = ...  # True or False

# %% tags=["solution"]
sharper = recording.log_probs_from_logits(5 * logits, len(labels), n_classes)
halves = [-p[0, np.arange(len(labels)), labels].mean() / 2 for p in (point, sharper)]
comes_nearer = bool(halves[1] < halves[0])
halves

# %% tags=["check"]
assert np.shape(sharper) == np.shape(point), (
    f"expected an array of shape {np.shape(point)}, found {np.shape(sharper)}"
)
assert comes_nearer in (True, False), f"expected True or False, found {comes_nearer!r}"

# %% tags=["check", "hidden"]
odds, sharp_odds = (np.asarray(p, float) - p[..., :1] for p in (point, sharper))
off = np.abs(sharp_odds - 5 * odds).max() / np.abs(odds).max()
assert off < 0.02, (
    f"expected log-odds five times as large, found a relative difference of {off:.3f}"
)
losses = [-np.mean(p[0, np.arange(len(labels)), labels]) for p in (point, sharper)]
assert comes_nearer == (losses[1] < losses[0]), (
    f"expected {losses[1] < losses[0]}, by the losses {losses}, found {comes_nearer}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Your network was never part of the atlas. How can it be placed in the embedding without computing it anew?
#
# <details><summary>Answer</summary>By its distances to the points that are embedded: they determine where it lies on the existing axes. What it has outside these axes is not shown.</details>
#
# **2.** A verdict says that your run is as near to the others as they are to each other. Could it be near for a dull reason?
#
# <details><summary>Answer</summary>Yes: any network with the same learning curve comes near. The verdict therefore compares with copies of the run whose samples are shuffled within classes.</details>

# %% [markdown]
# ## What next
#
# Chapter 90 measures what all this costs, at this size and at the paper's.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. The distances and figure 2.
# * [Gower1968] Gower, *Adding a point to vector diagrams in multivariate analysis*, Biometrika 55, 1968. For placing new points.
# * [Bengio2003] Bengio et al., *Out-of-sample extensions for LLE, Isomap, MDS, eigenmaps, and spectral clustering*, NIPS 2003.
