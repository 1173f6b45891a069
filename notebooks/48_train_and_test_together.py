# %% [markdown]
# # Do train and test predictions lie on one manifold?
#
# **What.** The predictions of every network on train samples and on test samples, as two points of one space.
# **Figure of the paper.** The joint embedding of train and test predictions.
# **Answer.** They leave ignorance together and part on the way; this needs a pairing of samples, and we show that the conclusion does not hang on it.
#
# | | |
# |---|---|
# | Goals | see why a joint space needs paired samples; average over all pairings in closed form; tell a gap from the cost of pairing |
# | Prerequisites | chapters 40 and 41 (essential), permutation tests (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions/*, points.parquet; figures, results/48.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial import procrustes

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.embedding import road
from manifold_utils.inpca import InPCA
from manifold_utils.joint import expected_distance, joint_predictions, pair_samples, split_gap

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_points = 300  # networks at checkpoints that are shown; each gives a train and a test point
n_pairings = 6  # random pairings that are compared
seed = 0  # of the pairings

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
table = atlas.table("main")
table = table[table.loss_train / 2 < 2].sample(frac=1, random_state=seed)
table = table.groupby(pd.cut(table.progress_train, 10), observed=True).head(max(10, n_points // 10)).sort_index()
print(f"{len(table)} checkpoints of {table.run.nunique()} runs, spread over progress, each with two points; {n_pairings} random pairings")

# %% [markdown]
# ## What do we load?

# %%
rows = table.index.to_numpy()
log_probs = {split: np.asarray(atlas.log_probs(split)[rows]) for split in ("train", "test")}
labels = {split: atlas.labels(split) for split in log_probs}
n_classes = log_probs["train"].shape[2]
counts = pd.DataFrame({split: np.bincount(y, minlength=n_classes) for split, y in labels.items()}).rename_axis("class")
counts.T

# %% [markdown]
# ## What would a common space be?
#
# A distance needs both points to predict on the *same* samples, and train and test samples are not the same. But the space of predictions knows nothing of the pictures. It knows, for each sample, a place among the classes and a true class. So we may lay a test sample over a train sample **of the same class**. Then ignorance is one point for both splits, and so is truth.
#
# *The pairing:* within each class, both sides in random order, as many as the smaller split has. Every sample is used once at most.

# %%
pairs = pair_samples(labels["train"], labels["test"], rng=rng)
assert np.array_equal(labels["train"][pairs[0]], labels["test"][pairs[1]])
print(f"{len(pairs[0])} pairs of {len(labels['train'])} train and {len(labels['test'])} test samples")

# %% [markdown]
# A known value: with this pairing the two truths are the same point, at distance 0, and ignorance to truth is $\tfrac12\log C$ as in either space.

# %%
roads = {split: road(atlas, split)[1] for split in log_probs}
joint_road = joint_predictions(roads["train"], roads["test"], pairs)
n_road = len(roads["train"])
between_truths = pairwise(joint_road[[n_road - 1]], joint_road[[2 * n_road - 1]])[0, 0]
length = pairwise(joint_road[[0]], joint_road[[n_road - 1]])[0, 0]
print(f"truth to truth {between_truths:.1e} nats; ignorance to truth {length:.4f} nats, (log C)/2 = {np.log(n_classes) / 2:.4f}")
assert between_truths < 1e-9 and np.isclose(length, np.log(n_classes) / 2)

# %% [markdown]
# ## The two manifolds in one picture
#
# InPCA of all train and test points together. *Prediction:* will they lie on top of each other, side by side, or fork?

# %%
both = joint_predictions(log_probs["train"], log_probs["test"], pairs)
split_of = np.repeat(["train", "test"], len(rows))
D = pairwise(both)
fit = InPCA(n_components=min(10, len(both) - 1)).fit(D)
reference = fit.transform(pairwise(joint_road[:n_road], both))

# %%
fig, axes = plt.subplots(1, 2, figsize=(13, 4.8))
plots.plot_embedding(axes[0], fit.embedding_, split_of, size=8, legend=False)
plots.plot_embedding(axes[1], fit.embedding_, values=np.tile(table.progress_train, 2), size=8)
fig.colorbar(axes[1].collections[-1], ax=axes[1], label="train progress of the network")
ends = table.reset_index(drop=True).groupby("run", sort=False).tail(1).index.to_numpy()
for i in ends[:: max(1, len(ends) // 25)]:
    axes[1].plot(*fit.embedding_[[i, i + len(rows)], :2].T, color="0.4", lw=0.6)
for ax in axes:
    plots.plot_reference(ax, reference, names=ax is axes[0])
    plots.label_embedding(ax, fit.eigenvalues_)
axes[0].legend(markerscale=1)
plots.save_figure(fig, atlas.figure_path("48_joint.png"), alt="Joint embedding of train and test predictions: left coloured by split, right by train progress with thin lines from train to test points of the same late checkpoints.")

# %% [markdown]
# Left, which split; right, the same points by the train progress of their network, with thin lines that join the train and the test point of some runs' last shown checkpoints. Early points of both splits overlap near the square. Late ones part: train points reach the star, test points stay behind.
#
# To see how far the two really mix, we look at each point's ten nearest neighbours among the points of other *runs*, and count those of the same split. One half is perfect mixing; 1 is two separate sheets.

# %%
run_of = np.tile(table.run.factorize()[0], 2)
s = table.progress_train.to_numpy()
early_below, late_above = 0.3 * s.max(), 0.8 * s.max()
early, late = np.tile(s < early_below, 2), np.tile(s > late_above, 2)


# %% tags=["lesson"]
def same_split_share(matrix, chosen, k=10):
    candidates = np.where(run_of[:, None] == run_of, np.inf, matrix)[chosen]
    nearest = np.argsort(candidates, axis=1, kind="stable")[:, :k]
    return (split_of[nearest] == split_of[chosen][:, None]).mean()


# %%
for name, chosen in ((f"early (s < {early_below:.2f})", early), (f"late (s > {late_above:.2f})", late)):
    print(f"{name}: {100 * same_split_share(D, chosen):.0f} % of the neighbours are of the same split ({chosen.sum()} points)")

# %% [markdown]
# ## Does the conclusion hang on the pairing?
#
# We draw other pairings, and also make one that is as kind as possible: within each class, the easiest test sample beside the easiest train sample, and so on by rank. Difficulty is the mean log-probability of the true class over all points. Each pairing gives its own matrix and its own embedding.

# %%
difficulty = tuple(-values[:, np.arange(len(labels[split])), labels[split]].mean(axis=0) for split, values in log_probs.items())
pairings = {"random 1": pairs}
pairings |= {f"random {k + 1}": pair_samples(labels["train"], labels["test"], rng=rng) for k in range(1, n_pairings)}
pairings["by rank"] = pair_samples(labels["train"], labels["test"], difficulty=difficulty)
matrices = {name: pairwise(joint_predictions(log_probs["train"], log_probs["test"], pair)) for name, pair in pairings.items()}

# %%
fits, judged = {}, {}
for name, matrix in matrices.items():
    fits[name] = InPCA(n_components=min(10, len(matrix) - 1)).fit(matrix)
    misfit = procrustes(fit.embedding_[:, :3], fits[name].embedding_[:, :3])[2]
    same_network = np.diag(matrix[: len(rows), len(rows) :])
    judged[name] = {
        "stress of 3 axes": fits[name].explained_stress_[2], "same split, early": same_split_share(matrix, early), "same split, late": same_split_share(matrix, late),
        "train to test, late": same_network[late[: len(rows)]].mean(), "picture as in random 1": np.sqrt(1 - misfit),
    }
judged = pd.DataFrame(judged).T
judged.round(3)

# %% [markdown]
# The last column is the correlation of the first three coordinates with those of the first pairing, after the best rotation. *Prediction:* which column will the pairing by rank change most, and why?
#
# The pictures of three pairings, rotated onto the first:

# %%
picked = ["random 1", "random 2", "by rank"] if n_pairings > 1 else ["random 1", "by rank"]
fig, axes = plt.subplots(1, len(picked), figsize=(4.8 * len(picked), 4.3), sharex=True, sharey=True)
for ax, name in zip(axes, picked, strict=True):
    target, turned, _ = procrustes(fit.embedding_[:, :3], fits[name].embedding_[:, :3])
    plots.plot_embedding(ax, target if name == "random 1" else turned, split_of, size=6, legend=name == "by rank")
    ax.set(title=f"pairing: {name}", xlabel="InPC 1 (rotated, scaled)", aspect="equal")
axes[0].set_ylabel("InPC 2 (rotated, scaled)")
plots.save_figure(fig, atlas.figure_path("48_pairings.png"), alt="The joint embedding for two random pairings and for the pairing by rank of difficulty, rotated onto each other; the same fork in all.")

# %% [markdown]
# If the three panels show the same fork, no particular pairing made it.
#
# ## How large is the gap, free of any pairing?
#
# A random partner costs something even if train and test were alike: two *different* samples of a class are not predicted alike. That cost is a floor, and it can be measured: the distance of a network's train predictions to its own train predictions on other samples of the class. Both it and the cross distance can be averaged over **all** pairings at once, since the mean over pairings is the mean over all pairs of the class. We check the random draws against this closed form.

# %%
some = rng.permutation(np.flatnonzero(s > late_above))[:8]
exact = np.array([expected_distance(log_probs["train"][i], labels["train"], log_probs["test"][i], labels["test"]) for i in some])
drawn = np.array([[m[i, i + len(rows)] for i in some] for name, m in matrices.items() if name != "by rank"])
print("closed form   ", exact.round(4))
print("mean of draws ", drawn.mean(axis=0).round(4), " s.d. of one draw", drawn.std(axis=0).round(4))
assert np.all(np.abs(drawn.mean(axis=0) - exact) < 0.25 * exact + 0.02)

# %% [markdown]
# For the gap itself we use the Hellinger distance: cross minus floor is then half the squared difference between the classes' mean roots, so it is never negative but for noise. For $d_B$, which is no squared Euclidean distance (chapter 42: time-like axes), cross minus floor may have either sign. That is worth a line:

# %%
nats = np.array([split_gap(log_probs["train"][i], labels["train"], log_probs["test"][i], labels["test"], metric="bhattacharyya") for i in some])
print("d_B: gap, cross, floor of the same networks (medians):", np.median(nats, axis=0).round(4))

# %%
gap, cross, floor = np.array([split_gap(log_probs["train"][i], labels["train"], log_probs["test"][i], labels["test"]) for i in range(len(rows))]).T
at_start, at_end = gap[s < early_below], gap[s > late_above]
print(f"Hellinger gap, medians: {np.median(at_start):.4f} early, {np.median(at_end):.4f} late")

# %% [markdown]
# The figure shows where on the road they part. *Prediction:* does the gap open steadily, or all at once at the end?

# %%
fig, axes = plt.subplots(1, 2, figsize=(12.5, 4.3))
axes[0].plot(s, cross, ".", color=plots.FACTOR_STYLES[1][0], ms=4, label="train to test, all pairings")
axes[0].plot(s, floor, "x", color="black", ms=3, alpha=0.6, label="floor: cost of pairing alone")
axes[0].set(xlabel="train progress", ylabel="Hellinger distance $1 - BC$")
axes[0].legend(markerscale=1)
plots.plot_embedding(axes[1], np.stack([s, gap], axis=1), table.architecture, size=14)
axes[1].axhline(0, color="black", lw=0.8)
axes[1].set(xlabel="train progress", ylabel="gap: cross - floor")
plots.save_figure(fig, atlas.figure_path("48_gap.png"), alt="Left: Hellinger distance from train to test predictions and the floor that pairing costs, against train progress. Right: their difference by architecture.")

# %% [markdown]
# Left, most of the distance between a network's two points is the price of pairing, not generalisation: it would be there for two halves of the train set. Right, what remains, by architecture.
#
# ## What we learned

# %%
spread = judged.agg(["min", "max"])
random_only = judged.drop(index="by rank")
print(f"Joint stress of 3 axes: {judged.iloc[0, 0]:.3f} (over pairings {spread.iloc[0, 0]:.3f} to {spread.iloc[1, 0]:.3f}); pictures agree with the first to at least {judged.iloc[:, 4].min():.3f}.")
print(f"Neighbours of the same split: early {100 * judged.iloc[0, 1]:.0f} %, late {100 * judged.iloc[0, 2]:.0f} %; over pairings, late, {100 * spread.iloc[0, 2]:.0f} to {100 * spread.iloc[1, 2]:.0f} %.")
print(f"Free of pairing, the gap grows from {np.median(at_start):.4f} to {np.median(at_end):.4f} (Hellinger); the floor at the end is {np.median(floor[s > late_above]):.4f}.")
print("The paper shows the joint picture without a number for it.")

# %%
low, high = claims.bootstrap_interval(at_end, np.median, rng=rng) if len(at_end) else (np.nan, np.nan)
low_start, high_start = claims.bootstrap_interval(at_start, np.median, rng=rng) if len(at_start) else (np.nan, np.nan)
results = {
    "joint_stress_3": claims.result(judged.iloc[0, 0], low=spread.iloc[0, 0], high=spread.iloc[1, 0], n=len(both), note="interval: over pairings, by rank included"),
    "picture_agreement": claims.result(judged.iloc[1:, 4].median(), low=judged.iloc[1:, 4].min(), high=judged.iloc[1:, 4].max(), n=len(judged) - 1, note="correlation of 3 axes with the first pairing"),
    "same_split_early": claims.result(judged.iloc[0, 1], low=spread.iloc[0, 1], high=spread.iloc[1, 1], n=early.sum(), note="interval: over pairings"),
    "same_split_late": claims.result(judged.iloc[0, 2], low=spread.iloc[0, 2], high=spread.iloc[1, 2], n=late.sum(), note="interval: over pairings"),
    "gap_early": claims.result(np.median(at_start), low=low_start, high=high_start, n=len(at_start), note="Hellinger, no pairing; first 30 % of progress"),
    "gap_late": claims.result(np.median(at_end), low=low, high=high, n=len(at_end), note="Hellinger, no pairing; last 20 % of progress"),
}
claims.save_results(atlas, "48", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. The floor can be drawn, too: pair the train samples with *themselves* in another order within each class. What does the joint embedding of train and re-paired train predictions look like?

# %% tags=["solution"]
shuffled = pair_samples(labels["train"], labels["train"], rng=rng)
copies = joint_predictions(log_probs["train"], log_probs["train"], shuffled)
copies_matrix = pairwise(copies)
copies_share = same_split_share(copies_matrix, late)

# %% tags=["check"]
assert np.allclose(copies_matrix[: len(rows), : len(rows)], pairwise(log_probs["train"][:, shuffled[0]]), atol=1e-6)

# %% [markdown]
# 2. Which classes carry the gap? Compute it class by class for the last network.

# %% tags=["solution"]
last_one = {split: values[int(np.argmax(s))] for split, values in log_probs.items()}
by_class = {}
for c in range(n_classes):
    mine = {split: labels[split] == c for split in labels}
    by_class[c] = split_gap(last_one["train"][mine["train"]], labels["train"][mine["train"]], last_one["test"][mine["test"]], labels["test"][mine["test"]])[0]
pd.Series(by_class).round(4)

# %% tags=["check"]
assert len(by_class) == n_classes and max(by_class.values()) > min(by_class.values())

# %% [markdown]
# 3. Is the gap a function of the generalisation error? Give the rank correlation of the gap with test error minus train error, over the late points.

# %% tags=["solution"]
excess_error = (table.error_test - table.error_train).to_numpy()
relation = pd.Series(gap[s > 0.5 * s.max()]).corr(pd.Series(excess_error[s > 0.5 * s.max()]), method="spearman")
relation

# %% tags=["check"]
assert np.isnan(relation) or -1 <= relation <= 1

# %% [markdown]
# ## What next
#
# Chapter 49 looks at the directions in which networks leave ignorance and arrive at truth. Chapter 62 takes generalisation further.
#
# **References.** Mao et al., PNAS 2024, the joint figure. Szekely and Rizzo, *Energy statistics*, 2013, for cross minus floor. Schoenberg, *Metric spaces and positive definite functions*, 1938, for when a distance is a squared Euclidean one.
