# %% [markdown]
# # Which mean of many networks is best, and where does it lie?
#
# **What.** Six averages of the predictions of many networks: at the end of training and along the whole way.
# **Figure of the paper.** The appendix on averages of trajectories (E.4).
# **Answer.** The chapter computes by how much averaging changes the error, whether the six means differ by more than the choice of networks and test samples, and whether they come in the paper's order; it does the same for the loss.
#
# | | |
# |---|---|
# | Goals | know six means of distributions and what each minimises; place a mean in an embedding; compare an ordering with an interval |
# | Prerequisites | chapters 31 and 41 (essential), Kullback-Leibler divergence (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | predictions/, distances/; figures, results/50.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.trajectories import METHODS, average, of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
max_members = 30  # networks of one family that are averaged, as in the paper
n_resamples = 30  # draws of members and of test samples for the intervals
n_points = 600  # points that define the embedding
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)

# %% tags=["hide-input"]
paper = {"arithmetic": 0.2495, "bhattacharyya": 0.2314, "square_root": 0.2279}
paper |= {"jeffreys": 0.2269, "geometric": 0.2091, "harmonic": 0.1895}
assert set(paper) == set(METHODS)
print(
    f"{len(METHODS)} means, {n_resamples} draws of runs and test samples; the "
    "paper's numbers are for 30 allcnn networks on CIFAR-10"
)

# %% [markdown]
# ## What is a mean of predictions?
#
# Two networks predict (.9, .1) and (.5, .5). What is their mean? *Guess, before you run the cell, which mean is most confident.*

# %%
two = np.log([[[[0.9, 0.1]]], [[[0.5, 0.5]]]])
first_class = {method: np.exp(average(two, method))[0, 0, 0] for method in paper}
pd.Series(first_class, name="probability of the first class").round(4)

# %% [markdown]
# Each mean $c$ minimises something. The arithmetic mean minimises $\sum_r KL(p_r \| c)$, the geometric one $\sum_r KL(c \| p_r)$, Jeffreys' mean the sum of both, and Bhattacharyya's $\sum_r d_B(p_r, c)$. We check the last: among the six, it must have the least mean distance to its members.
#
# ## What do we load?
#
# The final predictions of the trained runs of the main grid (train error at most 10 %, if there are two such runs), by family. If the atlas has no test predictions, the means are judged on its train samples instead.

# %%
first_split, judged_on = atlas.splits[0], atlas.splits[-1]
finals = atlas.table("main").groupby("run", sort=False).tail(1)
enough = (
    finals[finals[f"error_{first_split}"] <= 0.1]
    .groupby(family_factor)
    .filter(lambda group: len(group) >= 2)
)
by_family = (enough if len(enough) else finals).groupby(family_factor)

# %%
members_of = {a: group.head(max_members) for a, group in by_family if len(group) >= 2}
members_of = members_of or {"all runs": finals.head(max_members)}  # no family has two
labels = atlas.labels(judged_on)
last = {
    a: np.stack([atlas.run_log_probs(run, judged_on)[-1:] for run in group.run])
    for a, group in members_of.items()
}
print({a: values.shape for a, values in last.items()})

# %%
some = next(iter(last.values()))
to_members = pd.Series(
    {method: pairwise(average(some, method), some[:, 0]).mean() for method in paper}
)
print(to_members.round(6).to_dict())
assert to_members["bhattacharyya"] <= to_members.min() + 1e-9


# %% [markdown]
# ## Which mean is right most often?
#
# The table gives the test error of each mean, for each family, and the mean error of its members. For the intervals, members and test samples are drawn again, both with replacement: on a small test set a single sample changes the error visibly.

# %% tags=["lesson"]
def scores(values, samples):
    y = labels[samples]
    means = {method: average(values[:, :, samples], method)[0] for method in paper}
    error = {
        method: np.mean(mean.argmax(axis=1) != y) for method, mean in means.items()
    }
    loss = {
        method: -mean[np.arange(len(y)), y].mean() for method, mean in means.items()
    }
    return pd.DataFrame({"error": error, "loss": loss})


# %%
everything = np.arange(len(labels))
found = pd.concat(
    {a: scores(values, everything) for a, values in last.items()}
).unstack(level=0)

# %%
single = pd.Series(
    {a: np.mean(values[:, 0].argmax(axis=2) != labels) for a, values in last.items()}
)
order = list(paper)
found["error"].T[order].assign(single_run=single).round(4)

# %%
drawn = []
for _ in range(n_resamples):
    samples = rng.integers(len(labels), size=len(labels))
    members = {
        a: values[rng.integers(len(values), size=len(values))]
        for a, values in last.items()
    }
    drawn.append(
        pd.concat(
            {a: scores(values, samples) for a, values in members.items()}
        ).unstack(level=0)
    )

# %%
print(
    f"{sum(map(len, last.values()))} runs, {len(labels)} {judged_on} samples; one "
    f"sample is {100 / len(labels):.2f} points of error; single runs "
    f"{100 * single.mean():.2f} % on average"
)

# %%
kinds = ("error", "loss")
relative = {
    kind: found[kind].div(found[kind].loc["arithmetic"]).replace(np.inf, np.nan)
    for kind in kinds
}

# %%
pooled = {
    kind: found[kind].mean(axis=1) / found[kind].loc["arithmetic"].mean()
    for kind in relative
}

# %%
limits = {}
for kind in relative:
    means_of_draws = np.array([d[kind].loc[order].mean(axis=1) for d in drawn])
    some_error = (means_of_draws[:, :1] > 0).all()
    scale = means_of_draws[:, :1] if some_error else np.nan
    limits[kind] = statistics.interval(means_of_draws / scale)

# %% tags=["hide-input"]
alt = (
    f"{judged_on.title()} error (left) and loss (right) of six means of "
    f"{sum(map(len, last.values()))} runs, divided by those of the arithmetic mean: "
    "coloured markers are families, black diamonds all of them with 95 % of the "
    "draws, grey crosses the paper's errors on CIFAR-10."
)

# %% tags=["hide-input"]
ratio_of_paper = [paper[m] / paper["arithmetic"] for m in order]
labels_of_order = [m.replace("_", " ") for m in order]
heights = np.arange(len(order))
above, highest = heights - 0.18, heights - 0.36  # all families, and the paper
offsets = dict(zip(last, np.linspace(0, 0.36, len(last)), strict=True))
diamond = {"fmt": "kD", "ms": 7, "lw": 2.2, "capsize": 4, "label": "all families"}
cross = {"color": "0.45", "marker": "x", "ms": 8, "mew": 2, "ls": ""}
looks, no_error = {}, "the arithmetic mean makes no error"
for a in last:
    colour, marker, _ = plots.style_of(a, list(last), family_factor)
    looks[a] = {"color": colour, "marker": marker, "ls": "", "ms": 5}
    looks[a]["label"] = f"{a} ({len(last[a])} runs)"

# %% [markdown]
# The paper's errors are those of other networks on other data, so the numbers themselves cannot be compared. But we can compare each mean with the arithmetic one: a ratio of 1 means as many errors as the arithmetic mean makes. The next figure shows these ratios for errors and for losses. In the paper the harmonic mean is best and the arithmetic one worst. *Prediction:* will it be the same here?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 6.6), sharey=True)
for ax, kind in zip(axes, kinds, strict=True):
    for a, look in looks.items():
        ax.plot(relative[kind].loc[order, a], heights + offsets[a], **look)
    middle = pooled[kind][order].to_numpy()
    ax.errorbar(middle, above, xerr=np.abs(limits[kind] - middle), **diamond)
    ax.set_title("" if np.isfinite(middle).all() else no_error, fontsize=10)
    ax.set_xlabel(f"{judged_on} {kind} / that of the arithmetic mean")
    ax.axvline(1, color="0.4", lw=1)
    [ax.axhspan(y - 0.5, y + 0.5, color="0.96", lw=0, zorder=0) for y in heights[::2]]
    ax.grid(visible=False, axis="y")
axes[0].plot(ratio_of_paper, highest, label="paper, CIFAR-10", **cross)
axes[0].set(ylim=(len(order) - 0.5, -0.5), yticks=heights, yticklabels=labels_of_order)
plots.figure_legend(fig, axes[0])
plots.save_figure(fig, atlas.figure_path("50_errors.png"), alt=alt)

# %% [markdown]
# To the left of 1 a mean is better than the arithmetic one, to the right of it worse. Each mean has one band. Coloured markers are families, one below the other so that all can be seen. Black diamonds are all families together, with bars over draws of runs and test samples, and grey crosses are the paper's errors. A bar that contains 1 means that these data do not tell the two means apart. A family whose arithmetic mean makes no error has no ratio and no marker on the left. The loss separates the means more clearly than the error, since every sample counts and not only those whose class changes: a mean can be more confident where it is right without being right more often.
#
# How similar are the orders? Kendall's rank correlation compares our order with the paper's: 1 is the same order, -1 the reverse. For the two ends we also give the difference: the error of the harmonic mean minus that of the arithmetic one.

# %%
paper_values = [paper[m] for m in order]
taus = {
    kind: kendalltau(paper_values, found[kind].mean(axis=1)[order]).statistic
    for kind in relative
}

# %%
ends = np.array(
    [d["error"].loc[["arithmetic", "harmonic"]].mean(axis=1) for d in drawn]
)
difference = float(
    found["error"].loc["harmonic"].mean() - found["error"].loc["arithmetic"].mean()
)

# %%
low_end, high_end = statistics.interval(ends[:, 1] - ends[:, 0])
print(
    "Kendall's tau with the paper's order:",
    {kind: round(float(t), 2) for kind, t in taus.items()},
)

# %%
print(
    f"Harmonic less arithmetic: {100 * difference:+.2f} "
    f"points ({100 * low_end:+.2f} to {100 * high_end:+.2f}),"
)
print(
    "  an interval that contains 0: these data cannot tell which end is better."
    if low_end <= 0 <= high_end
    else "  an interval without 0: the draws do not explain the difference."
)

# %% [markdown]
# Where only a handful of samples change their class, tau means little, so we base no verdict on it.
#
# ## Where do the means lie?
#
# We take the runs of one family at equal progress, average them in six ways at each value, and place the means in the test embedding. We go as far as three quarters of the runs get on test samples and leave out the other runs, so that all members are at the same progress. *Prediction:* is the mean nearer to truth or to ignorance than its members?

# %%
largest, clock = max(last, key=lambda a: len(last[a])), f"progress_{judged_on}"
top = float(members_of[largest][clock].quantile(0.25))
runs = list(members_of[largest].run[members_of[largest][clock] >= top])
grid = np.linspace(min(0.1, top / 2), top, 9)
way = of_atlas.resampled(atlas, judged_on, runs, grid)
means = {method: average(way, method) for method in paper}
print(f"{largest}: {len(way)} runs at {len(grid)} values of {judged_on} progress")

# %%
table = atlas.table("main")
near = embedding.to_truth(atlas, table) < embedding.outlier_limit(atlas.n_classes)
table = table[near]
rows = table.index.to_numpy()[:: max(1, len(table) // n_points)]
fit = InPCA(n_components=3).fit(
    np.asarray(embedding.select(atlas.distances(judged_on), rows), dtype=float)
)

# %%
known = np.asarray(atlas.log_probs(judged_on)[rows])
placed = {
    method: fit.transform(pairwise(mean, known)) for method, mean in means.items()
}
places_of_members = fit.transform(pairwise(way.reshape(-1, *way.shape[2:]), known))

# %% [markdown]
# The right panel of the figure below enlarges the last three steps of the means.

# %% tags=["hide-input"]
lasts = np.concatenate([where[-3:, :2] for where in placed.values()])
window = np.array([lasts.min(axis=0) - 0.03, lasts.max(axis=0) + 0.03])
alt = (
    f"Embedding of {judged_on} predictions in grey, runs of {largest} "
    "darker, and the six means of these runs along the way as "
    "coloured lines; on the right the last steps enlarged."
)

# %% [markdown]
# The next figure shows the paths of the six means among their members.

# %% tags=["hide-input"]
_, straight = embedding.road(atlas, judged_on)
reference = fit.transform(pairwise(straight, known))
grey, darker = fit.embedding_[:, :2], places_of_members[:, :2]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax in axes:
    ax.scatter(*grey.T, s=5, color="0.85", linewidths=0)
    label = f"{largest}, {len(runs)} runs"
    ax.scatter(*darker.T, s=12, color="0.5", linewidths=0, label=label)
    for k, (method, where) in enumerate(placed.items()):
        colour, marker, dash = plots.numbered_style(k)
        look = {"color": colour, "marker": marker, "ls": dash, "ms": 7}
        ax.plot(*where[:, :2].T, label=method.replace("_", " "), **look)
    plots.plot_reference(ax, reference, names=False)
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
axes[1].set_aspect("equal", adjustable="box")
axes[1].set(xlim=window[:, 0], ylim=window[:, 1])
plots.figure_legend(fig, axes[0], ncols=4)
plots.save_figure(fig, atlas.figure_path("50_places.png"), alt=alt)

# %% [markdown]
# Light grey are all test points, dark grey the averaged runs. Each marker is one mean at one value of its members' progress; where the markers of a step lie apart, the means disagree. The table shows each mean at the last value: its own progress, and its distances to truth and to its members.

# %%
each = np.arange(len(labels))
stand = {}
for method, mean in means.items():
    to_truth = -mean[-1][each, labels].mean() / 2
    near = pairwise(mean[-1:], way[:, -1]).mean()
    stand[method] = {
        "progress": progress(mean[-1:], labels)[0],
        "to_truth": to_truth,
        "to_members": near,
    }
stand = pd.DataFrame(stand).T

# %%
member_truth = -way[:, -1][:, each, labels].mean() / 2
print(f"members: progress {grid[-1]:.3f}, {member_truth:.3f} nats to truth on average")
stand.round(4)

# %% [markdown]
# Two of these means must be nearer to truth than their members are on average. The loss of a product of probabilities is the members' mean loss; the geometric mean is such a product, divided by a sum that is at most 1, which can only raise it. And the arithmetic mean of probabilities is at least their plain geometric one (Jensen). We check both. Progress is different: it is defined by the nearest point of the geodesic in angle, and a mean that is nearer to truth in nats may have less progress.

# %%
assert stand.to_truth[["arithmetic", "geometric"]].max() <= member_truth + 1e-6
back = stand.index[stand.progress < grid[-1]]
print(f"further back than their members in progress: {', '.join(back) or 'none'}")

# %% [markdown]
# ## What we learned

# %%
mean_error = found["error"].mean(axis=1)[order]
gain = single.mean() - mean_error.mean()
between_means = mean_error.max() - mean_error.min()
least = ", ".join(mean_error.index[mean_error == mean_error.min()])

# %%
n_members = sum(len(values) for values in last.values())
print(
    f"Averaging the runs of a family ({n_members} runs of {len(last)} families) "
    f"{'lowers' if gain >= 0 else 'raises'} the {judged_on} error by "
    f"{100 * abs(gain):.2f} points; the six means differ by {100 * between_means:.2f}."
)

# %%
print(
    f"The {judged_on} error is least for {least} and largest for "
    f"{mean_error.idxmax()}; in the paper, for harmonic and arithmetic."
)
mean_loss = found["loss"].mean(axis=1)
print(
    f"The {judged_on} loss is least for {mean_loss.idxmin()} and largest for "
    f"{mean_loss.idxmax()}."
)

# %%
print(
    "Kendall's tau with the paper's order:",
    ", ".join(f"by {kind} {t:.2f}" for kind, t in taus.items()),
)

# %%
told = "more than the draws explain"
if low_end <= 0 <= high_end:
    told = "these data cannot tell which is better"
paper_difference = paper["harmonic"] - paper["arithmetic"]
interval = f"{100 * low_end:+.2f} to {100 * high_end:+.2f}"

# %%
print(
    f"Harmonic less arithmetic: {100 * difference:+.2f} "
    f"points of error ({interval}), {told}; in the paper it is "
    f"{100 * paper_difference:+.1f} points."
)
print(f"The mean nearest to truth is {stand.to_truth.idxmin()}.")

# %% tags=["hide-input"]
of_runs = f"n: runs averaged; 95 % over {n_resamples} draws of them and of samples"
note = f"{of_runs}; paper {paper_difference:.4f}"
about = {"low": low_end, "high": high_end, "n": n_members, "note": note}
results = {"harmonic_less_arithmetic": claims.result(difference, **about)}
for kind, t in taus.items():
    note = f"n: runs averaged; tau of {len(order)} means with the paper's order"
    results[f"order_agreement_{kind}"] = claims.result(t, n=n_members, note=note)

# %% tags=["hide-input"]
for method in order:
    low, high = statistics.interval([d["error"].loc[method].mean() for d in drawn])
    note = f"{of_runs}; paper {paper[method]} (30 allcnn, CIFAR-10)"
    results[f"error_{method}"] = claims.result(
        mean_error[method], low=low, high=high, n=n_members, note=note
    )
    note = f"n: runs of {largest} averaged, at progress {grid[-1]:.2f}"
    results[f"to_truth_{method}"] = claims.result(
        stand.to_truth[method], n=len(runs), unit="nats", note=note
    )
note = "n: runs, each by itself"
results["error_single"] = claims.result(single.mean(), n=n_members, note=note)
claims.save_results(atlas, "50", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. How many members does it take? Define `by_size`, a list with the error of the arithmetic mean of the first $n$ members of the family `largest`, for each $n$ of `sizes`.

# %% tags=["stub"]
sizes = [n for n in (1, 2, 4, 8, 16, 32) if n <= len(last[largest])]  # given
by_size = ...  # a list of errors

# %% tags=["solution"]
by_size = [
    np.mean(average(last[largest][:n], "arithmetic")[0].argmax(axis=1) != labels)
    for n in sizes
]
dict(zip(sizes, np.round(by_size, 4).tolist(), strict=True))

# %% tags=["check"]
assert np.shape(by_size) == (len(sizes),), (
    f"expected {len(sizes)} errors, found {by_size!r}"
)

# %% tags=["check", "hidden"]
roots = [np.exp(last[largest][:n].astype(float)).mean(axis=0) for n in sizes]
known_errors = [np.mean(p.reshape(len(labels), -1).argmax(1) != labels) for p in roots]
assert np.allclose(by_size, known_errors, atol=2.5 / len(labels)), (
    f"expected {known_errors}, found {by_size}"
)

# %% [markdown]
# 2. Show by number that the arithmetic mean minimises $\sum_r KL(p_r\|c)$ and the geometric one $\sum_r KL(c\|p_r)$ among the six. Define `forward` and `backward`, dictionaries from each method of `paper` to the mean of these divergences over runs and samples. Use the runs `some[:, 0]`.

# %% tags=["stub"]
forward = ...  # {method: nats}
backward = ...  # {method: nats}

# %% tags=["solution"]
centres = {method: average(some, method)[0] for method in paper}
forward = {
    m: float((np.exp(some[:, 0]) * (some[:, 0] - c)).sum(axis=2).mean())
    for m, c in centres.items()
}
backward = {
    m: float((np.exp(c) * (c - some[:, 0])).sum(axis=2).mean())
    for m, c in centres.items()
}
forward, backward

# %% tags=["check"]
assert isinstance(forward, dict) and set(forward) == set(paper), (
    f"expected a number for each of {list(paper)}, found {forward!r}"
)
assert isinstance(backward, dict) and set(backward) == set(paper), (
    f"expected a number for each of {list(paper)}, found {backward!r}"
)

# %% tags=["check", "hidden"]
best_two = min(forward, key=forward.get), min(backward, key=backward.get)
assert best_two == ("arithmetic", "geometric"), (
    f"expected these two to be least, found {best_two}"
)
logs = some[:, 0].astype(float)
mixture = np.exp(logs).mean(axis=0)
excess = np.sum(np.exp(logs) * (logs - np.log(mixture)), axis=2).mean()
lost = -np.log(np.exp(logs.mean(axis=0)).sum(axis=1)).mean()
found_two = [forward["arithmetic"], backward["geometric"]]
assert np.allclose(found_two, [excess, lost], rtol=1e-3, atol=1e-6, equal_nan=True), (
    f"expected {[excess, lost]}, found {found_two}"
)

# %% [markdown]
# 3. Average across families instead: take the first run of each. Define `mixed_error`, the error of their arithmetic mean. Is that mean better than as many runs of the best family?

# %% tags=["stub"]
mixed_error = ...  # an error from 0 to 1

# %% tags=["solution"]
mixed = np.stack([values[0] for values in last.values()])
mixed_error = np.mean(average(mixed, "arithmetic")[0].argmax(axis=1) != labels)
of_one_kind = {
    a: np.mean(average(values[: len(mixed)], "arithmetic")[0].argmax(axis=1) != labels)
    for a, values in last.items()
}
mixed_error, of_one_kind

# %% tags=["check"]
assert np.isscalar(mixed_error) and 0 <= mixed_error <= 1, (
    f"expected an error from 0 to 1, found {mixed_error!r}"
)

# %% tags=["check", "hidden"]
voices = [np.exp(values[0].astype(float)) for values in last.values()]
choice = np.mean(voices, axis=0).reshape(len(labels), -1).argmax(axis=1)
known_error = np.mean(choice != labels)
assert np.isclose(mixed_error, known_error, atol=2.5 / len(labels)), (
    f"expected {known_error:.4f}, found {mixed_error}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why is there more than one mean of several networks?
#
# <details><summary>Answer</summary>Each divergence has its own centre: the point with the least total divergence from all. For probabilities these centres differ; they agree only where networks agree.</details>
#
# **2.** An average of many networks is better than its members. Is it one of them?
#
# <details><summary>Answer</summary>No. It is a point that no single network need come near, because averaging smooths the errors that networks do not share.</details>

# %% [markdown]
# ## What next
#
# Chapter 51 asks which conclusions depend on the choice of the divergence.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix on averages (E.4); its numbers are from the authors' notebooks.
# * [Nielsen2011] Nielsen and Boltz, *The Burbea-Rao and Bhattacharyya centroids*, IEEE Transactions on Information Theory 57, 2011.
# * [Nielsen2013] Nielsen, *Jeffreys centroids*, IEEE Signal Processing Letters 20, 2013.
