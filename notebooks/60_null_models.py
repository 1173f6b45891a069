# %% [markdown]
# # Is it the same manifold, or would any learning curve look like this?
#
# **What.** The same distances between runs once more, with a null model: one of the two runs has its samples shuffled within each true class.
# **Figure of the paper.** None: the paper has no null model. The shuffle is known from a public art project (One Road).
# **Answer.** Two numbers with a p-value: how much nearer two runs are than their curves alone would make them, and whether runs that learn labels without meaning are nearer as well.
#
# | | |
# |---|---|
# | Goals | say what a shared learning curve explains; test what it does not; know how low a ratio can go; judge runs on random labels fairly |
# | Prerequisites | chapters 31 and 32 (essential), 44 (helpful), permutation tests (helpful) |
# | Minutes | 1 on CPU (reading: 20) |
# | Inputs, outputs | predictions, points.parquet, distances/, embeddings/; figures, results/60.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.geometry import exchange_classes, ignorance, progress
from manifold_utils.training import fitted_labels
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

# %% tags=["hide-input"]
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
# Every network starts near ignorance and, if it learns, ends near truth. Two runs with the same *learning curve* have the same distances to both ends. Perhaps the thin sheet of chapter 40 shows no more than that? Chapter 32 asked this of spectra; here we ask it of pairs of runs.
#
# We compare runs of the main grid at equal progress, so that the speed of learning plays no part. Only values of progress are used that most runs reach, and only runs that reach all of them.

# %%
runs = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
stations, kept = of_atlas.common_stations(
    atlas.points, runs.index, first_split, n_stations=n_stations, share=share
)

# %%
if len(kept) < 2:
    raise claims.NotEnough(
        f"{len(kept)} of {len(runs)} runs share values of progress; 2 are needed that "
        f"reach one which {100 * share:.0f} % of the runs reach"
    )

# %%
print(
    f"{len(kept)} of {len(runs)} runs reach progress {stations[-1]}; "
    f"stations: {stations.tolist()}"
)

# %%
runs = runs.loc[kept]
pairs = statistics.pairs_of_runs(runs, n_pairs, rng, design)
if not len(pairs):
    raise claims.NotEnough(
        "no two runs of different seeds differ in the seed alone or in one factor alone"
    )

# %% [markdown]
# A *pair* is two runs of different seeds that differ in nothing else, or in one factor: in the book's own atlases the optimiser or the architecture, in others any that varies. Only runs that are in a pair are read, and brought to the stations:

# %%
in_pairs = np.unique(pairs[["first", "second"]])
runs = runs.iloc[in_pairs]
pairs[["first", "second"]] = np.searchsorted(in_pairs, pairs[["first", "second"]])
trajectories = of_atlas.resampled(atlas, first_split, list(runs.index), stations)

# %%
print("runs, stations, samples, classes:", trajectories.shape)
reached_progress = progress(trajectories[0], labels)
assert np.abs(reached_progress - stations).max() < 0.05, (
    "a run at station s has progress near s"
)

# %% [markdown]
# ## How much do the worlds of the ladder explain?
#
# Chapter 32 shuffled every run within classes (its samples change places with samples of their own class, independently of all other runs) and counted the axes that 90 % of the stress needs at equal progress. It did so for a ladder of worlds that know more and more: *curve*, *class*, *difficulty*, *confusion*, *real*. This atlas stands beside the published runs on other data. *Prediction:* on which data do runs share most beyond their learning curves?

# %%
sources = {f"{atlas.profile.name} (this atlas)": atlas.path / "results"}
for folder in sorted(claims.REFERENCE.glob("*")):
    if folder.name != atlas.profile.name and (folder / "32.json").is_file():
        sources[f"{folder.name} (published)"] = folder
ladders = {name: claims.load_results(folder) for name, folder in sources.items()}

# %%
rungs = pd.DataFrame(
    {
        (name, split): {
            world: found[f"32.{split}_axes_{world}"]["value"]
            for world in statistics.WORLDS
            if f"32.{split}_axes_{world}" in found
        }
        for name, found in ladders.items()
        for split in atlas.splits
    }
).reindex(statistics.WORLDS)
rungs.T.round(1)

# %% [markdown]
# The next figure shows the same numbers, one row of panels a data set.

# %% tags=["hide-input"]
shape = {"figsize": (9, 2.9 * len(sources)), "squeeze": False}
fig, axes = plt.subplots(len(sources), len(atlas.splits), sharey="row", **shape)
for row, name in zip(axes, sources, strict=True):
    for ax, split in zip(row, atlas.splits, strict=True):
        if rungs[name, split].notna().any():
            plots.plot_ladder(ax, rungs[name, split])
        ax.set_title(f"{name}: {split}", fontsize=12)
    row[0].set_ylabel("axes for 90 %\nof the stress")
alt = "Axes for 90 % of the stress at equal progress in five worlds, by data set."
plots.save_figure(fig, atlas.figure_path("60_ladder.png"), alt=alt)

# %% [markdown]
# A high grey bar beside a low black one means that runs share which samples are learned when, and how. The step from *confusion* to *real* is what the mean difficulty of a sample, and the class that it is mistaken for, cannot explain.

# %%
for (name, split), column in rungs.T.dropna(subset=["real", "class"]).iterrows():
    print(
        f"{name}, {split}: the real world needs {column['real']:.1f} axes, the class "
        f"world {column['class']:.1f}, the confusion world {column['confusion']:.1f}."
    )

# %% [markdown]
# ## What would chance give for one pair?
#
# Take two runs $u$ and $v$ and shuffle $v$ many times. If $u$ shares nothing with $v$ but the curve, the real distance is one more draw from the same heap. The p-value is $(1 + \#\{\text{draws} \le \text{real}\}) / (1 + n)$.
#
# No simulation is needed for the mean. Let $a_{nm}$ be the cost of matching sample $n$ of $u$ with sample $m$ of $v$, averaged over the stations. A shuffled distance is $\frac1N\sum_n a_{n\pi(n)}$. Its mean over all permutations is the mean of each class' block of $a$, and its variance is Hoeffding's: with $b$ the doubly centred block, $\frac{1}{N^2}\sum_{\text{classes}} \frac{1}{n_c - 1}\sum_{nm} b_{nm}^2$.

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
# The exact formulas must agree with the draws, within the draws' own error, and the distance that the shuffle compares with must be the one of chapter 20:

# %%
error_of_mean = pair_null.spread / np.sqrt(len(pair_null.draws))
assert abs(pair_null.draws.mean() - pair_null.expected) < 5 * error_of_mean
assert abs(pair_null.draws.std() / pair_null.spread - 1) < 5 / np.sqrt(
    2 * len(pair_null.draws)
)

# %%
chapter_20 = np.mean(
    [pairwise(first[[k]], second[[k]])[0, 0] for k in range(len(stations))]
)
assert np.isclose(chapter_20, pair_null.real, rtol=1e-4)

# %% [markdown]
# How far below chance could two runs be? Not at 0: at equal progress one run may be a little sure of every sample and the other very sure of most, and no order of samples mends that. The *best matching* of samples within classes, found by the Hungarian algorithm, gives the floor. The figure puts real, chance and floor on one axis. *Prediction:* where between the two will the real distance lie?

# %% tags=["hide-input"]
names = " and ".join(map(str, runs[family_factor].iloc[[one["first"], one["second"]]]))
n_draws, p_pair = len(pair_null.draws), pair_null.p_value
heap, beside = f"shuffled ({n_draws} draws)", f"the two runs, p = {p_pair:.2g}"

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 3.6))
ax.hist(pair_null.draws, bins=30, color="0.75", label=heap)
ax.axvline(pair_null.expected, color="black", ls="--", label="mean of all shuffles")
ax.axvline(pair_null.real, color=plots.TIME_LIKE, lw=2.5, label=beside)
best = {"color": plots.SPACE_LIKE, "ls": ":", "lw": 2.5}
ax.axvline(nearest, label="best matching within classes", **best)
ax.set(xlabel="distance at equal progress (nats)", ylabel="draws", xlim=(0, None))
ax.set_title(names)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
alt = f"Histogram of distances to the shuffled run for {names}, with the real distance."
plots.save_figure(fig, atlas.figure_path("60_one_pair.png"), alt=alt)

# %% [markdown]
# The heap is narrow, for it averages over many samples. So a p-value alone is easy to win here: it says that something is shared, not how much. The ratio says how much, and a last number puts it on a scale from 0 (chance) to 1 (the best matching).

# %%
gain = (pair_null.expected - pair_null.real) / (pair_null.expected - nearest)
print(
    f"ratio real / shuffled: {pair_null.ratio:.2f}; of what the order "
    f"of samples can explain, these two runs share {100 * gain:.0f} %"
)

# %% [markdown]
# ## Are runs nearer than chance?
#
# All pairs now, of all kinds. The same shuffles are judged by two measures, $d_B$ and the Hellinger distance, the mean of $1 - \mathrm{BC}$. The second is bounded and exactly Euclidean, with no time-like axis; what both say does not hang on the divergence.

# %%
compared, draws = statistics.compare_with_shuffled(
    trajectories, labels, pairs, n_shuffles=n_shuffles, rng=rng
)
kinds = [kind for kind in kinds_of if (compared.kind == kind).any()]
of_kind = {kind: np.flatnonzero(compared.kind == kind) for kind in kinds}

# %%
compared.groupby("kind", sort=False)[
    [
        "real_bhattacharyya",
        "shuffled_bhattacharyya",
        "ratio_bhattacharyya",
        "ratio_hellinger",
    ]
].median().round(3)


# %% [markdown]
# For a kind of pairs, the ratio is the mean real distance over the mean shuffled one. Its interval draws *runs* again, not pairs, since pairs that share a run are not independent. Its p-value compares the mean over pairs with the same mean of each round of shuffles.

# %% tags=["lesson"]
def judge(kind, metric):
    rows = compared.iloc[of_kind[kind]]
    ends = rows[["first", "second"]]
    real = ends.assign(value=rows[f"real_{metric}"])
    chance = ends.assign(value=rows[f"shuffled_{metric}"])
    value, low, high = statistics.ratio_over_runs(real, chance, rng=rng)
    heap = draws[metric][of_kind[kind]].mean(axis=0)
    p = statistics.p_value(real.value.mean(), heap)
    nearer = (rows[f"p_{metric}"] <= 0.05).mean()
    about = {"kind": kind, "metric": metric, "pairs": len(rows), "ratio": value}
    return about | {"low": low, "high": high, "p": p, "nearer": nearer}


# %%
verdicts = pd.DataFrame(
    [judge(kind, metric) for metric in statistics.METRICS for kind in kinds]
).set_index(["metric", "kind"])
verdicts.round(3)

# %% [markdown]
# `nearer` is the share of single pairs with p of at most .05. The next figure shows every pair. *Prediction:* which kind of pair comes closest to 1, where the two runs share nothing but their curves?

# %% tags=["hide-input"]
tick_names = [f"{kind}\n(n = {len(of_kind[kind])})" for kind in kinds]
dots = {"ms": 4, "alpha": 0.35, "mew": 0}
mean_mark = {"fmt": "D", "color": "black", "capsize": 5, "ms": 7}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for ax, metric in zip(axes, statistics.METRICS, strict=True):
    for k, kind in enumerate(kinds):
        style = plots.numbered_style(k)
        every = compared[f"ratio_{metric}"].iloc[of_kind[kind]]
        place = k + rng.uniform(-0.3, 0.3, len(every))
        ax.plot(every, place, style[1], color=style[0], **dots)
        row = verdicts.loc[metric, kind]
        bar = [[row.ratio - row.low], [row.high - row.ratio]]
        ax.errorbar(row.ratio, k, xerr=bar, **mean_mark)
    ax.axvline(1, color="black", lw=1.2)
    ax.set(xlabel="real / shuffled distance", title=metric, xlim=(0, 1.15))
axes[0].set_yticks(range(len(kinds)), tick_names)
alt = "Ratio of real to shuffled distance by kind of pair, for two measures."
plots.save_figure(fig, atlas.figure_path("60_ratios.png"), alt=alt)

# %% [markdown]
# Small marks are pairs, diamonds the ratio of means with its 95 % interval over runs; the line at 1 is chance. Left of it, two runs learn the samples in a more similar order than their curves enforce.

# %%
for kind in kinds:
    row, other = verdicts.loc["bhattacharyya", kind], verdicts.loc["hellinger", kind]
    verdict = (
        "nearer than chance"
        if row.p <= 0.05 and row.high < 1
        else "not told from chance"
    )
    print(
        f"{kind}: {row.ratio:.2f} ({row.low:.2f} to {row.high:.2f}), "
        f"p = {row.p:.2g}: {verdict}; Hellinger {other.ratio:.2f}"
    )


# %% [markdown]
# How good is that? For some pairs of each kind we look for the floor as well, and report which part of the way from chance to the best matching the real runs go.

# %% tags=["lesson"]
def agreement(row):
    floor, _ = statistics.best_matching(
        trajectories[row["first"]], trajectories[row["second"]], labels
    )
    return (row.shuffled_bhattacharyya - row.real_bhattacharyya) / (
        row.shuffled_bhattacharyya - floor
    )


# %%
looked_at = {kind: rng.permutation(rows)[:n_matched] for kind, rows in of_kind.items()}
agreements = {
    kind: compared.iloc[rows].apply(agreement, axis=1)
    for kind, rows in looked_at.items()
}

# %%
pd.DataFrame(
    {
        kind: a.describe()[["count", "min", "50%", "max"]]
        for kind, a in agreements.items()
    }
).round(2)

# %% [markdown]
# ## Which families agree?

# %%
of_run = runs[family_factor].to_numpy()
families = compared[compared.kind.isin(["seeds", across])]
rank_of = {level: k for k, level in enumerate(statistics.sorted_levels(of_run))}
ends = families[["first", "second"]].to_numpy()

# %%
ranks = np.sort(np.vectorize(rank_of.get, otypes=[int])(of_run[ends]), axis=1)
families = families.assign(a=ranks[:, 0], b=ranks[:, 1])
sums = families.groupby(["a", "b"])[
    ["real_bhattacharyya", "shuffled_bhattacharyya"]
].sum()

# %%
each_pair = sums.real_bhattacharyya / sums.shuffled_bhattacharyya
present = np.unique(ranks)
by_pair = each_pair.unstack().reindex(index=present, columns=present)
by_pair = by_pair.combine_first(by_pair.T)
names_present = [list(rank_of)[k] for k in present]
by_pair = by_pair.set_axis(names_present, axis=0).set_axis(names_present, axis=1)

# %% [markdown]
# The same ratio for every pair of families, and for the seeds of one family on the diagonal. The figure is a table of colours, centred on 1. *Prediction:* which family will agree least with the others, and does it agree with itself?

# %% tags=["hide-input"]
alt = (
    "Table of ratios of real to shuffled distance, one row and one column "
    f"a level of {family_name}; the diagonal holds seeds of one level."
)
across_families = "no two runs differ in the seed alone or in the family alone"
side = len(present)
if side:
    size = min(9, 2.5 + 1.1 * side), min(9, 1.6 + 0.7 * side)
    fig, ax = plt.subplots(figsize=size)
    plots.plot_ratio_map(ax, by_pair, "real / shuffled distance")
    there = atlas.figure_path("60_architectures.png")
    across_families = plots.save_figure(fig, there, alt=alt)
across_families

# %% [markdown]
# Blue is nearer than chance. A dash means that the grid has no such pair that got far enough. On the diagonal the two runs differ in the seed only, so a family with a high number there can hardly agree with others: its own runs already learn the samples in different orders, or with different certainty.

# %%
off_diagonal = each_pair[
    each_pair.index.get_level_values("a") != each_pair.index.get_level_values("b")
]
print(
    f"pairs of different {family_name}: {off_diagonal.min():.2f} to "
    f"{off_diagonal.max():.2f}; the art project, on its own "
    f"networks and data: {one_road['ratio'][0]} to {one_road['ratio'][1]}"
    if len(off_diagonal)
    else "no two runs differ in their family alone"
)

# %%
value_of = {
    kind: compared.iloc[of_kind[kind]][["first", "second"]].assign(
        value=compared.real_bhattacharyya.iloc[of_kind[kind]]
    )
    for kind in kinds
}

# %%
apart, both_kinds = (np.nan,) * 3, {across, "seeds"} <= set(kinds)
if both_kinds:
    ends_of_ratio = value_of[across], value_of["seeds"]
    apart = statistics.ratio_over_runs(*ends_of_ratio, rng=rng)

# %%
print(
    f"{across} over seeds: {apart[0]:.2f} ({apart[1]:.2f} "
    f"to {apart[2]:.2f}) times as far; the art project: "
    f"{one_road['over_seeds'][0]} to {one_road['over_seeds'][1]}"
    if both_kinds
    else "families over seeds: needs pairs of both kinds, so two seeds of one setting"
)

# %% [markdown]
# Both can be true at once, and this is the point of the chapter: networks of different families may be *farther apart than seeds* and yet *nearer than chance*. Chapter 44 asks the first question, this one the second.
#
# ## Where do networks go that learn labels without meaning?
#
# A second null needs no shuffle: networks trained on random labels. Here one must be careful about the space. The atlas judges every run by the *true* labels. So its loss and progress say how a network on random labels moves with respect to a truth that it was never told.

# %%
noise = atlas.runs[
    (atlas.runs.grid == "random_labels") & (atlas.runs.status == "finished")
]
table = atlas.table()
with_noise = table[table.run.isin(noise.index)]

# %%
finals = with_noise.groupby("run", sort=False).last()[
    [family_factor, f"loss_{first_split}", f"progress_{first_split}"]
]
finals["error_on_its_own_labels"] = noise.get("fitted_error")
finals.round(3)

# %% [markdown]
# The error on its own labels says whether such a run has learned anything by heart. Its progress towards the truth cannot tell, so equal progress is no clock here. A clock without labels is the distance from ignorance. At equal distance from ignorance, how far is the nearest checkpoint of an ordinary run? Beside it, ordinary runs get the same number, each held out; runs of one seed begin as the same network and are never compared.

# %%
ordinary = table[table.grid == "main"]
held_out = rng.permutation(ordinary.run.unique())[:n_held_out]
matrix = atlas.distances(first_split)
seed_of = pd.Series(statistics.seeds_of(table, design), index=table.index)
at_ignorance = ignorance(*trajectories.shape[2:]).astype(np.float32)
how_far = []

# %%
for run in [*noise.index, *held_out]:
    rows = table[table.run == run]
    cross = np.asarray(matrix[rows.index[0] : rows.index[-1] + 1])[:, ordinary.index]
    own = atlas.run_log_probs(run, first_split)
    gone = pairwise(own, at_ignorance)[:, 0]
    sides = seed_of[rows.index], seed_of[ordinary.index]
    nearest_one = statistics.nearest_of_others(cross, *sides)
    about = rows[["run", family_factor]]
    how_far.append(about.assign(gone=gone, nearest=nearest_one))

# %%
how_far = pd.concat(how_far).dropna()

# %% [markdown]
# The medians, in four bins of the distance from ignorance:

# %%
of_noise_runs = how_far.run.isin(noise.index)
width_gone = how_far.gone[of_noise_runs] if len(noise) else how_far.gone
width_gone = width_gone if len(width_gone) else pd.Series([0.0, 1.0])
bins = np.unique(np.quantile(width_gone, np.linspace(0, 1, 5)))
where = pd.cut(how_far.gone, bins, include_lowest=True).rename(
    "distance from ignorance"
)

# %%
elsewhere = (
    how_far.groupby([where, how_far.run.isin(noise.index)], observed=True)
    .nearest.median()
    .unstack()
)
elsewhere.columns = [
    {True: "random labels", False: "ordinary, held out"}[c] for c in elsewhere.columns
]
elsewhere.round(3)

# %% [markdown]
# Each row of the table compares runs that are equally far from ignorance. The two columns are their distances to the nearest ordinary checkpoint.

# %%
embedding = atlas.embedding(first_split)
coordinates = embedding.embedding.values
axis_sizes = embedding.eigenvalues.values, embedding.explained_stress.values
of_noise = how_far.run.isin(noise.index)

# %%
grey = coordinates[ordinary.index, :2].T
quiet = how_far[~of_noise]
spanned = how_far[["nearest", "gone"]].to_numpy()
spanned = spanned[spanned > 0] if (spanned > 0).any() else np.array([0.01, 1.0])
line = np.geomspace(spanned.min(), spanned.max(), 200)

# %%
styles, first_seed = {}, noise[design.seed].min() if design.seed in noise else None
for run in noise.index:
    colour, marker, _ = plots.style_of(noise[family_factor][run])
    dash = "-" if noise.seed[run] == first_seed else "--"
    styles[run] = {"color": colour, "marker": marker, "ls": dash, "lw": 1.2, "ms": 3}

# %% [markdown]
# The left panel of the next figure places the runs on random labels in the plane of the ordinary ones; the right one shows the two distances. *Prediction:* the plane was made by ordinary runs. Can it show where these runs go?

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6))
left.scatter(*grey, s=3, color="0.8", linewidths=0, rasterized=True)
right.plot(line, line, ":", color="black", lw=1.4, label="no nearer than ignorance")
right.plot(quiet.gone, quiet.nearest, ".", color="0.7", ms=4, label="held out")
for run, rows in how_far[of_noise].groupby("run", sort=False):
    left.plot(*coordinates[rows.index, :2].T, **styles[run])
    label = f"random labels, {noise[family_factor][run]}, seed {noise.seed[run]}"
    right.plot(rows.gone, rows.nearest, label=label, **styles[run])
plots.plot_reference(left, embedding.reference_embedding.values)
plots.label_embedding(left, *axis_sizes)
right.set(xlabel="$d_B$ from ignorance (nats)", yscale="log")
right.set_ylabel("$d_B$ to the nearest ordinary checkpoint (nats)")
plots.figure_legend(fig, right, ncols=2)
alt = "Runs on random labels over ordinary ones, and their distance to the nearest."
plots.save_figure(fig, atlas.figure_path("60_random_labels.png"), alt=alt)

# %% [markdown]
# On the dotted line the nearest ordinary checkpoint is about as far away as ignorance: a run that follows it shares nothing of its way with anybody. Where a run on random labels stays at the line while the grey marks fall away from it, it has taken another road, however near the plane on the left may draw it to ordinary points: a projection hides what its axes do not hold.
#
# ## Is it another road, or the same road to another truth?
#
# One may object: of course they are elsewhere, they were sent elsewhere. So we turn the space round for them. On each sample we exchange two classes, such that the label a network was *fitted to* stands where the true one does. Then its loss and progress are those towards its own truth, and it can be compared with ordinary runs at equal progress. The labels are drawn again from the run's seed; its error on them must be the one that training recorded.

# %%
configs = {
    config.run_id: config
    for _, config in atlas.profile.configs()
    if config.run_id in noise.index
}

# %%
# Other chapters do without the data.
data = load_dataset(atlas.profile.dataset, data_dir) if configs else None
own_labels = {run: fitted_labels(configs[run], data) for run in noise.index}
turned = {
    run: exchange_classes(atlas.run_log_probs(run, "train"), own, labels)
    for run, own in own_labels.items()
}

# %%
own_progress = {run: progress(values, labels) for run, values in turned.items()}
for run, values in turned.items():
    assert np.isclose(
        (values[-1].argmax(axis=1) != labels).mean(), noise.fitted_error[run]
    )
print(
    {run: f"own progress up to {s.max():.2f}" for run, s in own_progress.items()}
    or "this profile has no runs on random labels"
)


# %% [markdown]
# Each of them is compared with ordinary runs of its own architecture and other seeds, on the stations that it reaches. What do the shuffles say? If networks found some samples easy whatever the label, the ratio would stay below 1.

# %% tags=["lesson"]
def partners_of(run):
    alike = runs[family_factor] == noise[family_factor][run]
    alike &= runs.scale == noise.scale[run]
    return (alike & (runs.seed != noise.seed[run])).to_numpy()


def spread_among(several):
    sums = [pairwise(several[:, k]).sum() for k in range(several.shape[1])]
    n_pairs = len(several) * (len(several) - 1)
    return np.mean(sums) / n_pairs if np.any(sums) else np.nan


# %% tags=["lesson"]
def against_ordinary(run):
    reach, same = stations < own_progress[run].max(), partners_of(run)
    if not reach.any() or not same.any():
        return None
    mine = resample(turned[run], own_progress[run], stations[reach])
    stack = np.concatenate([mine[None], trajectories[same][:, reach]])
    ends = pd.DataFrame({"first": 0, "second": np.arange(1, len(stack))})
    options = {"metrics": ("bhattacharyya",), "n_shuffles": n_shuffles, "rng": rng}
    found, heaps = statistics.compare_with_shuffled(stack, labels, ends, **options)
    real, chance = found.real_bhattacharyya.mean(), found.shuffled_bhattacharyya.mean()
    p = statistics.p_value(real, heaps["bhattacharyya"].mean(axis=0))
    row = {"run": run, "stations": reach.sum(), "ordinary runs": len(ends)}
    row |= {"real": real, "ratio": real / chance, "p": p}
    return row | {"over ordinary": real / spread_among(stack[1:])}


# %%
rows_of_noise = [row for run in noise.index if (row := against_ordinary(run))]
columns = ["run", "stations", "ordinary runs", "real", "ratio", "p", "over ordinary"]
second_null = pd.DataFrame(rows_of_noise, columns=columns).set_index("run")
second_null.round(3)

# %% [markdown]
# `ratio` is real over shuffled as before, and `over ordinary` the distance over that of two ordinary runs of this architecture. A ratio above 1, with p near 1, would mean that these runs learn the samples in an order *opposed* to the ordinary one.
#
# Do networks on random labels agree at least with one another? Two runs of equal seed were given the same random labels, whatever their architecture; others were given different ones.

# %%
together = [(u, v) for k, u in enumerate(noise.index) for v in noise.index[k + 1 :]]
shared = {}

# %%
for u, v in together:
    reach = stations < min(own_progress[u].max(), own_progress[v].max())
    if reach.any():
        both = [resample(turned[w], own_progress[w], stations[reach]) for w in (u, v)]
        kind = (
            "same labels"
            if np.array_equal(own_labels[u], own_labels[v])
            else "different labels"
        )
        shared[kind] = [
            *shared.get(kind, []),
            statistics.null_distances(*both, labels, n_shuffles=n_shuffles, rng=rng),
        ]

# %%
for kind, found in shared.items():
    print(
        f"{kind}: ratios "
        f"{', '.join(f'{f.ratio:.2f} (p = {f.p_value:.2g})' for f in found)}"
    )

# %% [markdown]
# Where equal labels give a clearly smaller ratio than different ones, it is the pairing of images and labels that decides which sample is learned when, and two architectures read it off alike. That is what one would call the same manifold.
#
# ## What we learned

# %%
for kind in kinds:
    found = verdicts.loc["bhattacharyya", kind]
    print(
        f"Pairs of {kind}: distance {found.ratio:.2f} times that "
        f"to the shuffled run ({found.low:.2f} to {found.high:.2f}, "
        f"p = {found.p:.2g}); they go {100 * agreements[kind].median():.0f} "
        "% of the way to the best matching."
    )

# %%
if both_kinds:
    print(
        f"Runs of different {family_name} are {apart[0]:.2f} ({apart[1]:.2f} "
        f"to {apart[2]:.2f}) times as far apart as seeds."
    )

# %%
if len(second_null):
    print(
        "Turned to their own labels, runs on random labels are "
        f"{second_null['over ordinary'].mean():.1f} times as far "
        "from ordinary runs as these from one another, "
        f"{second_null.ratio.mean():.2f} times what shuffled ones are."
    )

# %%
print(
    f"A public art project (One Road): {one_road['ratio'][0]} to "
    f"{one_road['ratio'][1]} and {one_road['over_seeds'][0]} to "
    f"{one_road['over_seeds'][1]}. The paper has no null model."
)

# %% tags=["hide-input"]
results = {}
for (metric, kind), row in verdicts.iterrows():
    name = kind if metric == "bhattacharyya" else f"{kind}_{metric}"
    results[f"ratio_{name}"] = claims.result(
        row.ratio,
        low=row.low,
        high=row.high,
        n=row.pairs,
        note="real over shuffled; 95 %, runs drawn again",
    )
    results[f"p_{name}"] = claims.result(
        row.p, n=n_shuffles, note="one-sided, mean over pairs"
    )

# %% tags=["hide-input"]
for kind, a in agreements.items():
    results[f"agreement_{kind}"] = claims.result(
        a.median(),
        low=a.min(),
        high=a.max(),
        n=len(a),
        note="0 chance, 1 best matching; median and range of pairs",
    )

# %% tags=["hide-input"]
if both_kinds:
    results[f"{across}_over_seeds"] = claims.result(
        apart[0],
        low=apart[1],
        high=apart[2],
        n=len(of_kind[across]),
        note="distance at equal progress; 95 %, runs drawn again",
    )

# %% tags=["hide-input"]
if len(off_diagonal):
    ends_of = {"lowest": off_diagonal.min(), "highest": off_diagonal.max()}
    for name, value in ends_of.items():
        key = f"{family_factor}_pairs_{name}"
        results[key] = claims.result(value, n=len(off_diagonal))

# %% tags=["hide-input"]
for name, column in (
    ("random_labels_ratio", "ratio"),
    ("random_labels_over_ordinary", "over ordinary"),
):
    values = second_null[column]
    results[name] = claims.result(
        values.mean(),
        low=values.min(),
        high=values.max(),
        n=len(values),
        note="mean and range of runs",
    )

# %% tags=["hide-input"]
for kind, found in shared.items():
    results[f"random_{kind.replace(' ', '_')}"] = claims.result(
        np.mean([f.ratio for f in found]), n=len(found), note="real over shuffled"
    )
claims.save_results(atlas, "60", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. For the Hellinger distance the shuffled mean needs no matrix of costs at all: $1 - \mathrm{BC}$ is linear in the products of square roots. Compute it for the pair above from the class means of the square roots, and compare.

# %% tags=["solution"]
roots = [statistics.unit_roots(values) for values in (first, second)]
by_class = [
    len(m) * (r[0][:, m].mean(axis=1) * r[1][:, m].mean(axis=1)).sum(axis=1).mean()
    for m in (np.flatnonzero(labels == c) for c in np.unique(labels))
    for r in [roots]
]
from_means = 1 - np.sum(by_class) / len(labels)
from_means

# %% tags=["check"]
exact = {"metric": "hellinger", "n_shuffles": 0}
known = statistics.null_distances(first, second, labels, **exact)
assert np.isclose(from_means, known.expected), "the mean over all shuffles"

# %% [markdown]
# 2. A weaker null shuffles *all* samples and turns each prediction to the new sample's class, by exchanging the two classes. Does the ratio of the pair above fall or rise, and why?

# %% tags=["solution"]
anywhere = rng.permutation(len(labels))
any_class = exchange_classes(second[:, anywhere], labels[anywhere], labels)
at_station = range(len(stations))
weaker = np.mean([pairwise(first[[k]], any_class[[k]])[0, 0] for k in at_station])
# Samples of one class are confused with the same few classes: that, too, is lost now.
pair_null.real / weaker

# %% tags=["check"]
assert np.allclose(progress(any_class, labels), progress(second, labels), atol=1e-6), (
    "still the same curve"
)
assert weaker >= 0

# %% [markdown]
# 3. At which progress do the two runs agree best? Compute the ratio of the pair above at each station.

# %% tags=["solution"]
along = [
    statistics.null_distances(first[k], second[k], labels, n_shuffles=0).ratio
    for k in range(len(stations))
]
pd.Series(along, index=pd.Index(stations, name="s")).round(2)

# %% tags=["check"]
assert len(along) == len(stations) and np.nanmin([0, *along]) >= 0

# %% [markdown]
# 4. Is the order of the samples a property of the data alone? Correlate, over samples, the mean probability of the true class along the trajectory of each of the two runs, within one class.

# %% tags=["solution"]
members = np.flatnonzero(labels == labels[0])
ease = [
    np.exp(values[:, np.arange(len(labels)), labels]).mean(axis=0)[members]
    for values in (first, second)
]
correlation = np.corrcoef(*np.argsort(np.argsort(ease, axis=1), axis=1))[0, 1]
correlation

# %% tags=["check"]
assert np.isnan(correlation) or -1 <= correlation <= 1 + 1e-9

# %% [markdown]
# ## What next
#
# Chapter 63 puts a network of your own beside these runs, and asks the same question of it.
#
# **References.** Hoeffding, *A combinatorial central limit theorem*, 1951, for mean and variance over permutations. Kuhn, *The Hungarian method for the assignment problem*, 1955. Phipson and Smyth, *Permutation p-values should never be zero*, 2010. Zhang et al., *Understanding deep learning requires rethinking generalization*, 2017. Hacohen, Choshen and Weinshall, *Let's agree to agree: neural networks share classification order on real datasets*, 2020.
