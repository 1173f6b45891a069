# %% [markdown]
# # Do networks that are equally far on the train samples know the same things?
#
# **What.** Two comparisons at equal train progress: how much networks know of the test samples, and which samples they learn first.
# **Figure of the paper.** None. The paper compares networks by distance; this chapter looks at what is behind it.
# **Answer.** The share of the difference between families in what they know of the test samples, and the agreement of learning orders by kind of pair, both with a null.
#
# | | |
# |---|---|
# | Goals | compare networks at equal train progress; tell an order of learning from a learning curve; find the null of an agreement |
# | Prerequisites | chapter 31 (essential), 46 and 60 (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | predictions, points.parquet, trajectories/; figures, results/71.json |

# %%
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.statistics import in_words
from manifold_utils.studies import roads
from manifold_utils.studies.generalisation import learned_at, order_agreement

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
half_way = 0.5  # progress that a run must reach, or the last one before it
share = 0.75  # of the runs must reach a value of progress for it to be used
n_null = 399  # exchanges under the null
n_pairs = 400  # pairs of runs of each kind at most
seed = 0  # of exchanges, pairs and the bootstrap

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
labels = {split: atlas.labels(split) for split in ("train", "test")}
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
stream = partial(statistics.stream, seed)  # a generator for each purpose

# %% [markdown]
# ## What do we load?
#
# We load the finished runs of the main grid and the values of train progress that most of them pass. The second half of the chapter is about the runs that get half-way, because the order in which a network learns is only known if it learns.

# %%
everyone, runs, station, walked, configuration = roads.half_way(
    atlas, half_way, share=share
)
last = roads.last_points(atlas, runs)
print(f"{len(everyone)} runs, of which {len(runs)} pass progress {station:.2f}")

# %% [markdown]
# ## Do they know equally much of the test samples?
#
# When a run passes a value of train progress, how far is it from the *test* truth? The *excess* is that distance minus the distance to the train truth at the same moment. If families generalise differently, their excess must differ at equal train progress.

# %%
if not len(walked):
    few = f"no progress is passed by {share:.0%} of {len(everyone)} runs"
    raise claims.NotEnough(few)
to_truth = roads.distances_at(atlas, everyone, walked)
excess = to_truth["test"] - to_truth["train"]
one = roads.distances_at(atlas, everyone.iloc[:1], walked[:1])["train"]
assert np.array_equal(one[0], to_truth["train"][0, :1], equal_nan=True)

# %% [markdown]
# The next figure shows the test distance and the excess by family: median and middle half of the runs, along train progress. *Prediction:* does the excess grow or shrink on the way?

# %% tags=["hide-input"]
curves = {"test distance to truth (nats)": to_truth["test"]}
curves["test minus train distance (nats)"] = excess
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2))
for ax, (name, values) in zip(axes, curves.items(), strict=True):
    plots.plot_quantiles(ax, walked, values, everyone[family_factor], legend=False)
    ax.set(xlabel="train progress s", ylabel=name)
axes[1].axhline(0, color="black", lw=1)
plots.figure_legend(fig, axes[1])
alt = "Test distance to truth, and its excess over train, against train progress."
plots.save_figure(fig, atlas.figure_path("71_gap.png"), alt=alt)


# %% [markdown]
# How much of the variance of the excess lies between families? We compute this share, $\eta^2$, and compare it with a null that exchanges whole configurations between families.

# %% tags=["lesson"]
def between_share(values, families):
    kept = np.isfinite(values)
    values, families = values[kept], families[kept]
    inner = pd.Series(values).groupby(families).transform("mean")
    return np.var(inner) / np.var(values) if np.ptp(values) > 0 else 0.0


# %%
families = everyone[family_factor].astype(str).to_numpy()
number, _ = statistics.configurations(everyone, atlas.design)
exchange = stream("families exchanged")
others = [statistics.exchanged(number, exchange) for _ in range(n_null)]
at_six = np.unique(np.linspace(0, len(walked) - 1, 6).astype(int))

# %%
rows = {}
for k in at_six:
    real_share = between_share(excess[:, k], families)
    heap = [between_share(excess[order, k], families) for order in others]
    about = {"median excess": np.nanmedian(excess[:, k])}
    about["between families"] = real_share
    about |= {"95 % of chance": np.quantile(heap, 0.95)}
    rows[walked[k]] = about | {"p": statistics.p_value(real_share, heap, side="high")}
spread = pd.DataFrame(rows).T.rename_axis("train progress")
spread.round(3)

# %% [markdown]
# Where `between families` exceeds `95 % of chance`, networks that are equally far on the train road differ in what they know of the test samples, and the family has a part in it. The family stands for its width and its learning rates as well, because the grid chose them for each family. The family with the smallest excess need not have the smallest final error, because the excess compares a run with itself at one moment of its way.
#
# ## Do they learn the same samples first?
#
# A sample is *learned* at the first checkpoint from which the run stays right to the end; samples that are never learned come last. The agreement of two runs is the rank correlation (Spearman) of their orders. Some classes are easier than others, so part of any agreement is about classes. The null shuffles the samples of one run within each class, as in chapter 60. Its mean has a closed form: the correlation of the class means.

# %%
orders, agreement, by_class = {}, {}, {}
for split, truth in labels.items():
    each = [learned_at(atlas.run_log_probs(run, split), truth) for run in runs.index]
    orders[split] = np.stack(each)
    agreement[split] = order_agreement(orders[split])
    by_class[split] = order_agreement(orders[split], truth)

# %% [markdown]
# The closed form must agree with real shuffles, within their own error:

# %%
two = orders["train"][[0, -1]]
turns = statistics.permutations_within_class(labels["train"], 300, stream("shuffles"))
shuffled = [order_agreement([two[0], two[1][turn]])[0, 1] for turn in turns]
error_of_mean = np.std(shuffled) / np.sqrt(len(shuffled))
closed_form = order_agreement(two, labels["train"])[0, 1]
if np.isfinite(closed_form):
    assert abs(np.mean(shuffled) - closed_form) <= 5 * error_of_mean + 1e-9

# %% [markdown]
# We compare pairs of runs of different seeds that differ in nothing else, or in one factor. Intervals draw runs, not pairs, since pairs that share a run are not independent.

# %%
pairs = statistics.pairs_of_runs(runs, n_pairs, stream("pairs"), atlas.design)
kinds_of = statistics.kinds_of_pairs(runs, atlas.design)
kinds = [kind for kind in kinds_of if (pairs.kind == kind).any()]
if not kinds:
    raise claims.NotEnough("no two runs differ in the seed or in one factor alone")

# %%
agreed = {}
for split, kind in [(split, kind) for split in labels for kind in kinds]:
    ends = pairs[pairs.kind == kind][["first", "second"]].reset_index(drop=True)
    u, v = ends.to_numpy().T
    real, ones = ends.assign(value=agreement[split][u, v]), ends.assign(value=1.0)
    found = statistics.ratio_over_runs(real, ones, rng=stream("agreement"))
    null = np.nanmean(by_class[split][u, v]) if np.isfinite(found[0]) else np.nan
    agreed[split, kind] = (*found, null, len(u))
columns = ["agreement", "low", "high", "within class", "pairs"]
agreed = pd.DataFrame.from_dict(agreed, orient="index", columns=columns)
agreed.index = pd.MultiIndex.from_tuples(agreed.index)

# %% [markdown]
# The next figure gives each kind of pair its agreement and its verdict: it *holds beyond the null* if the whole interval lies above what the classes alone would make. *Prediction:* do networks of different families still agree?

# %% tags=["hide-input"]
low, high = agreed.low - agreed["within class"], agreed.high - agreed["within class"]
agreed["verdict"] = [statistics.verdict(*e) for e in zip(low, high, strict=True)]
said = [in_words(*row) for row in agreed[["agreement", "low", "high"]].to_numpy()]
null_said = [f"; classes alone {x:.2f}" for x in agreed["within class"]]
agreed["number"] = [a + b for a, b in zip(said, null_said, strict=True)]
tables = [agreed[part].unstack(0, sort=False) for part in ("verdict", "number")]
tables = [table.add_suffix(" samples") for table in tables]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 0.6 + 0.65 * len(kinds)))
plots.plot_verdicts(ax, *tables)
alt = "Agreement of learning orders by kind of pair, on train and on test samples."
plots.save_figure(fig, atlas.figure_path("71_order.png"), alt=alt)

# %% [markdown]
# Agreements stay well below 1 for two reasons. Many samples are learned at the same checkpoint, so their order is unknown; and the last steps of training move a few borderline samples at random.
#
# ## Do runs that learn in the common order do better?
#
# For each run we take its mean agreement with the runs of *other* families, on train samples, and set it against its final test error. The order on test samples would not do here, because a sample that is never learned *is* an error.

# %%
levels = runs[family_factor].astype(str).to_numpy()
foreign = np.where(levels[:, None] != levels, agreement["train"], np.nan)
sure = np.isfinite(foreign).any(axis=1)
common = np.nanmean(foreign[sure], axis=1)
test_error = roads.outcomes(last, len(labels["test"]))["test error"][sure]
known = runs[[family_factor]].assign(loss=last.loss_train, error=last.error_train)

# %%
order_and_error = {}
rest_fixed = f"loss, error and {family_name} fixed"
for name, given in {"as it is": None, rest_fixed: known[sure]}.items():
    drawing = {"given": given, "rng": stream("order and error")}
    pair = common, test_error, configuration[sure]
    order_and_error[name] = statistics.rank_association(*pair, **drawing)
order_and_error = pd.DataFrame(order_and_error, index=["rho", "low", "high"]).T
order_and_error.round(2)

# %% [markdown]
# The next figure has a mark for each run. *Prediction:* does the cloud fall to the right?

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.5, 4.2))
plots.plot_marks(ax, common, np.exp(test_error), runs[family_factor][sure])
ax.set(yscale="log", ylabel="final test error")
ax.set_xlabel(f"mean agreement with runs of another {family_name}")
plots.plain_log(ax.yaxis)
plots.figure_legend(fig, ax)
alt = "Final test error of each run against its agreement with runs of other families."
plots.save_figure(fig, atlas.figure_path("71_order_and_error.png"), alt=alt)

# %% [markdown]
# The table has the rank correlation of the two with its 95 % interval, once as it is and once with the final train loss, the final train error and the family held fixed. If the interval contains 0, the data do not show a correlation.
#
# ## What we learned

# %% tags=["hide-input"]
beyond = (agreed.verdict == claims.HOLDS).sum()
print(
    f"Networks learn the samples in {'a similar' if beyond else 'no common'} order: "
    f"in {beyond} of {len(agreed)} cases ({len(kinds)} kinds of pairs, each split) "
    "they agree more than the difficulty of the classes explains."
)
for split in labels:
    of_split = agreed.agreement[split]
    top, least = of_split.idxmax(), of_split.idxmin()
    print(
        f"On {split} samples the agreement is {of_split[top]:.2f} for pairs of {top}"
        + (f" and {of_split[least]:.2f} for pairs of {least}." if top != least else ".")
    )

# %% tags=["hide-input"]
plain = order_and_error.loc["as it is"]
better = "neither better nor worse"
better = "better" if plain.high < 0 else "worse" if plain.low > 0 else better
print(
    f"Runs that learn in the common order do {better} on test samples: "
    f"rank correlation with the test error {in_words(*plain)}, and "
    f"{in_words(*order_and_error.loc[rest_fixed])} with {rest_fixed}."
)

# %% tags=["hide-input"]
for s in spread.index[[0, -1]]:
    between, p = spread.loc[s, ["between families", "p"]]
    print(
        f"At train progress {s:.2f}, {between:.0%} of the variance of the excess lies "
        f"between families, {'more' if p <= 0.05 else 'no more'} than chance gives "
        f"(p = {p:.2g})."
    )

# %% tags=["hide-input"]
n_runs, results = len(everyone), {}
for s, row in spread.iterrows():
    told = f"share of variance of test minus train distance; p = {row.p:.3g}"
    value = claims.result(row["between families"], n=n_runs, note=told)
    results[f"gap_between_families_{s:.2f}"] = value
ends_of = {"low": "low", "high": "high", "n": "pairs"}
ends_of["note"] = "Spearman; 95 %, runs drawn again"
results |= claims.results_of(agreed, "order_{}_{}", "agreement", **ends_of)
ends_of |= {"n": int(sure.sum()), "note": "Spearman; 95 %, configurations drawn again"}
results |= claims.results_of(order_and_error, "order_and_error_{}", "rho", **ends_of)
claims.save_results(atlas, "71", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Where on the road do the families differ most? Define `shares`, the share of the variance of the excess that lies between families at *every* value of train progress in `walked`, and `widest`, the value at which it is largest.

# %% tags=["stub"]
shares = ...  # list, one share for each value of `walked`
widest = ...  # one of the values in `walked`

# %% tags=["solution"]
shares = [between_share(excess[:, k], families) for k in range(len(walked))]
widest = walked[int(np.argmax(shares))]
widest, max(shares)

# %% tags=["check"]
assert np.shape(shares) == (len(walked),), (
    f"expected {len(walked)} shares, found {shares!r}"
)
assert np.isscalar(widest) and np.isclose(walked, widest).any(), (
    f"expected one of the values in `walked`, found {widest!r}"
)

# %% tags=["check", "hidden"]
known_shares = np.array([between_share(column, families) for column in excess.T])
assert np.allclose(shares, known_shares), (
    f"expected {np.round(known_shares[:3], 3)} at first, found {shares[:3]}"
)
at_widest = known_shares[np.isclose(walked, widest)].max()
assert np.isclose(at_widest, known_shares.max()), (
    f"expected the value with a share of {known_shares.max():.3f}, found {widest}"
)

# %% [markdown]
# 2. Which test samples does nearly no run learn? A sample that a run never learns has the run's number of checkpoints as its order. Define `never`, for each test sample the number of runs that never learn it, and `hardest`, the number (from 0) of a sample that most runs never learn.

# %% tags=["stub"]
n_points = atlas.points.groupby("run").size()[runs.index].to_numpy()  # given
never = ...  # array (samples,) of whole numbers
hardest = ...  # a whole number

# %% tags=["solution"]
never = (orders["test"] == n_points[:, None]).sum(axis=0)
hardest = int(never.argmax())
hardest, never[hardest], labels["test"][hardest]

# %% tags=["check"]
assert np.shape(never) == (len(labels["test"]),), (
    f"expected {len(labels['test'])} numbers of runs, found {never!r}"
)
assert isinstance(hardest, int | np.integer), (
    f"expected a whole number, found {hardest!r}"
)

# %% tags=["check", "hidden"]
never_right = [o >= n for o, n in zip(orders["test"], n_points, strict=True)]
known_never = np.sum(never_right, axis=0)
assert np.array_equal(never, known_never), (
    f"expected {known_never.sum()} pairs of run and sample, found {np.sum(never)}"
)
assert hardest in np.flatnonzero(known_never == known_never.max()), (
    f"expected a sample that {known_never.max()} runs never learn, found {hardest}"
)

# %% [markdown]
# 3. How much agreement is lost to ties? Forget every other checkpoint by halving the `orders` on train samples, rounded down. Define `coarse`, the agreement of every two runs then, and `lost`, by how much the mean agreement of two different runs falls (NaN agreements left out).

# %% tags=["stub"]
above = np.triu_indices(len(runs), 1)  # given: the pairs of different runs
coarse = ...  # array (runs, runs)
lost = ...  # a number

# %% tags=["solution"]
coarse = order_agreement(orders["train"] // 2)
lost = np.nanmean(agreement["train"][above]) - np.nanmean(coarse[above])
lost

# %% tags=["check"]
assert np.shape(coarse) == (len(runs), len(runs)), (
    f"expected an array {(len(runs), len(runs))}, found {coarse!r}"
)
assert np.isscalar(lost) and not abs(lost) > 2, (
    f"expected a difference of two correlations, found {lost!r}"
)

# %% tags=["check", "hidden"]
known_coarse = order_agreement([np.floor(order / 2) for order in orders["train"]])
assert np.allclose(coarse, known_coarse, equal_nan=True), (
    f"expected {known_coarse[0, -1]:.4f} for first and last run, "
    f"found {coarse[0, -1]:.4f}"
)
pairs_left = [order_of[above] for order_of in (agreement["train"], known_coarse)]
known_lost = np.nanmean(pairs_left[0]) - np.nanmean(pairs_left[1])
assert np.isclose(lost, known_lost, equal_nan=True), (
    f"expected {known_lost:.4f}, found {lost}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Two runs have the same train error at every checkpoint. Must they learn the samples in the same order?
#
# <details><summary>Answer</summary>No, they may be right on different samples. The learning curve says how many samples are learned, and the order says which ones.</details>
#
# **2.** Why is the agreement of two orders compared with a shuffle within each class, and not with zero?
#
# <details><summary>Answer</summary>Some classes are easier than others, so that any two runs agree a little. The shuffle keeps the difficulty of the classes and removes what two runs share about single samples.</details>
#
# **3.** The excess of a family is smaller at equal train progress. Is its final test error then smaller too?
#
# <details><summary>Answer</summary>Not necessarily. The excess is about one moment on the way, and another family may get farther along it before training ends.</details>

# %% [markdown]
# ## What next
#
# Chapter 90 measures how fast all this can be computed, and chapter 99 judges the claims of the paper.
#
# **References.**
#
# * [Hacohen2020] Hacohen, Choshen and Weinshall, *Let's agree to agree: neural networks share classification order on real datasets*, ICML 2020.
# * [Jiang2020] Jiang et al., *Fantastic generalization measures and where to find them*, ICLR 2020.
