# %% [markdown]
# # Do train and test predictions lie on one manifold?
#
# **What.** The predictions of every network on train samples and on test samples, as two points of one space.
# **Figure of the paper.** The joint embedding of train and test predictions.
# **Answer.** A joint picture needs a pairing of train and test samples, and the pairing alone already separates the two points of a network. We measure the gap that is left without it, and test whether it is larger than for a random division of the samples.
#
# | | |
# |---|---|
# | Goals | see why a joint space needs paired samples; average over all pairings in closed form; tell a gap from the cost of pairing |
# | Prerequisites | chapters 40 and 41 (essential), permutation tests (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions/, points.parquet; figures, results/48.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial import procrustes

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.studies import joint

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_points = 300  # networks at checkpoints; each gives a train and a test point
n_pairings = 6  # random pairings that are compared
n_null = 99  # random divisions of the samples that the gap is judged by
seed = 0  # of the pairings

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
table = atlas.table("main")
limit = embedding.outlier_limit(atlas.n_classes)
table = table[table.loss_train / 2 < limit].sample(frac=1, random_state=seed)
table = (
    table.groupby(pd.cut(table.progress_train, 10), observed=True)
    .head(max(10, n_points // 10))
    .sort_index()
)

# %% tags=["hide-input"]
print(
    f"{len(table)} checkpoints of {table.run.nunique()} "
    "runs, spread over progress, each with two points"
)
print(f"{n_pairings} random pairings, {n_null} random divisions")

# %% [markdown]
# ## What do we load?
#
# The predictions of the same checkpoints on train samples and on test samples. The table counts the samples of each class.

# %%
rows = table.index.to_numpy()
log_probs = {
    split: np.asarray(atlas.log_probs(split)[rows]) for split in ("train", "test")
}
labels = {split: atlas.labels(split) for split in log_probs}
n_classes = log_probs["train"].shape[2]
counts = pd.DataFrame(
    {split: np.bincount(y, minlength=n_classes) for split, y in labels.items()}
).rename_axis("class")
counts.T

# %% [markdown]
# ## What would a common space be?
#
# A distance needs two points that predict the *same* samples, and train and test samples are different. But the inputs play no part in the space of predictions: each sample has only its predicted probabilities and its true class. So we may pair a test sample with a train sample **of the same class**. Then ignorance is the same point for both splits, and so is truth.
#
# *The pairing:* within each class, both sides in random order, as many as the smaller split has. Every sample is used at most once.

# %%
pairs = joint.pair_samples(labels["train"], labels["test"], rng=rng)
assert np.array_equal(labels["train"][pairs[0]], labels["test"][pairs[1]])
print(
    f"{len(pairs[0])} pairs of {len(labels['train'])} "
    f"train and {len(labels['test'])} test samples"
)

# %% [markdown]
# A known value: with this pairing the two truths are the same point, at distance 0, and ignorance to truth is $\tfrac12\log C$ as in either space.

# %%
roads = {split: embedding.road(atlas, split)[1] for split in log_probs}
joint_road = joint.joint_predictions(roads["train"], roads["test"], pairs)
n_road = len(roads["train"])
between_truths = pairwise(joint_road[[n_road - 1]], joint_road[[2 * n_road - 1]])[0, 0]
half_log = np.log(n_classes) / 2

# %%
length = pairwise(joint_road[[0]], joint_road[[n_road - 1]])[0, 0]
print(
    f"truth to truth {between_truths:.1e} nats; ignorance "
    f"to truth {length:.4f} nats, (log C)/2 = {half_log:.4f}"
)
assert between_truths < 1e-9 and np.isclose(length, half_log)

# %% [markdown]
# ## The two manifolds in one picture
#
# We apply InPCA to all train and test points together. In the figure below, thin lines join the two points of some networks, to show how far apart they are.

# %%
both = joint.joint_predictions(log_probs["train"], log_probs["test"], pairs)
split_of = np.repeat(["train", "test"], len(rows))
D = pairwise(both)
fit = InPCA(n_components=min(10, len(both) - 1)).fit(D)
reference = fit.transform(pairwise(joint_road[:n_road], both))

# %%
ends = table.reset_index(drop=True).groupby("run", sort=False).tail(1).index.to_numpy()
shown_ends = ends[:: max(1, len(ends) // 25)]
points, look = fit.embedding_, {"size": 14, "alpha": 0.8}
shapes = {split: plots.style_of(split, split_of)[1] for split in ("train", "test")}
alt = (
    f"Joint embedding of {len(rows)} networks, each a train and a test point: above "
    "coloured by split; below by train progress, shapes as above, with thin lines "
    f"from the train to the test point of {len(shown_ends)} runs' last checkpoints."
)

# %% [markdown]
# *Prediction:* in the next figure, will the two splits lie on top of each other, side by side, or fork?

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(9, 8.4), sharex=True)
plots.plot_embedding(axes[0], points, split_of, size=14, legend=False)
for split, marker in shapes.items():
    half, look["marker"] = points[split_of == split], marker
    plots.plot_embedding_values(axes[1], half, table.progress_train, **look)
for i in shown_ends:
    axes[1].plot(*points[[i, i + len(rows)], :2].T, color="0.4", lw=0.6)
fig.colorbar(axes[1].collections[-1], ax=axes, shrink=0.5, label="train progress")
for ax in axes:
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
    plots.plot_reference(ax, reference, names=ax is axes[0])
    ax.set_aspect("equal", adjustable="box")
axes[0].set_xlabel("")
plots.figure_legend(fig, axes[0], ncols=5)
plots.save_figure(fig, atlas.figure_path("48_joint.png"), alt=alt)

# %% [markdown]
# The upper panel shows the split; the lower one shows the same points by the train progress of their network, with the same shapes, and thin lines that join the train and the test point of some runs' last checkpoints. Are the test points of late networks farther from the star than their train points? The distances to truth tell:

# %%
s = table.progress_train.to_numpy()
early_below, late_above = 0.3 * s.max(), 0.8 * s.max()
to_truth = (
    table.loc[s > late_above, ["loss_train", "loss_test"]].median().to_numpy() / 2
)
print(
    "Median distance to truth of late checkpoints: train "
    f"{to_truth[0]:.3f}, test {to_truth[1]:.3f} nats."
)
times = to_truth[1] / to_truth[0]
print(
    f"So late networks are {times:.1f} times as far from the test truth."
    if times > 1.05
    else "So late networks know the test samples as well as the train samples."
)

# %% [markdown]
# How well do the two splits mix? We take the ten nearest neighbours of each point among the points of other *runs*, and count those of the same split. A share of one half is perfect mixing; a share of 1 means two separate sheets.
#
# This share needs a null of its own. Two train points are compared on the very same samples, but a train and a test point on different ones. So points of one split would be nearer to each other even if train and test samples were alike. As the null we put the train predictions beside a *copy of themselves* that is paired with other train samples of the class. The two differ only by the pairing.

# %%
run_of = np.tile(table.run.factorize()[0], 2)
early, late = np.tile(s < early_below, 2), np.tile(s > late_above, 2)
repaired = np.array(joint.pair_samples(labels["train"], labels["train"], rng=rng))
repaired = repaired[:, repaired[0] != repaired[1]]  # no sample beside itself
if not repaired.shape[1]:
    lacking = "every class has one train sample, and the null pairs two of them"
    raise claims.NotEnough(lacking)

# %%
# As many pairs as above.
repaired = tuple(rng.permutation(repaired, axis=1)[:, : len(pairs[0])])
copies_matrix = pairwise(
    joint.joint_predictions(log_probs["train"], log_probs["train"], repaired)
)


# %% tags=["lesson"]
def same_split_share(matrix, chosen, k=10):
    candidates = np.where(run_of[:, None] == run_of, np.inf, matrix)[chosen]
    nearest = np.argsort(candidates, axis=1, kind="stable")[:, :k]
    return (split_of[nearest] == split_of[chosen][:, None]).mean()


# %%
mixing = {
    f"{name} ({chosen.sum()} points)": {
        "train beside test": same_split_share(D, chosen),
        "null: train beside itself": same_split_share(copies_matrix, chosen),
    }
    for name, chosen in (
        (f"early, s < {early_below:.2f}", early),
        (f"late, s > {late_above:.2f}", late),
    )
}
pd.DataFrame(mixing).T.round(3)

# %% [markdown]
# Only the difference between the columns reflects train versus test. In words:

# %% tags=["hide-input"]
for stage, (beside_test, beside_itself) in pd.DataFrame(mixing).items():
    more_than = beside_test > beside_itself + 0.05
    told = "is more than the pairing gives" if more_than else "the pairing alone gives"
    two_shares = f"{100 * beside_test:.0f} % against {100 * beside_itself:.0f} %"
    print(f"{stage}: {two_shares}, which {told}.")

# %% [markdown]
# ## Does the conclusion depend on the pairing?
#
# We draw other pairings, and also make the most favourable one: within each class, the easiest test sample is paired with the easiest train sample, and so on by rank. Difficulty is the mean log-probability of the true class over all points. Each pairing gives its own matrix and its own embedding.

# %%
difficulty = tuple(
    -values[:, np.arange(len(labels[split])), labels[split]].mean(axis=0)
    for split, values in log_probs.items()
)
more = [
    joint.pair_samples(labels["train"], labels["test"], rng=rng)
    for _ in range(n_pairings - 1)
]
pairings = {f"random {k}": pair for k, pair in enumerate([pairs, *more], start=1)}
pairings["by rank"] = joint.pair_samples(
    labels["train"], labels["test"], difficulty=difficulty
)

# %%
matrices = {
    name: pairwise(joint.joint_predictions(log_probs["train"], log_probs["test"], pair))
    for name, pair in pairings.items()
}

# %%
fits, judged = {}, {}
for name, matrix in matrices.items():
    fits[name] = InPCA(n_components=min(10, len(matrix) - 1)).fit(matrix)
    misfit = procrustes(fit.embedding_[:, :3], fits[name].embedding_[:, :3])[2]
    same_network = np.diag(matrix[: len(rows), len(rows) :])
    judged[name] = {
        "stress of 3 axes": fits[name].explained_stress_[2],
        "same split, early": same_split_share(matrix, early),
        "same split, late": same_split_share(matrix, late),
        "train to test, late": same_network[late[: len(rows)]].mean(),
        "picture as in random 1": np.sqrt(1 - misfit),
    }

# %%
judged = pd.DataFrame(judged).T
judged.round(3)

# %% [markdown]
# For the null we shuffle the samples of each run within classes, in both splits, and embed the result with the first pairing. What three axes explain there is explained by learning curves alone.

# %%
lone = {
    split: statistics.null_world(values, table.run, labels[split], "class", rng=rng)
    for split, values in log_probs.items()
}
null_joint = pairwise(joint.joint_predictions(lone["train"], lone["test"], pairs))
null_stress = InPCA(n_components=3).fit(null_joint).explained_stress_[2]

# %%
print(
    f"three axes explain {judged.iloc[0, 0]:.3f} of the joint stress, "
    f"and {null_stress:.3f} after the shuffle"
)

# %% [markdown]
# The last column of the table above is the correlation of the first three coordinates with those of the first pairing, after the best rotation. *Prediction:* which column will the pairing by rank change most, and why?
#
# The next figure shows the embeddings for three pairings, rotated onto the first:

# %% tags=["hide-input"]
picked = (
    ["random 1", "random 2", "by rank"] if n_pairings > 1 else ["random 1", "by rank"]
)
alt = (
    f"Joint embedding of {len(rows)} networks for {len(picked) - 1} random pairings "
    "and for the pairing by rank of difficulty, coloured by split. The panels are "
    "rotated and scaled onto each other, so that their units mean nothing."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(picked), figsize=(9, 3), sharex=True, sharey=True)
for ax, name in zip(axes, picked, strict=True):
    target, turned, _ = procrustes(fit.embedding_[:, :3], fits[name].embedding_[:, :3])
    shown = target if name == "random 1" else turned
    plots.plot_embedding(ax, shown, split_of, size=10, legend=False)
    ax.set(title=f"pairing: {name}", xlabel="InPC 1 (turned)", aspect="equal")
    ax.set(xticks=[], yticks=[])
axes[0].set_ylabel("InPC 2 (turned)")
plots.figure_legend(fig, axes[0], ncols=2)
plots.save_figure(fig, atlas.figure_path("48_pairings.png"), alt=alt)

# %% [markdown]
# The two random pairings can hardly differ, since each averages over all samples; the pairing by rank is the real test.

# %% tags=["hide-input"]
likeness = judged.iloc[:, 4].min()
print(
    "The pictures agree, so no particular pairing is responsible for them"
    if likeness > 0.9
    else "The pictures differ, so the picture depends on the pairing",
    f"(correlation of at least {likeness:.2f}).",
)

# %% [markdown]
# ## How large is the gap, free of any pairing?
#
# A random pairing adds to the distance even if train and test are alike, because two *different* samples of a class are not predicted alike. This cost is a floor, and we can measure it: the distance of a network's train predictions to its own train predictions on other samples of the class. Both it and the cross distance can be averaged over **all** pairings at once, since the mean over pairings is the mean over all pairs of the class. We check the random draws against this closed form.

# %%
some = rng.permutation(np.flatnonzero(s > late_above))[:8]
sides = [
    (log_probs["train"][i], labels["train"], log_probs["test"][i], labels["test"])
    for i in range(len(rows))
]
exact = np.array([joint.expected_distance(*sides[i]) for i in some])

# %%
at_random = [matrix for name, matrix in matrices.items() if name != "by rank"]
drawn = np.array([[matrix[i, i + len(rows)] for i in some] for matrix in at_random])
mean, sd = drawn.mean(axis=0), drawn.std(axis=0)
print("closed form   ", exact.round(4))
print("mean of draws ", mean.round(4), " s.d. of one draw", sd.round(4))
assert np.all(np.abs(mean - exact) < 0.25 * exact + 0.02)

# %% [markdown]
# For the gap itself we use the Hellinger distance: cross minus floor is then half the squared difference between the classes' mean roots, so apart from noise it is never negative. For $d_B$, which is not a squared Euclidean distance (chapter 42: time-like axes), cross minus floor may have either sign. We compute both:

# %%
nats = np.array([joint.split_gap(*sides[i], metric="bhattacharyya") for i in some])
print(
    "d_B: gap, cross, floor of the same networks (medians):",
    np.median(nats, axis=0).round(4),
)

# %%
gap, cross, floor = np.array([joint.split_gap(*side) for side in sides]).T
at_start, at_end = gap[s < early_below], gap[s > late_above]
print(
    f"Hellinger gap, medians: {np.median(at_start):.5f} "
    f"early, {np.median(at_end):.5f} late"
)
of_distance = 100 * np.median((floor / cross)[s > late_above])
print(f"the floor is {of_distance:.1f} % of the late distance (median)")


# %% [markdown]
# All networks see the same samples, so a lucky choice of test samples would shift all gaps together. Is the late gap more than chance? We divide the samples of each class at random into a new "train" and "test" part of the old sizes, keep all predictions, and compute the same median. This is a permutation test: if networks treated both splits alike, our gap would look like one of these draws.

# %% tags=["lesson"]
def gap_of_random_division(i, order):
    together = np.concatenate([log_probs["train"][i], log_probs["test"][i]])[order]
    parts = np.split(together, [len(labels["train"])])
    return joint.split_gap(parts[0], labels["train"], parts[1], labels["test"])[0]


# %%
both_labels = np.concatenate([labels["train"], labels["test"]])
late_ones = np.flatnonzero(s > late_above)
null_gaps = []
for _ in range(n_null):
    order = np.empty(len(both_labels), dtype=int)
    for c in range(n_classes):
        order[both_labels == c] = rng.permutation(np.flatnonzero(both_labels == c))
    null_gaps.append(np.median([gap_of_random_division(i, order) for i in late_ones]))

# %%
p_value = statistics.p_value(np.median(at_end), null_gaps, side="high")
print(f"late gap {np.median(at_end):.5f}, p = {p_value:.3f}")
print(
    f"random divisions: mean {np.mean(null_gaps):.5f}, at most {np.max(null_gaps):.5f}"
)

# %% [markdown]
# The next figure shows where on the way the two splits separate. *Prediction:* does the gap open steadily, or all at once at the end?

# %% tags=["hide-input"]
alt = (
    f"Left: Hellinger distance from train to test predictions of {len(rows)} networks "
    "against the floor that pairing costs. Right: their difference against train "
    f"progress, by {family_name}."
)
against_floor, against_s = np.stack([floor, cross], axis=1), np.stack([s, gap], axis=1)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2))
plots.plot_embedding_values(left, against_floor, s, size=16)
fig.colorbar(left.collections[-1], ax=left, label="train progress")
left.axline((0, 0), slope=1, color="black", lw=0.8, label="no gap")
left.set_xlabel("floor: what pairing alone costs")
left.set_ylabel("train to test, Hellinger $1 - BC$")
left.legend()
plots.plot_embedding(right, against_s, table[family_factor], size=16, legend=False)
right.axhline(0, color="black", lw=0.8)
right.set(xlabel="train progress", ylabel="gap: train to test less floor")
plots.figure_legend(fig, right)
plots.save_figure(fig, atlas.figure_path("48_gap.png"), alt=alt)

# %% [markdown]
# On the left, a dot on the diagonal is a network whose train and test predictions differ by no more than the pairing alone explains. The distance above the diagonal is the generalisation gap. On the right is this gap alone, on a different scale.
#
# ## What we learned

# %%
spread = judged.agg(["min", "max"])
agree = judged.iloc[:, 4].min()
lowest, highest = spread.to_numpy()
print(
    f"3 axes explain {100 * judged.iloc[0, 0]:.0f} % of the joint stress "
    f"({100 * lowest[0]:.0f} to {100 * highest[0]:.0f} over pairings); "
    f"shuffled within classes, {100 * null_stress:.0f} %."
)
print(
    "The pictures of all pairings agree with the first to at least "
    f"{agree:.3f} (correlation of three axes)."
)

# %%
for name, share in mixing.items():
    real, null = share.values()
    print(
        f"Neighbours of the same split, {name}: "
        f"{100 * real:.0f} %; null {100 * null:.0f} %."
    )
print(f"  Over pairings, late: {100 * lowest[2]:.0f} to {100 * highest[2]:.0f} %.")

# %% tags=["answer"]
beyond = "more" if p_value < 0.05 else "no more"
print(
    "Without any pairing, the Hellinger gap between train and test grows from "
    f"{np.median(at_start):.5f} early to {np.median(at_end):.5f} late; that is "
    f"{beyond} than random divisions of the samples give (p = {p_value:.3f})."
)
print(
    f"Late points are {to_truth[0]:.3f} nats from the train truth "
    f"and {to_truth[1]:.3f} from the test truth."
)

# %%
print(
    "The late floor, the cost of pairing alone, "
    f"is {np.median(floor[s > late_above]):.4f}."
)
print(
    "The paper shows the joint picture without a number; "
    "on CIFAR-10 its test points end .58 from truth."
)

# %% tags=["hide-input"]
ends_of = {"early": at_start, "late": at_end}
bounds = {name: (np.nan, np.nan) for name in ends_of}
bounds |= {
    name: statistics.bootstrap_interval(v, np.median, rng=rng)
    for name, v in ends_of.items()
    if len(v)
}
parts = {"early": "below 0.3", "late": "above 0.8"}
noted = {
    name: f"Hellinger, no pairing; {part} of the largest progress"
    for name, part in parts.items()
}

# %% tags=["hide-input"]
results = {
    f"gap_{name}": claims.result(
        np.median(v),
        low=bounds[name][0],
        high=bounds[name][1],
        n=len(v),
        note=noted[name],
    )
    for name, v in ends_of.items()
}
results["gap_late_p"] = claims.result(
    p_value, n=n_null, note="permutation of train and test samples within class"
)

# %% tags=["hide-input"]
about = {"n": len(both), "note": "samples shuffled within classes"}
results["joint_stress_3_null"] = claims.result(null_stress, **about)

# %% tags=["hide-input"]
columns = {"joint_stress_3": 0, "same_split_early": 1, "same_split_late": 2}
for name, k in columns.items():
    about = {
        "low": lowest[k],
        "high": highest[k],
        "n": len(both),
        "note": "interval: over pairings",
    }
    results[name] = claims.result(judged.iloc[0, k], **about)

# %% tags=["hide-input"]
null_late = same_split_share(copies_matrix, late)
results["same_split_late_null"] = claims.result(
    null_late, n=late.sum(), note="train beside itself, re-paired"
)
others = judged.iloc[1:, 4]
about = {"n": len(others), "note": "correlation of 3 axes with the first pairing"}
results["picture_agreement"] = claims.result(
    others.median(), low=others.min(), high=others.max(), **about
)

# %% tags=["hide-input"]
claims.save_results(atlas, "48", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. The null above can be embedded, too. Define `drawn_null_stress`, the explained stress of three axes for the train predictions and their re-paired copies (`copies_matrix`).

# %% tags=["stub"]
drawn_null_stress = ...  # a share from 0 to 1

# %% tags=["solution"]
null_fit = InPCA(n_components=3).fit(copies_matrix)
drawn_null_stress = null_fit.explained_stress_[-1]
drawn_null_stress, fit.explained_stress_[2]

# %% tags=["check"]
assert np.isscalar(drawn_null_stress) and 0 < drawn_null_stress <= 1, (
    f"expected a share from 0 to 1, found {drawn_null_stress!r}"
)

# %% tags=["check", "hidden"]
centre = np.eye(len(copies_matrix)) - 1 / len(copies_matrix)
squares = np.sort(np.linalg.eigvalsh(-centre @ copies_matrix @ centre / 2) ** 2)[::-1]
by_eigenvalues = 1 - np.sqrt(1 - squares[:3].sum() / squares.sum())
assert np.isclose(drawn_null_stress, by_eigenvalues, atol=1e-4), (
    f"expected {by_eigenvalues:.4f}, found {drawn_null_stress}"
)

# %% [markdown]
# 2. Which classes carry the gap? Define `by_class`, a dictionary from each class to the `joint.split_gap` of the last network (the point of `log_probs` with the largest `s`) on the samples of this class.

# %% tags=["stub"]
by_class = ...  # {0: nats, 1: nats, ...}

# %% tags=["solution"]
last_one = {split: values[int(np.argmax(s))] for split, values in log_probs.items()}
by_class = {}
for c in range(n_classes):
    mine = {split: labels[split] == c for split in labels}
    halves = [
        part
        for split in labels
        for part in (last_one[split][mine[split]], labels[split][mine[split]])
    ]
    by_class[c] = joint.split_gap(*halves)[0]
pd.Series(by_class).round(4)

# %% tags=["check"]
assert isinstance(by_class, dict) and set(by_class) == set(range(n_classes)), (
    f"expected a gap for each of {n_classes} classes, found {by_class!r}"
)

# %% tags=["check", "hidden"]
of_0 = {split: labels[split] == 0 for split in ("train", "test")}
top = int(np.argmax(s))
train_0 = log_probs["train"][top][of_0["train"]], labels["train"][of_0["train"]]
test_0 = log_probs["test"][top][of_0["test"]], labels["test"][of_0["test"]]
known_gap = joint.split_gap(*train_0, *test_0)[0]
assert np.isclose(by_class[0], known_gap, equal_nan=True), (
    f"expected {known_gap:.5f} for class 0, found {by_class[0]}"
)

# %% [markdown]
# 3. Is the gap a function of the generalisation error? Define `relation`, the rank correlation of `gap` with test error minus train error (of `table`), over the points with progress `s` above half of its largest value.

# %% tags=["stub"]
relation = ...  # a number from -1 to 1, or not a number

# %% tags=["solution"]
excess_error = (table.error_test - table.error_train).to_numpy()
second_half = s > 0.5 * s.max()
relation = pd.Series(gap[second_half]).corr(
    pd.Series(excess_error[second_half]), method="spearman"
)
relation

# %% tags=["check"]
assert np.isscalar(relation) and not abs(relation) > 1, (
    f"expected a correlation, found {relation!r}"
)

# %% tags=["check", "hidden"]
late_half = np.asarray(s) > 0.5 * np.max(s)
ranks = pd.DataFrame({"gap": gap, "error": table.error_test.to_numpy()})
ranks["error"] -= table.error_train.to_numpy()
known_relation = ranks[late_half].rank().corr().iloc[0, 1]
assert np.isclose(relation, known_relation, equal_nan=True), (
    f"expected {known_relation:.4f}, found {relation}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Train and test samples are different samples. How can predictions on them be compared at all?
#
# <details><summary>Answer</summary>By pairing samples of the same class, many times at random. What remains as distance between two halves of the train predictions under this pairing is the floor, and only what exceeds it is a gap.</details>
#
# **2.** What would the joint picture show for a network that memorises?
#
# <details><summary>Answer</summary>Its train predictions would reach truth and its test predictions would not, so that the two ends separate. The gap would grow late in training.</details>

# %% [markdown]
# ## What next
#
# Chapter 49 looks at the directions in which networks leave ignorance and arrive at truth. Chapter 62 takes generalisation further.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. The joint figure.
# * [Szekely2013] Szekely and Rizzo, *Energy statistics: a class of statistics based on distances*, Journal of Statistical Planning and Inference 143, 2013. For cross minus floor.
# * [Schoenberg1938] Schoenberg, *Metric spaces and positive definite functions*, Transactions of the American Mathematical Society 44, 1938. For when a distance is a squared Euclidean one.
