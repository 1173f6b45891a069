# %% [markdown]
# # Is it the same manifold, or would any learning curve look like this?
#
# **What.** The distances between runs beside a null model: one of the two runs has its samples shuffled within each true class.
# **Figure of the paper.** None: the paper has no null model. The shuffle is known from a public art project (One Road).
# **Answer.** How much nearer two runs are than their learning curves alone would make them, and whether this is so for networks that learn random labels.
#
# | | |
# |---|---|
# | Goals | say what a shared learning curve explains; test what it does not; know how low a ratio can go; judge runs on random labels fairly |
# | Prerequisites | chapters 31 and 32 (essential), 44 (helpful), permutation tests (helpful) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | predictions, points.parquet, distances/, embeddings/; figures, results/60.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.geometry import exchange_classes, ignorance, progress
from manifold_utils.statistics import in_words
from manifold_utils.studies import by_heart, shuffled_pairs
from manifold_utils.trajectories import of_atlas, resample

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_pairs = 400  # pairs of runs of each kind at most
n_stations = 8  # values of progress at which runs are compared
share = 0.75  # of the runs must reach a value of progress for it to be used
n_shuffles = 199  # shuffles of every pair
n_matched = 30  # pairs of each kind for which the best matching is looked for
n_held_out = 24  # ordinary runs beside the runs on random labels
seed = 0  # of pairs, shuffles and the bootstrap

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
first_split, design = atlas.splits[0], atlas.design
labels = atlas.labels(first_split)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
# What the art project reports for pairs of architectures.
one_road = {"ratio": (0.44, 0.69), "over_seeds": (1.6, 2.5)}
print(
    f"{len(atlas.runs)} runs, {len(labels)} {first_split} samples in "
    f"{len(np.unique(labels))} classes; at most {n_pairs} pairs of a kind"
)

# %% [markdown]
# ## What do we load?
#
# Two runs with the same *learning curve* have the same distances to ignorance and to truth. Does the band of chapter 40 show more than that? Chapter 32 asked this of spectra; here we ask it of pairs of runs at equal progress, so that speed plays no part. We use values of progress that most runs reach, the *stations*.

# %%
everyone = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
stations, kept = of_atlas.common_stations(
    atlas.points, everyone.index, first_split, n_stations=n_stations, share=share
)
if len(kept) < 2:
    raise claims.NotEnough(
        f"{len(kept)} of {len(everyone)} runs share values of progress; 2 are needed "
        f"that reach one which {100 * share:.0f} % of the runs reach"
    )

# %% [markdown]
# A *pair* is two runs of different seeds that differ in nothing else, or in one factor.

# %%
runs = everyone.loc[kept]
pairs = statistics.pairs_of_runs(runs, n_pairs, rng, design)
if not len(pairs):
    raise claims.NotEnough(
        "no two runs of different seeds differ in the seed alone or in one factor alone"
    )
in_pairs = np.unique(pairs[["first", "second"]])
runs = runs.iloc[in_pairs]
pairs[["first", "second"]] = np.searchsorted(in_pairs, pairs[["first", "second"]])

# %%
trajectories = of_atlas.resampled(atlas, first_split, list(runs.index), stations)
reached_progress = progress(trajectories[0], labels)
assert np.abs(reached_progress - stations).max() < 0.05, "progress at s is near s"
print(f"{len(kept)} of {len(everyone)} runs reach progress {stations[-1]}")
print("runs, stations, samples, classes:", trajectories.shape)

# %% [markdown]
# ## What would chance give for one pair?
#
# Take two runs $u$ and $v$ and shuffle $v$ within classes many times. If they share nothing but the curve, the real distance is one more draw. The p-value is $(1 + \#\{\text{draws} \le \text{real}\}) / (1 + n)$.
#
# The mean needs no simulation. Let $a_{nm}$ be the cost of matching sample $n$ of $u$ with sample $m$ of $v$; a shuffled distance is $\frac1N\sum_n a_{n\pi(n)}$. Its mean is that of each class' block of $a$, and its variance is Hoeffding's: with $b$ the doubly centred block, $\frac{1}{N^2}\sum_{\text{classes}} \frac{1}{n_c - 1}\sum_{nm} b_{nm}^2$.

# %%
kinds_of = statistics.kinds_of_pairs(runs, design)
across = next((kind for kind, f in kinds_of.items() if f == family_factor), "")
of_families = pairs[pairs.kind == across]
one = (of_families if len(of_families) else pairs).iloc[0]
first, second = trajectories[one["first"]], trajectories[one["second"]]

# %%
draws_of_pair = {"n_shuffles": 5 * n_shuffles, "rng": rng}
pair_null = statistics.null_distances(first, second, labels, **draws_of_pair)
nearest, _ = statistics.best_matching(first, second, labels)
print(
    f"real {pair_null.real:.4f}, chance {pair_null.expected:.4f} "
    f"+- {pair_null.spread:.4f}, best matching {nearest:.4f} nats"
)

# %% [markdown]
# The exact formulas must agree with the draws, within the error of the draws, and the real distance must be that of chapter 20:

# %%
n_draws = len(pair_null.draws)
error_of_mean = pair_null.spread / np.sqrt(n_draws)
assert abs(pair_null.draws.mean() - pair_null.expected) < 5 * error_of_mean
assert abs(pair_null.draws.std() / pair_null.spread - 1) < 5 / np.sqrt(2 * n_draws)
stacked = zip(first[:, None], second[:, None], strict=True)
chapter_20 = np.mean([pairwise(u, v)[0, 0] for u, v in stacked])
assert np.isclose(chapter_20, pair_null.real, rtol=1e-4)

# %% [markdown]
# The floor is not 0, because one run may be a little sure of every sample and the other very sure of most of them. The *best matching* of samples within classes (Hungarian algorithm) gives it. *Prediction:* in the next figure, where between chance and floor is the real distance?

# %% tags=["hide-input"]
names = " and ".join(map(str, runs[family_factor].iloc[[one["first"], one["second"]]]))
fig, ax = plt.subplots(figsize=(9, 3.4))
told = {"mean": pair_null.expected, "real": pair_null.real, "p": pair_null.p_value}
plots.plot_shuffled(ax, pair_null.draws, floor=nearest, **told)
ax.set_title(names)
plots.figure_legend(fig, ax, ncols=4)
alt = f"Histogram of distances to the shuffled run for {names}, with the real distance."
plots.save_figure(fig, atlas.figure_path("60_one_pair.png"), alt=alt)

# %% [markdown]
# With many samples almost anything is significant, and with few samples hardly anything is. So read the ratio of real to shuffled distance as well.
#
# ## Are runs nearer than chance?
#
# Now all pairs, by two measures: $d_B$, and the Hellinger distance, the mean of $1 - \mathrm{BC}$, which is bounded and Euclidean. A finding that both share does not depend on the divergence.

# %%
compared, draws = statistics.compare_with_shuffled(
    trajectories, labels, pairs, n_shuffles=n_shuffles, rng=rng
)
verdicts = shuffled_pairs.judge(compared, draws, rng=rng)
kinds = list(compared.kind.unique())
verdicts.round(3)

# %% [markdown]
# `ratio` is the mean real distance over the mean shuffled one. Its interval draws *runs*, because pairs that share a run are not independent. `p` compares the mean over pairs with that of each round of shuffles; `nearer` is the share of pairs with a p of at most .05. *Prediction:* in the next figure, which kind of pair comes closest to 1?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for ax, metric in zip(axes, draws, strict=True):
    every = compared[f"ratio_{metric}"], compared.kind
    plots.plot_pair_ratios(ax, *every, verdicts.loc[metric], rng=rng)
    ax.set_title(metric)
alt = "Ratio of real to shuffled distance by kind of pair, for two measures."
plots.save_figure(fig, atlas.figure_path("60_ratios.png"), alt=alt)

# %% [markdown]
# Small marks are pairs, diamonds the ratio of means with its 95 % interval; 1 is chance. The next figure is the verdict: it *holds beyond the null* if p is at most .05 and the whole interval lies below 1.

# %% tags=["hide-input"]
triples = verdicts[["low", "high", "p"]].to_numpy()
words = [statistics.verdict(1 - high, 1 - low, p) for low, high, p in triples]
numbers = [
    f"{in_words(row.ratio, row.low, row.high)}, p = {row.p:.2g}"
    for row in verdicts.itertuples()
]
tables = [
    pd.Series(values, index=verdicts.index).unstack(0, sort=False)
    for values in (words, numbers)
]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 0.6 + 0.65 * len(kinds)))
plots.plot_verdicts(ax, *tables)
alt = "Verdict on each kind of pair: nearer than the shuffle, for two measures."
plots.save_figure(fig, atlas.figure_path("60_verdicts.png"), alt=alt)

# %% [markdown]
# For some pairs of each kind, the table gives the part of the way from chance (0) to the best matching (1) that the real runs go.

# %%
agreements = {}
for kind in kinds:
    places = rng.permutation(np.flatnonzero(compared.kind == kind))[:n_matched]
    some = compared.iloc[places]
    agreements[kind] = shuffled_pairs.share_of_order(some, trajectories, labels)
way = pd.DataFrame({kind: a.describe() for kind, a in agreements.items()})
way.loc[["count", "min", "50%", "max"]].round(2)

# %% [markdown]
# ## Which families agree?
#
# The next figure has the same ratio for every two families, with seeds on the diagonal. *Prediction:* which family agrees least with the others, and does it agree with itself?

# %%
families = compared[compared.kind.isin(["seeds", across])]
by_pair, off_diagonal = shuffled_pairs.ratios_of_families(families, runs[family_factor])

# %% tags=["hide-input"]
across_families = "no two runs differ in the seed alone or in the family alone"
side = len(by_pair)
if side:
    size = min(9, 2.5 + 1.1 * side), min(9, 1.6 + 0.7 * side)
    fig, ax = plt.subplots(figsize=size)
    plots.plot_ratio_map(ax, by_pair, "real / shuffled distance")
    alt = f"Ratios of real to shuffled distance for every two of {family_name}."
    there = atlas.figure_path("60_architectures.png")
    across_families = plots.save_figure(fig, there, alt=alt)
across_families

# %% [markdown]
# Blue is nearer than chance; a dash means that there is no such pair. A family with a high number on the diagonal can hardly agree with others, because its own runs already differ. How far apart are families, compared with seeds?

# %%
both_kinds, apart = {across, "seeds"} <= set(kinds), (np.nan,) * 3
far = "this needs pairs of both kinds, so two seeds of one setting"
if both_kinds:
    real = compared.assign(value=compared.real_bhattacharyya)
    two = real[real.kind == across], real[real.kind == "seeds"]
    apart = statistics.ratio_over_runs(*two, rng=rng)
    far = f"{in_words(*apart)} times as far"
print(f"{across} over seeds: {far}")

# %% [markdown]
# Both can hold at once: networks of different families can be *farther apart than seeds* (chapter 44) and yet *nearer than chance* (this chapter).
#
# ## Where do networks go that learn random labels?
#
# A second null needs no shuffle: networks trained on random labels. Progress is about the *true* labels, so for these networks the clock is the distance from ignorance. At equal distance, how far is the nearest checkpoint of an ordinary run of another seed? Some ordinary runs get the same number.

# %%
noise = atlas.runs[
    (atlas.runs.grid == "random_labels") & (atlas.runs.status == "finished")
]
table, at_ignorance = atlas.table(), ignorance(*trajectories.shape[2:])
ordinary = table[table.grid == "main"]
held_out = rng.permutation(ordinary.run.unique())[:n_held_out]

# %%
gone = {}
for run in [*noise.index, *held_out]:
    own = atlas.run_log_probs(run, first_split)
    from_ignorance = pairwise(own, at_ignorance.astype(np.float32))[:, 0]
    gone[run] = pd.DataFrame({"gone": from_ignorance})
ways = by_heart.way_past(atlas, gone, gone, ordinary.run.unique(), first_split)
ways["share"] = ways.nearest / ways.gone.where(ways.gone > 0)
ways.groupby(ways.run.isin(noise.index)).share.describe().round(3)

# %% tags=["hide-input"]
looks = {}
for run in noise.index:
    level = noise[family_factor][run]
    colour, marker, _ = plots.style_of(level, noise[family_factor])
    looks[run] = {"color": colour, "marker": marker, "lw": 1.2, "ms": 4}
    looks[run]["label"] = f"random labels, {level}"

# %% [markdown]
# `share` is the distance to the nearest ordinary checkpoint as a part of the distance from ignorance (`True`: on random labels); at 1 a run shares nothing of its way. The next figure has the plane of the ordinary runs and the share. *Prediction:* can that plane show where the others go?

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
in_plane = atlas.embedding(first_split), ordinary.index
plots.plot_leaving(left, right, *in_plane, ways, looks)
plots.figure_legend(fig, right, ncols=4)
alt = "Runs on random labels over ordinary ones, and their distance to the nearest."
plots.save_figure(fig, atlas.figure_path("60_random_labels.png"), alt=alt)

# %% [markdown]
# On the dotted line (share 1) a run has taken a road of its own, even if the plane draws it near ordinary points: a projection hides what its axes do not hold. (One per cent of the ordinary points, the outliers, are left out on the left.)
#
# ## Is it another road, or the same road to another truth?
#
# We turn the space around for these networks: on each sample we exchange two classes, such that the label that a network was *fitted to* stands where the true one does. Then it can be compared with ordinary runs at equal progress. The labels are drawn again from the seed; the error on them must be the recorded one.

# %%
own_labels = by_heart.fitted_labels(atlas, noise.index, data_dir)
turned, own_progress = {}, {}
for run, own in own_labels.items():
    turned[run] = exchange_classes(atlas.run_log_probs(run, "train"), own, labels)
    own_progress[run] = progress(turned[run], labels)
    wrong = (turned[run][-1].argmax(axis=1) != labels).mean()
    assert np.isclose(wrong, noise.fitted_error[run])

# %% [markdown]
# Each is compared with ordinary runs of its own family and other seeds. If networks found some samples easy whatever the label, the ratio would stay below 1.

# %% tags=["hide-input"]
turned_rows = {}
for run in noise.index:
    reach = stations < own_progress[run].max()
    same = runs[family_factor] == noise[family_factor][run]
    same &= (runs.scale == noise.scale[run]) & (runs.seed != noise.seed[run])
    if reach.any() and same.any():
        mine = resample(turned[run], own_progress[run], stations[reach])
        parts = mine, trajectories[same.to_numpy()][:, reach], labels
        against = by_heart.against_ordinary(*parts, n_shuffles=n_shuffles, rng=rng)
        against |= {"stations": reach.sum(), "ordinary runs": same.sum()}
        turned_rows[run] = against

# %%
columns = ["real", "ratio", "p", "over ordinary", "stations", "ordinary runs"]
second_null = pd.DataFrame.from_dict(turned_rows, orient="index")
second_null = second_null.reindex(columns=columns)
second_null.astype(float).round(3)

# %% [markdown]
# `over ordinary` is the distance over that of two ordinary runs of this family. A ratio above 1, with p near 1, means an order of learning *opposed* to the ordinary one.
#
# Do networks on random labels agree with each other? Two runs of equal seed were given the same random labels, whatever their family.

# %% tags=["hide-input"]
shared = {}
for u, v in [(u, v) for k, u in enumerate(noise.index) for v in noise.index[k + 1 :]]:
    reach = stations < min(own_progress[u].max(), own_progress[v].max())
    if reach.any():
        both = [resample(turned[w], own_progress[w], stations[reach]) for w in (u, v)]
        equal = np.array_equal(own_labels[u], own_labels[v])
        kind = "same labels" if equal else "different labels"
        how = {"n_shuffles": n_shuffles, "rng": rng}
        of_two = statistics.null_distances(*both, labels, **how)
        shared.setdefault(kind, []).append(of_two.ratio)
{kind: np.round(each, 2).tolist() for kind, each in shared.items()}

# %% [markdown]
# A smaller ratio for the same labels means that the pairing of images and labels decides which sample is learned when, and that networks read it alike.
#
# ## What we learned

# %% tags=["hide-input"]
of_kind = verdicts.loc["bhattacharyya"]
nearer = [kind for kind in kinds if tables[0].bhattacharyya[kind] == claims.HOLDS]
print(
    f"In {len(nearer)} of {len(kinds)} kinds of pairs, two runs are nearer than their "
    "learning curves alone would make them: their distance is "
    + ", ".join(f"{of_kind.ratio[kind]:.2f} (pairs of {kind})" for kind in kinds)
    + " times that to the shuffled run."
)

# %% tags=["hide-input"]
if both_kinds:
    still = "still" if across in nearer else "not"
    print(
        f"Runs that differ in their {family_name} are {in_words(*apart)} times as far "
        f"apart as seeds, and {still} nearer than chance."
    )
if len(second_null):
    ratio, over = second_null[["ratio", "over ordinary"]].mean()
    shares = (second_null.p <= 0.05).mean() > 0.5
    print(
        "Runs on random labels, turned to their own labels, are "
        f"{ratio:.2f} times as far from ordinary runs as when shuffled "
        f"({'nearer' if shares else 'no nearer'} than chance), and {over:.1f} times as "
        "far as ordinary runs are from each other."
    )

# %% tags=["hide-input"]
for kind, each in shared.items():
    print(f"Two runs on random labels, {kind}: real over shuffled {np.mean(each):.2f}.")
for kind, a in agreements.items():
    print(f"Pairs of {kind} go {a.median():.0%} of the way to the best matching.")
print(
    "The art project, on its own networks and data: ratios of "
    f"{one_road['ratio'][0]} to {one_road['ratio'][1]}, and families "
    f"{one_road['over_seeds'][0]} to {one_road['over_seeds'][1]} times as far as seeds."
)

# %% tags=["hide-input"]
about = {"low": "low", "high": "high", "n": "pairs"}
about["note"] = "real over shuffled; 95 %, runs drawn again"
results = {}
for metric in draws:
    of_metric = verdicts.loc[metric]
    tail = "" if metric == "bhattacharyya" else f"_{metric}"
    results |= claims.results_of(of_metric, "ratio_{}" + tail, "ratio", **about)
    one_sided = {"n": n_shuffles, "note": "one-sided, mean over pairs"}
    results |= claims.results_of(of_metric, "p_{}" + tail, "p", **one_sided)
of_way = way.T.rename(columns={"50%": "median"})
about = {"low": "min", "high": "max", "n": "count"}
about["note"] = "0 chance, 1 best matching; median and range of pairs"
results |= claims.results_of(of_way, "agreement_{}", "median", **about)

# %% tags=["hide-input"]
if both_kinds:
    ends = dict(zip(("value", "low", "high"), apart, strict=True))
    ends["note"] = "distance at equal progress; 95 %, runs drawn again"
    n_across = int((compared.kind == across).sum())
    results[f"{across}_over_seeds"] = claims.result(**ends, n=n_across)
if len(off_diagonal):
    ends = {"lowest": off_diagonal.min(), "highest": off_diagonal.max()}
    for name, value in ends.items():
        key = f"{family_factor}_pairs_{name}"
        results[key] = claims.result(value, n=len(off_diagonal))

# %% tags=["hide-input"]
for column in ("ratio", "over ordinary"):
    values, note = second_null[column], "mean and range of runs"
    ends = {"low": values.min(), "high": values.max(), "n": len(values), "note": note}
    key = claims.plain_key(f"random_labels_{column}")
    results[key] = claims.result(values.mean(), **ends)
for kind, each in shared.items():
    key, note = claims.plain_key(f"random_{kind}"), "real over shuffled"
    results[key] = claims.result(np.mean(each), n=len(each), note=note)
claims.save_results(atlas, "60", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. For the Hellinger distance the shuffled mean needs no matrix of costs, because $1 - \mathrm{BC}$ is linear in the products of square roots. Define `from_means`, the mean over all shuffles for the pair above, from the class means of the square roots.

# %% tags=["stub"]
roots = [statistics.unit_roots(values) for values in (first, second)]  # given
from_means = ...  # a number from 0 to 1

# %% tags=["solution"]
from_means = 1.0
for c in np.unique(labels):
    ours, theirs = (root[:, labels == c].mean(axis=1) for root in roots)
    from_means -= (labels == c).mean() * (ours * theirs).sum(axis=1).mean()
from_means

# %% tags=["check"]
assert np.isscalar(from_means) and -1e-6 <= from_means <= 1, (
    f"expected a number from 0 to 1, found {from_means!r}"
)

# %% tags=["check", "hidden"]
exact = {"metric": "hellinger", "n_shuffles": 0}
known = statistics.null_distances(first, second, labels, **exact).expected
assert np.isclose(from_means, known, rtol=1e-3, atol=1e-6), (
    f"expected {known:.5f}, the mean over all shuffles, found {from_means}"
)

# %% [markdown]
# 2. A weaker null shuffles *all* samples, and turns each prediction to the class of its new place by exchanging two classes (`exchange_classes`). Define `any_class`, the run `second` after this shuffle with the order `anywhere`, and `weaker`, its distance from `first` (the mean of $d_B$ over the stations). Is the ratio of the pair smaller or larger than with the null of the chapter, and why?

# %% tags=["stub"]
anywhere = rng.permutation(len(labels))  # given
any_class = ...  # array (stations, samples, classes)
weaker = ...  # a number, in nats

# %% tags=["solution"]
any_class = exchange_classes(second[:, anywhere], labels[anywhere], labels)
at_station = range(len(stations))
weaker = np.mean([pairwise(first[[k]], any_class[[k]])[0, 0] for k in at_station])
# Samples of one class are confused with the same few classes: that, too, is lost now.
pair_null.real / weaker, pair_null.ratio

# %% tags=["check"]
assert np.shape(any_class) == second.shape, (
    f"expected an array of shape {second.shape}, found {np.shape(any_class)}"
)
assert np.isscalar(weaker) and weaker >= 0, (
    f"expected a distance in nats, found {weaker!r}"
)

# %% tags=["check", "hidden"]
each = np.arange(len(labels))
of_truth = any_class[:, each, labels], second[:, anywhere, labels[anywhere]]
assert np.allclose(*of_truth), (
    "expected the true class of each sample as probable as before the shuffle, "
    f"found a difference of {np.abs(np.exp(of_truth[0]) - np.exp(of_truth[1])).max()}"
)
moved = statistics.null_distances(first, any_class, labels, n_shuffles=0).real
assert np.isclose(weaker, moved, rtol=1e-3, atol=1e-6), (
    f"expected {moved:.5f} nats, found {weaker}"
)

# %% [markdown]
# 3. At which progress do the two runs agree best? Define `along`, the ratio of real to shuffled distance of the pair above at each of the `stations`.

# %% tags=["stub"]
along = ...  # list of ratios, one for each station

# %% tags=["solution"]
along = [
    statistics.null_distances(first[k], second[k], labels, n_shuffles=0).ratio
    for k in range(len(stations))
]
pd.Series(along, index=pd.Index(stations, name="s")).round(2)

# %% tags=["check"]
assert np.shape(along) == (len(stations),), (
    f"expected {len(stations)} ratios, found {along!r}"
)

# %% tags=["check", "hidden"]
real_along = [pairwise(first[[k]], second[[k]])[0, 0] for k in range(len(stations))]
by_chance = [
    statistics.null_distances(first[k], second[k], labels, n_shuffles=0).expected
    for k in range(len(stations))
]
shuffled_along = np.multiply(np.nan_to_num(along), by_chance)
assert np.allclose(shuffled_along, real_along, rtol=1e-3, atol=1e-6), (
    f"expected ratios that give the distances {np.round(real_along, 4)}, found {along}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Nearly every pair is significantly nearer than its shuffles. Why does the chapter read the ratio of the distances instead of the p-value?
#
# <details><summary>Answer</summary>With many samples the spread of the shuffles is tiny, so that even a negligible difference is significant. The ratio says how large the difference is.</details>
#
# **2.** Networks of two families are farther apart than seeds, and yet nearer than chance. Is this a contradiction?
#
# <details><summary>Answer</summary>No, because the two statements have different yardsticks. Seeds of one setting are the nearest pairs that there are; a shuffled run has the learning curve of the other run and nothing else.</details>
#
# **3.** Why is the shuffle restricted to samples of the same class?
#
# <details><summary>Answer</summary>A shuffled run must keep its learning curve, class by class. If a prediction moved to a sample of another class, the run would become wrong there and its distance to the truth would change.</details>

# %% [markdown]
# ## What next
#
# Chapter 61 asks when training *must* be low-dimensional, where everything can be computed: in linear networks. Chapter 63 puts a network of your own beside these runs.
#
# **References.**
#
# * [Hoeffding1951] Hoeffding, *A combinatorial central limit theorem*, Annals of Mathematical Statistics 22, 1951. For mean and variance over permutations.
# * [Kuhn1955] Kuhn, *The Hungarian method for the assignment problem*, Naval Research Logistics Quarterly 2, 1955.
# * [Phipson2010] Phipson and Smyth, *Permutation p-values should never be zero*, 2010.
# * [Zhang2017] Zhang et al., *Understanding deep learning requires rethinking generalization*, ICLR 2017.
# * [Hacohen2020] Hacohen, Choshen and Weinshall, *Let's agree to agree: neural networks share classification order on real datasets*, ICML 2020.
