# %% [markdown]
# # How do you put your own network into this atlas?
#
# **What.** A network that is none of the book's, trained in a plain loop, recorded, kept on disk, placed in the picture and judged; and the same for predictions that come as a file of numbers.
# **Figure of the paper.** None of its own; the grey background is the train manifold of figure 2.
# **Answer.** Two lines in your training loop. Whether your run lies on the manifold is then judged by two yardsticks, both made from the atlas' own runs, each held out: how near it is to the nearest run, and how much of that is more than a shared learning curve.
#
# | | |
# |---|---|
# | Goals | record predictions so that they can be compared; place a new point without fitting again; judge "on the manifold" by a yardstick, not by eye |
# | Prerequisites | chapters 30 and 31 (essential), PyTorch (helpful), 60 (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | the data set, distances/*, embeddings/*, trajectories/*; figures, results/63.json, guests/* |

# %%
import inspect
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from manifold_utils import claims, guests, plots
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.embedding import distances_to, road
from manifold_utils.geometry import geodesic, ignorance, progress, truth
from manifold_utils.joining import nearest_of_others
from manifold_utils.nulls import null_distances, shuffle_within_class
from manifold_utils.recorder import Recorder, check_same_space, load_run, log_probs_from_logits
from manifold_utils.reparametrise import load_trajectories, resampled
from manifold_utils.training import checkpoint_steps
from manifold_utils.trajectories import resample

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
seed = 7  # of the weights, the batches and the control

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
torch.manual_seed(seed)
torch.set_num_threads(1)  # these networks are too small to share
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
print(f"atlas of {len(atlas.runs)} runs and {len(atlas.points)} points; {n_epochs} epochs of batches of {batch_size}, Adam at {learning_rate}")

# %% [markdown]
# ## Which samples must you predict?
#
# Two networks can be compared if they predict on the *same samples in the same order*. So we do not load "the digits" but the very cut that the atlas was made from: its frozen profile says which. A fingerprint over all samples and labels proves it.

# %%
data = load_dataset(atlas.profile.dataset, data_dir)
labels = atlas.labels("train")
main = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
print(f"{data.name}, {tuple(data.x_train.shape)} train inputs, {data.n_classes} classes, fingerprint {data.fingerprint}")
assert set(main.data) == {data.fingerprint}
assert np.array_equal(data.labels("train")[data.recorded("train")], labels)


# %% [markdown]
# ## How do you record a run?
#
# A `Recorder` knows the samples. Call `record(model, step, epoch)` as often as you like; it switches to eval mode, predicts without augmentation, takes the log_softmax in float32 and gives the model back as it was. All else in the cell below is a training loop as one finds it anywhere: replace it by yours.

# %% tags=["lesson"]
def train(model, recorder, order):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    n_batches = len(data.y_train) // batch_size
    checkpoints, step = set(checkpoint_steps(n_epochs, n_batches)), 0
    recorder.record(model, step=0, epoch=0.0)
    for _ in range(n_epochs):
        shuffled = torch.randperm(len(data.y_train), generator=order)[: n_batches * batch_size]
        for inputs, index in data.batches("train", shuffled, batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), data.y_train[index]).backward()
            optimizer.step()
            step += 1
            if step in checkpoints:
                recorder.record(model, step=step, epoch=step / n_batches)


# %% [markdown]
# The checkpoints are those of the book's own runs, dense early, where predictions move fast. If yours are too sparse, a run is drawn as a polygon with few corners; nothing else breaks.
#
# Two guests, neither from the book's families: a small network with one hidden layer of tanh units, and no network at all, a linear softmax model.

# %%
n_inputs = math.prod(data.input_shape)
models = {
    "tanh network": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, n_hidden), torch.nn.Tanh(), torch.nn.Linear(n_hidden, data.n_classes)),
    "linear softmax": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, data.n_classes)),
}
recorders = {name: Recorder(data, name) for name in models}
for name, model in models.items():
    train(model, recorders[name], torch.Generator().manual_seed(seed))

# %%
recorded = {name: recorder.run() for name, recorder in recorders.items()}
assert all(model.training for model in models.values()), "the models are back in train mode"
pd.DataFrame({name: run.points.iloc[-1] for name, run in recorded.items()}).round(3)

# %% [markdown]
# ## How is it kept, and what is refused?
#
# `save` writes Zarr, Parquet and JSON into one folder, whole or not at all, so it may be called after every epoch and killed at any time. Whoever opens it runs no code of yours. Read back, it must be the same.

# %%
for name, run in recorded.items():
    folder = run.save(atlas.path / "guests" / name.replace(" ", "_"))
    again = load_run(folder)
    check_same_space(again, atlas)
    assert again.points.equals(run.points) and np.array_equal(again.log_probs["test"], run.log_probs["test"])
print("in", folder.relative_to(atlas.path), ":", sorted(p.name for p in folder.iterdir()))

# %% [markdown]
# Three mistakes that would give a picture without meaning are refused: a network with another number of classes, outputs that are not finite, and samples of another data set.

# %%
one_too_many = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, data.n_classes + 1))
diverged = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, data.n_classes))
torch.nn.init.constant_(diverged[1].bias, float("nan"))
attempts = [
    lambda: Recorder(data).record(one_too_many, step=0, epoch=0.0),
    lambda: Recorder(data).record(diverged, step=0, epoch=0.0),
    lambda: check_same_space(replace(again, data="0" * 16), atlas),
]

# %%
refused = []
for attempt in attempts:
    try:
        attempt()
    except ValueError as error:
        refused.append(str(error))
        print("-", refused[-1])
assert len(refused) == len(attempts)

# %% [markdown]
# The whole door is short; read it before you trust it:

# %% tags=["hide-output"]
print(inspect.getsource(Recorder.record))

# %% [markdown]
# ## Where does it stand in the picture?
#
# Distances to all points of the atlas are all that InPCA needs. With the stored coordinates $x_{uk}$ and eigenvalues $\lambda_k$, a new point with distances $d_u$ has the coordinates
#
# $$ x_k = c_k - \tfrac12 \sum_u d_u\, x_{uk} / \lambda_k , $$
#
# with a constant $c_k$ that any point of the atlas gives away, since it must land on itself. No eigenvector is computed again, and the axes stay those of the grey points. First the check: the geodesic, placed by this formula, must lie where chapter 30 put it.

# %%
embedding, matrix = atlas.embedding("train"), atlas.distances("train")
_, road_points = road(atlas, "train", len(embedding.reference))
placed_road = guests.place_in(embedding, matrix, distances_to(atlas, "train", road_points))
print(f"largest shift of the geodesic: {np.abs(placed_road - embedding.reference_embedding.values).max():.0e}")
assert np.allclose(placed_road, embedding.reference_embedding.values, atol=1e-3)

# %%
placed, clock = {}, {}
for name, run in recorded.items():
    placed[name] = guests.place_in(embedding, matrix, distances_to(atlas, "train", run.log_probs["train"]))
    clock[name] = progress(run.log_probs["train"], labels)
pd.DataFrame({name: {"first progress": s[0], "last progress": s[-1], "checkpoints": len(s)} for name, s in clock.items()}).round(3)

# %% [markdown]
# The next figure draws both guests over the atlas. *Prediction:* a linear model cannot bend its decision boundaries. Will it leave the grey band, or stop early on it?

# %%
ordinary = np.flatnonzero(embedding.fitted.values)
grey = embedding.embedding.values[ordinary]
fig, axes = plt.subplots(1, 2, figsize=(13, 4.6))
for ax, pair in zip(axes, [(0, 1), (0, 2)], strict=True):
    ax.scatter(*grey[:, pair].T, s=3, color="0.82", linewidths=0, rasterized=True)
    for (name, path), (colour, marker, dash) in zip(placed.items(), plots.FACTOR_STYLES, strict=False):
        ax.plot(*path[:, pair].T, ls=dash, color=colour, marker=marker, ms=4, label=name)
    plots.plot_reference(ax, embedding.reference_embedding.values, pair, names=ax is axes[1])
    plots.label_embedding(ax, embedding.eigenvalues.values, pair)
axes[1].legend(fontsize=9)
plots.save_figure(fig, atlas.figure_path("63_guests.png"), alt="Two planes of the train embedding: the atlas in grey, the two guests as coloured lines with markers, the geodesic in black.")

# %% [markdown]
# That is the picture to put into a talk, and no proof. A point far away in the axes that are not drawn would look the same; we need distances. The first is to the geodesic: at progress $s$, the distance to the point $\lambda = s$ of it. Grey are the runs of the main grid, as far as each gets; the axis ends where nearly all of them lie. *Prediction:* do the guests hug the geodesic more or less than these?

# %%
stored, factors = load_trajectories(atlas, "train")
is_main = factors.index.isin(main.index)
s_grid = stored.s.values
passed = guests.reached(atlas.points, main.index, s_grid)
ends = ignorance(len(labels), data.n_classes), truth(labels, data.n_classes)
bow = {name: np.array([pairwise(p[None].astype(float), geodesic(*ends, [s]))[0, 0] for p, s in zip(recorded[name].log_probs["train"], clock[name], strict=True)]) for name in recorded}

# %%
fig, ax = plt.subplots(figsize=(8, 4.2))
of_main = stored.to_geodesic.values[is_main]
there = passed.loc[factors.index[is_main]].to_numpy()
ax.plot(s_grid, np.where(there, of_main, np.nan).T, color="0.8", lw=0.6)
for (name, curve), (colour, marker, dash) in zip(bow.items(), plots.FACTOR_STYLES, strict=False):
    ax.plot(clock[name], curve, ls=dash, marker=marker, color=colour, ms=4, label=name)
top = max(np.nanquantile(np.where(there, of_main, np.nan), 0.98), *(curve.max() for curve in bow.values()))
ax.set(xlabel="progress s", ylabel="$d_B$ to the geodesic (nats)", ylim=(0, 1.1 * top))
ax.legend()
plots.save_figure(fig, atlas.figure_path("63_geodesic.png"), alt="Distance to the geodesic against progress: runs of the atlas as grey lines, guests as coloured lines with markers; the farthest grey ones are cut off.")

# %% [markdown]
# A random start is near ignorance, but seldom on it: where a line begins says how uneven the untrained network's guesses are. How far a run then bows out from the geodesic is a matter of how it shares its certainty among the samples: the geodesic treats all samples alike, a network learns the easy ones first.
#
# ## Who are its neighbours?
#
# Now run against run, at equal progress. The stations are values of progress that both guests pass and at least half of the atlas' runs; the runs compared pass all of them. The mean over stations is the trajectory distance, on the part of the road that all have walked.

# %%
stations = s_grid[np.unique(np.linspace(3, len(s_grid) - 3, n_stations).astype(int))]
for s_of_guest in clock.values():
    stations = guests.common_stations(s_of_guest, guests.reached(atlas.points, main.index, stations))
complete = guests.reached(atlas.points, main.index, stations).all(axis=1)
compared = main[complete.loc[main.index]]
print(f"{len(stations)} stations from {stations[0]:.2f} to {stations[-1]:.2f}; {len(compared)} of {len(main)} runs pass them all")

# %% [markdown]
# Beside the guests we send a control through the same door: the tanh network with its samples shuffled within classes, as in chapter 60. It has the same learning curve, and it is no network. A yardstick that lets it pass would be worth nothing.

# %%
at_stations = {name: resample(run.log_probs["train"], clock[name], stations) for name, run in recorded.items()}
at_stations["shuffled control"] = shuffle_within_class(at_stations["tanh network"], labels, rng)
names = list(at_stations)
others = guests.trajectories_of(atlas, "train", compared.index, stations)
to_runs = guests.distances_at_progress(np.stack(list(at_stations.values())), others)
print("guests, runs, stations:", to_runs.shape)

# %%
shown = ["architecture", "optimizer", "batch_size", "augmentation", "seed"]
neighbours = {name: compared[shown].assign(d_traj=to_runs[k].mean(axis=1)).nsmallest(4, "d_traj") for k, name in enumerate(names)}
pd.concat(neighbours, names=["guest"]).reset_index(level=1, drop=True).round(4)

# %% [markdown]
# ## Does it lie on the manifold?
#
# A distance has no meaning without a yardstick. Each run of the atlas is held out and measured like a guest: at every station its distance to the nearest other run, then the mean over stations. There are two ways. *Any other run* lets it find its siblings, of the same architecture with another seed, which a guest does not have. *Another architecture* puts it in the guest's place, and this is the fair one.

# %%
positions = pd.Series(np.arange(len(factors)), index=factors.index).loc[compared.index].to_numpy()
columns = [int(np.argmin(np.abs(s_grid - s))) for s in stations]
between = stored.distance.values[columns][:, positions][:, :, positions].astype(float)
rulers = {"any other run": guests.held_out_distances(between, compared), "another architecture": guests.held_out_distances(between, compared, other="architecture")}
assert not any((ruler.to_numpy() <= 0).any() for ruler in rulers.values())

# %%
nearest = {name: to_runs[k].min(axis=0) for k, name in enumerate(names)}
rows = {name: {"nearest run (nats)": curve.mean()} | {f"quantile, {ruler}": guests.quantile_among(curve.mean(), values.mean(axis=1)) for ruler, values in rulers.items()} for name, curve in nearest.items()}
judged = pd.DataFrame(rows).T
judged.round(3)

# %% [markdown]
# A quantile of .5 is an ordinary run; 1 means that no held-out run is as far from its nearest neighbour. The next figure shows where along the road that happens. *Prediction:* where will the control part from the others?

# %%
band = rulers["another architecture"]
fig, ax = plt.subplots(figsize=(8.5, 4.4))
ax.fill_between(stations, *np.quantile(band, [0.05, 0.95], axis=0), color="0.87", label=f"runs of the atlas, held out (n = {len(band)}, 5 to 95 %)")
ax.plot(stations, np.median(band, axis=0), color="0.5", lw=1.2, label="their median")
for (name, curve), (colour, marker, dash) in zip(nearest.items(), plots.FACTOR_STYLES, strict=False):
    ax.plot(stations, curve, ls=dash, marker=marker, color=colour, ms=4, label=name)
ax.set(xlabel="progress s", ylabel="$d_B$ to the nearest run (nats)", yscale="log")
ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.save_figure(fig, atlas.figure_path("63_on_the_manifold.png"), alt="Distance to the nearest run at equal progress for the guests and the shuffled control, over the grey band of held-out runs of the atlas.")

# %% [markdown]
# Inside the grey band a guest is as near to the atlas as a family that the atlas knows and was not allowed to use. Is the control told from the guests? It is farther away than the network it was made from; but if the atlas holds a family that keeps to itself, the band is wide, and then it is easy to be ordinary. A distance mixes two things: *which samples* are learned when, and how certainty is spread over them.

# %%
for name, value in judged["quantile, another architecture"].items():
    print(f"{name}: {'inside' if value <= limit else 'outside'} the range of held-out runs (quantile {value:.2f})")
blind = judged.loc["shuffled control", "quantile, another architecture"] <= limit
print("By distance alone the control passes: this yardstick is blind to it." if blind else "By distance alone the control is refused.")


# %% [markdown]
# ## Does it share more than a learning curve?
#
# Chapter 60 separates the two. The distance to the nearest run is divided by the distance that the guest would have on average with its samples shuffled within classes: 1 means that nothing is shared but the curve. Held-out runs of the atlas get the same ratio, each with its nearest run of another architecture.

# %% tags=["lesson"]
def shared_with(own, run, n=0):
    other = resampled(atlas, "train", [run], stations)[0]
    return null_distances(own, other, labels, n_shuffles=n, rng=rng)


# %%
is_other = compared.architecture.to_numpy()[:, None] != compared.architecture.to_numpy()[None, :]
nearest_other = np.where(is_other, between.mean(axis=0), np.inf).argmin(axis=1)
with_other = np.flatnonzero(is_other.any(axis=1))
sample = rng.permutation(with_other)[:n_ruler]
held_ratios = np.array([shared_with(resampled(atlas, "train", [compared.index[i]], stations)[0], compared.index[nearest_other[i]]).ratio for i in sample])
print(f"ratios of {len(held_ratios)} held-out runs: {np.min(held_ratios):.2f} to {np.max(held_ratios):.2f}, median {np.median(held_ratios):.2f}")

# %%
nulls_of = {name: shared_with(own, neighbours[name].index[0], n_shuffles) for name, own in at_stations.items()}
judged["ratio"] = [found.ratio for found in nulls_of.values()]
judged["p"] = [found.p_value for found in nulls_of.values()]
judged["quantile, ratio"] = [guests.quantile_among(ratio, held_ratios) for ratio in judged.ratio]
judged[["ratio", "p", "quantile, ratio"]].round(3)

# %% [markdown]
# The last figure of this section puts both yardsticks together: to the right is farther from the nearest run, upwards is less shared with it. *Prediction:* in which corner will the control be?

# %%
fig, ax = plt.subplots(figsize=(8.5, 4.6))
held_distance = band.mean(axis=1).to_numpy()[sample]
for architecture in sorted(set(compared.architecture.iloc[sample])):
    colour, marker, _ = plots.style_of(architecture)
    alike = (compared.architecture.iloc[sample] == architecture).to_numpy()
    ax.plot(held_distance[alike], held_ratios[alike], marker, color=colour, alpha=0.45, ms=5, label=f"{architecture}, held out")
for (name, row), symbol in zip(judged.iterrows(), "*DX", strict=True):
    ax.plot(row["nearest run (nats)"], row.ratio, symbol, color="black", ms=11, label=name)
ax.axhline(1, color="black", lw=1)
ax.set(xscale="log", xlabel="$d_B$ to the nearest run (nats, mean over progress)", ylabel="real / shuffled distance")
ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.save_figure(fig, atlas.figure_path("63_two_yardsticks.png"), alt="Ratio of real to shuffled distance against the distance to the nearest run, for held-out runs of the atlas by architecture and for the guests and the control in black.")

# %% [markdown]
# At the line a run shares nothing with its nearest run but the curve. We call a guest *on the manifold* if neither number is beyond `limit` among held-out runs: it is as near as an ordinary newcomer, and for as good a reason.

# %%
fair = judged[["quantile, another architecture", "quantile, ratio"]]
judged["on the manifold"] = (fair <= limit).all(axis=1)
for name, row in judged.iterrows():
    print(f"{name}: {'on' if row['on the manifold'] else 'not on'} the manifold (quantiles {row['quantile, another architecture']:.2f} by distance, {row['quantile, ratio']:.2f} by ratio; p = {row.p:.2g})")

# %% [markdown]
# Keep the size of the yardstick in mind: a quantile among a handful of runs is coarse, and all of these families were chosen by us.
#
# ## What if the predictions were made elsewhere?
#
# Another framework, another language, a model that is no network: all one needs is a file with one row of logits a sample. Here it is a logistic regression by scikit-learn, fitted to convergence by a method that never walks along a trajectory. We write its file, and read it as a stranger would, with `allow_pickle=False`.

# %%
inputs = {split: np.concatenate([x.flatten(1).numpy() for x, _ in data.batches(split, data.recorded(split), 500)]) for split in ("train", "test")}
elsewhere = LogisticRegression(C=0.01, max_iter=500).fit(inputs["train"][:n_fit], labels[:n_fit])
with tempfile.TemporaryDirectory() as place:
    file = Path(place) / "logits_train.npy"
    np.save(file, elsewhere.decision_function(inputs["train"]))
    logits = np.load(file, allow_pickle=False)
point = log_probs_from_logits(logits, len(labels), data.n_classes)
print(f"point {point.shape}, progress {progress(point, labels)[0]:.3f}, train error {(point[0].argmax(axis=1) != labels).mean():.3f}")

# %% [markdown]
# A single point has no trajectory. It is judged by its nearest checkpoint, against checkpoints of the atlas at about the same progress, whose nearest checkpoint of *another architecture* we look up in the stored matrix.

# %%
table = atlas.table("main")
d_point = distances_to(atlas, "train", point)[0]
closest = table.loc[table.index[d_point[table.index].argmin()]]
at_its_progress = table.index[np.argsort(np.abs(table.progress_train.to_numpy() - progress(point, labels)[0]))[:100]]
lookup = np.concatenate([np.asarray(matrix[i : i + 1], dtype=float)[:, table.index] for i in at_its_progress])
ruler_of_point = nearest_of_others(lookup, table.architecture[at_its_progress], table.architecture)
point_quantile = guests.quantile_among(d_point[table.index].min(), ruler_of_point)

# %%
corner = guests.place_in(embedding, matrix, d_point[None])[0]
print(f"coordinates: {corner[:3].round(3)}")
print(f"nearest checkpoint: {closest.architecture}, {closest.optimizer}, epoch {closest.epoch:.1f}, progress {closest.progress_train:.3f}, at {d_point[table.index].min():.4f} nats")
print(f"quantile among {len(at_its_progress)} checkpoints of about its progress: {point_quantile:.2f}")

# %% [markdown]
# The figure marks it in the plane of the first two axes. *Prediction:* it was found by convex optimisation, from all samples at once. On the road, or beside it?

# %%
fig, ax = plt.subplots(figsize=(8, 4.4))
ax.scatter(*grey[:, :2].T, s=3, color="0.82", linewidths=0, rasterized=True)
ax.plot(*placed["linear softmax"][:, :2].T, color=plots.FACTOR_STYLES[1][0], lw=1.2, label="linear softmax, by Adam")
ax.plot(*corner[:2], "D", color=plots.TIME_LIKE, ms=10, label="logistic regression, from a file")
plots.plot_reference(ax, embedding.reference_embedding.values)
plots.label_embedding(ax, embedding.eigenvalues.values)
ax.legend(fontsize=9)
plots.save_figure(fig, atlas.figure_path("63_from_a_file.png"), alt="The first two train axes with the atlas in grey, the linear guest as a line and the logistic regression as one diamond.")

# %% [markdown]
# It is the same model as the linear guest, stopped by a penalty instead of by time. If the diamond lies close to the line, the way of finding a model matters less than how far it has come; its nearest checkpoint and its quantile say the same in numbers.
#
# ## What we learned

# %%
for name in recorded:
    first = neighbours[name].iloc[0]
    print(f"The {name} ends at progress {clock[name][-1]:.2f}; its nearest run is {first.architecture} with {first.optimizer}, {first.d_traj:.4f} nats away; quantiles {judged.loc[name, 'quantile, another architecture']:.2f} and {judged.loc[name, 'quantile, ratio']:.2f}: {'on' if judged.loc[name, 'on the manifold'] else 'not on'} the manifold.")
control = judged.loc["shuffled control"]
print(f"The control with shuffled samples: quantiles {control['quantile, another architecture']:.2f} and {control['quantile, ratio']:.2f}, {'on' if control['on the manifold'] else 'not on'} the manifold. It is {control['nearest run (nats)'] / judged.loc['tanh network', 'nearest run (nats)']:.1f} times as far from its nearest run as the network it was made from.")
print(f"The logistic regression from a file: quantile {point_quantile:.2f} among checkpoints of its progress.")

# %%
results = {}
for name, row in judged.iterrows():
    key = name.replace(" ", "_")
    results[f"nearest_{key}"] = claims.result(row["nearest run (nats)"], n=len(compared), unit="nats", note=f"mean over {len(stations)} values of progress")
    for ruler in rulers:
        results[f"quantile_{key}_{ruler.replace(' ', '_')}"] = claims.result(row[f"quantile, {ruler}"], n=len(compared), note="among held-out runs of the main grid")
    results[f"ratio_{key}"] = claims.result(row.ratio, n=len(stations), note=f"to its nearest run, over the shuffled guest; p = {row.p:.2g}")
    results[f"quantile_{key}_ratio"] = claims.result(row["quantile, ratio"], n=len(held_ratios), note="among held-out runs of the main grid")
for name, s_of_guest in clock.items():
    results[f"progress_{name.replace(' ', '_')}"] = claims.result(s_of_guest[-1], n=len(s_of_guest), note="last checkpoint")
results["quantile_from_a_file"] = claims.result(point_quantile, n=len(at_its_progress), note="among checkpoints of about its progress")
results["nearest_from_a_file"] = claims.result(d_point[table.index].min(), n=len(table), unit="nats")
claims.save_results(atlas, "63", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Put a network of your own into the loop: two hidden layers of ReLU, say. How far does it get, and where does it start?

# %% tags=["solution"]
mine = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, data.n_classes))
my_recorder = Recorder(data, "two layers of ReLU")
train(mine, my_recorder, torch.Generator().manual_seed(seed + 1))
my_progress = progress(my_recorder.run().log_probs["train"], labels)
my_progress[[0, -1]].round(3)

# %% tags=["check"]
assert len(my_progress) == len(my_recorder.run().points) and my_progress[-1] > my_progress[0]

# %% [markdown]
# 2. Judge it as above: its distance to the nearest run at each station that it passes, and the quantile of their mean. Take the yardstick on the same stations.

# %% tags=["solution"]
mine_at = np.isin(stations, guests.common_stations(my_progress, guests.reached(atlas.points, main.index, stations)))
my_points = resample(my_recorder.run().log_probs["train"], my_progress, stations[mine_at])
my_distance = guests.distances_at_progress(my_points[None], guests.trajectories_of(atlas, "train", compared.index, stations[mine_at]))[0].min(axis=0).mean()
my_quantile = guests.quantile_among(my_distance, band.loc[:, mine_at].mean(axis=1))
my_quantile

# %% tags=["check"]
assert 0 <= my_quantile <= 1 and my_distance > 0

# %% [markdown]
# 3. Is the test side the same story? Compute the test progress of the two guests at their last checkpoint, and the distance to the nearest last checkpoint of the atlas on the test samples.

# %% tags=["solution"]
last_rows = table.groupby("run").tail(1).index
test_labels = atlas.labels("test")
test_side = {name: (progress(run.log_probs["test"][-1:], test_labels)[0], distances_to(atlas, "test", run.log_probs["test"][-1:])[0, last_rows].min()) for name, run in recorded.items()}
test_side

# %% tags=["check"]
assert all(0 <= s <= 1 and d > 0 for s, d in test_side.values())

# %% [markdown]
# 4. A model that is sure of everything: multiply the logits of the file by 5. Where does its progress go, and does it come nearer to truth? Half the loss is the distance to truth.

# %% tags=["solution"]
sharper = log_probs_from_logits(5 * logits, len(labels), data.n_classes)
losses = [-values[0, np.arange(len(labels)), labels].mean() / 2 for values in (point, sharper)]
progress(np.concatenate([point, sharper]), labels).round(3), np.round(losses, 4)

# %% tags=["check"]
assert np.allclose(losses, pairwise(np.concatenate([point, sharper]).astype(float), ends[1])[:, 0], rtol=1e-4)

# %% [markdown]
# ## What next
#
# Chapter 90 measures what all this costs, at this size and at the paper's.
#
# **References.** Mao et al., PNAS 2024, for the distances and figure 2. Gower, *Adding a point to vector diagrams in multivariate analysis*, 1968, for placing new points. Bengio et al., *Out-of-sample extensions for LLE, Isomap, MDS, eigenmaps, and spectral clustering*, 2003.
