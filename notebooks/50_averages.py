# %% [markdown]
# # Which mean of many networks is best, and where does it lie?
#
# **What.** Six averages of the predictions of many networks: at the end of training and along the whole way.
# **Figure of the paper.** The appendix on averages of trajectories (E.4).
# **Answer.** Means that listen to the least confident member make other errors than the arithmetic one; we compare the order with the paper's.
#
# | | |
# |---|---|
# | Goals | know six means of distributions and what each minimises; place a mean in an embedding; compare an ordering with an interval |
# | Prerequisites | chapters 31 and 41 (essential), Kullback-Leibler divergence (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | predictions/*, distances/*; figures, results/50.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.embedding import road, select
from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA
from manifold_utils.reparametrise import resampled
from manifold_utils.trajectories import METHODS, average

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
max_members = 30  # networks of one architecture that are averaged; the paper averaged 30
n_resamples = 20  # draws of members for the intervals
n_points = 600  # points that define the embedding
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
paper = {"arithmetic": 0.2495, "bhattacharyya": 0.2314, "square_root": 0.2279, "jeffreys": 0.2269, "geometric": 0.2091, "harmonic": 0.1895}
assert set(paper) == set(METHODS)
print(f"{len(METHODS)} means, {n_resamples} draws of members; the paper's numbers are for 30 allcnn networks on CIFAR-10")

# %% [markdown]
# ## What is a mean of predictions?
#
# Two networks say (.9, .1) and (.5, .5). What do they say together? *Guess, before you run the cell, which mean is most confident.*

# %%
two = np.log([[[[0.9, 0.1]]], [[[0.5, 0.5]]]])
pd.Series({method: np.exp(average(two, method))[0, 0, 0] for method in paper}, name="probability of the first class").round(4)

# %% [markdown]
# Each is the answer to a question. The arithmetic mean is nearest in $\sum_r KL(p_r \| c)$, the geometric one in $\sum_r KL(c \| p_r)$, Jeffreys' in both together, and Bhattacharyya's in $\sum_r d_B(p_r, c)$. We check the last in the open: among the six, it must have the least mean distance to its members.
#
# ## What do we load?
#
# The final predictions of the trained runs of the main grid (train error at most 10 %, if there are two such runs), by architecture.

# %%
finals = atlas.table("main").groupby("run", sort=False).tail(1)
enough = finals[finals.error_train <= 0.1].groupby("architecture").filter(lambda group: len(group) >= 2)
members_of = {a: group.head(max_members) for a, group in (enough if len(enough) else finals).groupby("architecture") if len(group) >= 2}
labels = atlas.labels("test")
last = {a: np.stack([atlas.run_log_probs(run, "test")[-1:] for run in group.run]) for a, group in members_of.items()}
print({a: values.shape for a, values in last.items()})

# %%
some = next(iter(last.values()))
to_members = pd.Series({method: pairwise(average(some, method), some[:, 0]).mean() for method in paper}, name="mean d_B to the members")
print(to_members.round(6).to_dict())
assert to_members["bhattacharyya"] <= to_members.min() + 1e-9


# %% [markdown]
# ## Which mean is right most often?
#
# The test error of each mean, for each architecture, beside the mean error of its members. Members are drawn again for the intervals.

# %% tags=["lesson"]
def scores(values):
    means = {method: average(values, method)[0] for method in paper}
    error = {method: np.mean(mean.argmax(axis=1) != labels) for method, mean in means.items()}
    loss = {method: -mean[np.arange(len(labels)), labels].mean() for method, mean in means.items()}
    return pd.DataFrame({"error": error, "loss": loss})


# %%
found = {a: scores(values) for a, values in last.items()}
single = {a: np.mean(values[:, 0].argmax(axis=2) != labels) for a, values in last.items()}
drawn = {a: np.stack([scores(values[rng.integers(len(values), size=len(values))]).error for _ in range(n_resamples)]) for a, values in last.items()}
errors = pd.DataFrame({a: frame.error for a, frame in found.items()}).T
errors.assign(single_run=pd.Series(single)).round(4)

# %% [markdown]
# The paper's six numbers differ by a factor of 1.3, and its order is arithmetic worst, harmonic best. The figure draws the six errors of each architecture, and the paper's on an axis of their own at the right: only the order is to be compared. *Prediction:* will it be the same?

# %%
order = list(paper)

# %%
fig, axes = plt.subplots(1, 2, figsize=(13, 4.3))
twin = axes[0].twinx()
for a in last:
    colour, marker, dash = plots.style_of(a, list(last))
    axes[0].plot(order, errors.loc[a, order], color=colour, marker=marker, ls=dash, label=f"{a} (n = {len(last[a])})")
    axes[0].axhline(single[a], color=colour, lw=0.8, alpha=0.5)
    axes[1].plot(order, found[a].loss[order], color=colour, marker=marker, ls=dash)
axes[0].set(ylabel="test error of the mean", ylim=(0, None))
axes[1].set(ylabel="test loss of the mean (nats)", yscale="log")
twin.plot(order, [paper[m] for m in order], "k--", marker="x", label="paper, CIFAR-10 (right axis)")
twin.set(ylabel="paper: test error", ylim=(0, None))
twin.grid(visible=False)
[ax.tick_params(axis="x", rotation=30) for ax in axes]
fig.legend(loc="outside upper center", ncols=4, fontsize=9)
plots.save_figure(fig, atlas.figure_path("50_errors.png"), alt="Test error and test loss of six means for each architecture; horizontal lines are the mean error of single runs, the black dashed line the paper's errors on CIFAR-10.")

# %% [markdown]
# Horizontal lines are the mean error of the single runs. All six means tend to lie below them: that is the gain of an ensemble, and it is larger than the differences between the means. The black line, on its own axis, is the paper's order.
#
# How alike are the orders? Kendall's rank correlation: 1 is the paper's order, -1 the reverse. Its interval comes from the draws of members.

# %%
paper_values = np.array([paper[m] for m in order])


# %% tags=["lesson"]
def agreement(error_of_means):
    return kendalltau(paper_values, error_of_means).statistic if np.ptp(error_of_means) else np.nan


# %%
mean_error = errors[order].mean().to_numpy()
tau = agreement(mean_error)
columns = [list(METHODS).index(m) if list(found[next(iter(last))].index) == list(METHODS) else order.index(m) for m in order]
draws = np.array([agreement(np.mean([drawn[a][k] for a in last], axis=0)[columns]) for k in range(n_resamples)])
tau_low, tau_high = np.nanquantile(draws, [0.025, 0.975]) if np.isfinite(draws).any() else (np.nan, np.nan)
print(f"Kendall's tau with the paper's order: {tau:.2f} ({tau_low:.2f} to {tau_high:.2f}); errors {dict(zip(order, mean_error.round(4).tolist(), strict=True))}")

# %% [markdown]
# If the interval holds 0, these data cannot tell. The loss separates the means more clearly than the error, since every sample counts and not only those that change sides.
#
# ## Where do the means lie?
#
# Along the way: the runs of one architecture at equal progress, averaged six ways at each value, and placed in the test embedding. *Prediction:* is the mean nearer to truth or to ignorance than its members?

# %%
architecture = max(last, key=lambda a: len(last[a]))
grid = np.linspace(0.1, float(members_of[architecture].progress_train.median()), 9)
runs = list(members_of[architecture].run[:max_members])
way = resampled(atlas, "test", runs, grid) if runs else None
means = {method: average(way, method) for method in paper}
print(f"{architecture}: {way.shape[0]} runs at {len(grid)} values of test progress")

# %%
table = atlas.table("main")
table = table[table.loss_train / 2 < 2]
rows = table.index.to_numpy()[:: max(1, len(table) // n_points)]
fit = InPCA(n_components=3).fit(np.asarray(select(atlas.distances("test"), rows), dtype=float))
known = np.asarray(atlas.log_probs("test")[rows])
placed = {method: fit.transform(pairwise(mean, known)) for method, mean in means.items()}
members = fit.transform(pairwise(way.reshape(-1, *way.shape[2:]), known))

# %% [markdown]
# The next figure draws the six ways of the means among their members.

# %%
fig, ax = plt.subplots(figsize=(8.5, 4.8))
ax.scatter(*fit.embedding_[:, :2].T, s=3, color="0.85", linewidths=0)
ax.scatter(*members[:, :2].T, s=5, color="0.55", linewidths=0, label=f"{architecture}, {len(runs)} runs")
for k, (method, place) in enumerate(placed.items()):
    colour, marker, dash = plots.FACTOR_STYLES[k]
    ax.plot(*place[:, :2].T, color=colour, marker=marker, ls=dash, ms=5, label=method)
plots.plot_reference(ax, fit.transform(pairwise(road(atlas, "test")[1], known)), names=False)
plots.label_embedding(ax, fit.eigenvalues_)
ax.legend(fontsize=9)
plots.save_figure(fig, atlas.figure_path("50_places.png"), alt="Test embedding in grey, runs of one architecture darker, and the six means of these runs along the way as coloured lines.")

# %% [markdown]
# Light grey are all test points, dark grey the averaged runs. The table says where each mean stands at the last value of progress: its own progress, its distance to truth and to its members.

# %%
stand = pd.DataFrame({method: {"progress": progress(mean[-1:], labels)[0], "to_truth": -mean[-1][np.arange(len(labels)), labels].mean() / 2, "to_members": pairwise(mean[-1:], way[:, -1]).mean()} for method, mean in means.items()}).T
member_truth = -way[:, -1][:, np.arange(len(labels)), labels].mean() / 2
print(f"members: progress {grid[-1]:.3f}, {member_truth:.3f} nats to truth on average")
stand.round(4)

# %% [markdown]
# A mean stands nearer to truth than its members do on average: for every mean that is at least the geometric one, $-\log$ is convex, and Jensen's inequality says so for the arithmetic mean in general. We check that one.

# %%
assert stand.to_truth["arithmetic"] <= member_truth + 1e-6

# %% [markdown]
# ## What we learned

# %%
best, worst = errors[order].mean().idxmin(), errors[order].mean().idxmax()
gain = float(np.mean([single[a] - errors.loc[a].mean() for a in last]))
between_means = float(errors[order].mean().max() - errors[order].mean().min())
print(f"Over {len(last)} architectures, least test error: {best}; most: {worst}. Paper: harmonic least, arithmetic most.")
print(f"Averaging lowers the error by {100 * gain:.2f} points; the six means differ by {100 * between_means:.2f} points. Paper: {100 * (max(paper.values()) - min(paper.values())):.1f} points between means.")
print(f"Kendall's tau with the paper's order {tau:.2f} ({tau_low:.2f} to {tau_high:.2f}); the mean nearest to truth is {stand.to_truth.idxmin()}.")

# %%
results = {"order_agreement": claims.result(tau, low=tau_low, high=tau_high, n=n_resamples, note="Kendall's tau with the paper's order; draws of members")}
for k, method in enumerate(order):
    over_draws = np.mean([drawn[a][:, columns[k]] for a in last], axis=0)
    low, high = np.quantile(over_draws, [0.025, 0.975])
    results[f"error_{method}"] = claims.result(mean_error[k], low=low, high=high, n=sum(len(v) for v in last.values()), note=f"paper {paper[method]} (30 allcnn, CIFAR-10)")
    results[f"to_truth_{method}"] = claims.result(stand.to_truth[method], n=len(runs), unit="nats")
results["error_single"] = claims.result(np.mean(list(single.values())), n=sum(len(v) for v in last.values()))
claims.save_results(atlas, "50", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. How many members does it take? Give the error of the arithmetic mean of the first 1, 2, 4, ... members of one architecture.

# %% tags=["solution"]
sizes = [n for n in (1, 2, 4, 8, 16, 32) if n <= len(last[architecture])]
by_size = [np.mean(average(last[architecture][:n], "arithmetic")[0].argmax(axis=1) != labels) for n in sizes]
dict(zip(sizes, np.round(by_size, 4).tolist(), strict=True))

# %% tags=["check"]
assert len(by_size) == len(sizes) and all(0 <= e <= 1 for e in by_size)

# %% [markdown]
# 2. Show by number that the arithmetic mean minimises $\sum_r KL(p_r\|c)$ and the geometric one $\sum_r KL(c\|p_r)$ among the six.

# %% tags=["solution"]
centres = {method: average(some, method)[0] for method in paper}
forward = {m: float((np.exp(some[:, 0]) * (some[:, 0] - c)).sum(axis=2).mean()) for m, c in centres.items()}
backward = {m: float((np.exp(c) * (c - some[:, 0])).sum(axis=2).mean()) for m, c in centres.items()}

# %% tags=["check"]
assert min(forward, key=forward.get) == "arithmetic" and min(backward, key=backward.get) == "geometric"

# %% [markdown]
# 3. Average across architectures instead: take one run of each. Is that mean better than as many runs of the best architecture?

# %% tags=["solution"]
mixed = np.stack([values[0] for values in last.values()])
mixed_error = np.mean(average(mixed, "arithmetic")[0].argmax(axis=1) != labels)
of_one_kind = {a: np.mean(average(values[: len(mixed)], "arithmetic")[0].argmax(axis=1) != labels) for a, values in last.items()}
mixed_error, of_one_kind

# %% tags=["check"]
assert 0 <= mixed_error <= 1 and set(of_one_kind) == set(last)

# %% [markdown]
# ## What next
#
# Chapter 51 asks which conclusions depend on the choice of the divergence.
#
# **References.** Mao et al., PNAS 2024, appendix on averages (E.4); its numbers are from the authors' notebooks. Nielsen and Boltz, *The Burbea-Rao and Bhattacharyya centroids*, 2011. Nielsen, *Jeffreys centroids*, 2013.
