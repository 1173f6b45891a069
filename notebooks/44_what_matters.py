# %% [markdown]
# # Which choices make networks learn along different trajectories?
#
# **What.** The tree of all configurations, the effect of each factor with seeds as the yardstick, and the importance of factors for a regressor.
# **Figure of the paper.** The dendrogram and the importances of figure 4; the effect sizes go beyond it.
# **Answer.** The paper says: architecture, while optimiser and regularisation hardly matter. Here we measure the effect of every factor, with the spread between seeds as the yardstick, and the last section says where this atlas agrees.
#
# | | |
# |---|---|
# | Goals | compare configurations fairly; tell an effect from the spread of seeds; judge an importance against a null |
# | Prerequisites | chapter 31 (essential), chapter 43 (helpful) |
# | Minutes | 1 on CPU (reading: 20) |
# | Inputs, outputs | trajectories/, runs.parquet; figures, results/44.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from manifold_utils import claims, plots, profiles, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.studies import importance as regression
from manifold_utils.trajectories import common_progress, crossings, of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_permutations = 200  # shuffles of runs for each p-value
n_stations = 34  # values of progress at which effects are measured, at most
n_null = 20  # permuted tables for the null of the importances
n_leaves = 200  # configurations drawn in the tree at most
max_error = 0.1  # final train error up to which a run counts as trained
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)

# %% tags=["hide-input"]
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{(atlas.runs.grid == 'main').sum()} runs of the main grid, "
    f"{n_permutations} shuffles"
)

# %% [markdown]
# ## What do we load?
#
# Chapter 31 measured the distances between all runs at each value $s$ of progress. The paper's distance between two trajectories is the mean over $s$,
#
# $$d_{traj}(u, v) = \int_0^1 d_B\big(P_u(s), P_v(s)\big)\,ds.$$

# %%
design, first_split = atlas.design, atlas.splits[0]
trajectories, all_runs = of_atlas.load_trajectories(atlas, first_split)
main = (all_runs.grid == "main").to_numpy()
runs = all_runs[main]
layers = trajectories.distance.values[:, main][:, :, main]

# %%
d_traj = layers.mean(axis=0, dtype=float)
number, table = statistics.configurations(runs, design)
print(
    f"d_traj {d_traj.shape} of {len(runs)} runs in "
    f"{len(table)} configurations, up to {d_traj.max():.2f} nats"
)

# %% [markdown]
# A known value: a run is at distance zero from itself, and the order of two runs does not matter.

# %%
assert np.allclose(np.diag(d_traj), 0, atol=1e-6) and np.allclose(
    d_traj, d_traj.T, atol=1e-6
)
varied = statistics.shown_factors(runs, design)

# %%
factors = varied
if design == profiles.BOOK_DESIGN:
    factors = [*statistics.PAPER_FACTORS, "learning_rate"]
levels = {f: statistics.sorted_levels(runs[f]) for f in factors}
pd.Series(levels, name="levels").to_frame()

# %% [markdown]
# ## Who is near whom?
#
# We take the mean over seeds between every two configurations and build a tree: complete linkage joins the two groups whose *farthest* members are nearest. *Prediction:* which of the coloured strips under the tree will show long blocks of one colour?

# %% tags=["hide-input"]
few = np.sort(rng.permutation(len(table))[:n_leaves])
_, between, _ = statistics.between_configurations(d_traj, number)
tree = linkage(
    squareform(between[np.ix_(few, few)], checks=False),
    "complete",
    optimal_ordering=True,
)

# %% tags=["hide-input"]
fig, (ax, strips) = plt.subplots(2, 1, figsize=(9, 6.2), height_ratios=[2.6, 1.4])
plots.plot_dendrogram(ax, strips, tree, table.iloc[few], varied)
plots.level_legend(fig, table, varied)
alt = (
    f"Tree of {len(few)} configurations by trajectory distance; the strips below it "
    "show the level of each factor for every leaf."
)
plots.save_figure(fig, atlas.figure_path("44_dendrogram.png"), alt=alt)

# %% [markdown]
# Each leaf is a configuration; its column below shows its level of each factor. Heights are on a square-root scale, so that low forks can be seen. A strip with long blocks of one colour belongs to a factor that the tree has found by itself; a strip with many short pieces belongs to a factor that it has not.
#
# A number is more reliable than the eye. We cut the tree into as many groups as a factor has levels and compare the groups with the levels: the adjusted Rand index is 1 for the same partition and 0 on average for a random one.

# %%
drawn = table.iloc[few]
levels_of = {f: drawn[f].factorize()[0] for f in varied}
agreement = {
    f: adjusted_rand_score(v, fcluster(tree, v.max() + 1, "maxclust"))
    for f, v in levels_of.items()
}

# %%
agreement = pd.Series(agreement, name="adjusted Rand index").sort_values(
    ascending=False
)
agreement.round(2).to_frame()

# %% [markdown]
# A low index does not mean that a factor has no effect: a few configurations far from all others can use up the groups of a cut, and the rest then stays in one group. The effect sizes of the next section do not have this problem.
#
# ## How large is the effect of one factor?
#
# A tree shows only the strongest factor. To see the others we compare *matched pairs*: configurations that agree in everything but one factor. The yardstick is the distance between two seeds of the same configuration, which nobody would call an effect. For each pair we take the logarithm of the ratio,
#
# $$\text{effect} = \exp\,\Big\langle \log \frac{\text{distance of the pair, different seeds}}{\text{distance of two seeds of its configurations}} \Big\rangle,$$
#
# and average first over the pairs of one family, then over families. Because this is a mean of logarithms (a geometric mean of ratios), a single configuration that is far from everything cannot decide the result. A factor without effect has the ratio 1, because the runs of a matched pair differ in their seed as well. Since $d_B$ behaves like a *squared* length, a ratio of 1.25 means that the factor adds a quarter of the seeds' spread, or 12 % in length.
#
# There is one difficulty. A run that stops at $s = .7$ repeats its last point in $d_{traj}$, so beyond that value the distance says *how far it got* and not which way it went. Each pair is therefore compared with its own seeds on the values of progress that all of them have reached. Where all runs reach the end, this is the plain ratio of $d_{traj}$; the last section shows both.
#
# Grids do not vary every factor separately; in the book's grids, for example, the learning rate depends on the optimiser and the batch size. Where there is no strict match, and only there, the linked factor may differ too. The column `n_strict` counts the strict matches.

# %%
s = trajectories.s.values
reached = ~np.isinf(
    crossings(atlas.points, s, split=first_split).loc[runs.index].to_numpy()
)
common = common_progress(layers, reached)

# %%
stations = np.unique(np.linspace(0, len(s) - 1, min(n_stations, len(s))).astype(int))
print(
    f"{100 * reached[:, np.searchsorted(s, 0.9)].mean():.0f} "
    f"% of the runs reach progress .9; {len(stations)} stations"
)

# %%
repeats_said = (
    f"{len(runs) - len(table)} runs repeat a configuration with another seed."
    if statistics.has_repeats(runs, design)
    else "Effects need repeats as their yardstick, two seeds of a configuration at "
    "least; this atlas has none, so only the tree and the importances are shown."
)
print(repeats_said)

# %%
options = {"n_permutations": n_permutations, "rng": rng, "design": design}
effects = pd.DataFrame(
    [statistics.effect_size(common[stations], runs, f, **options) for f in levels]
)

# %%
effects = effects.sort_values("value", ascending=False, ignore_index=True)
shown_columns = ["value", "low", "high", "p_value", "over", "n_units", "n_pairs"]
effects.set_index("factor")[[*shown_columns, "n_strict"]].round(3)

# %% [markdown]
# The claim is about families in general, so the interval leaves out one family at a time, with all its pairs. It is a Student interval on the logarithm, with one degree of freedom fewer than there are families. The column `over` says *families* where this was possible. Factors that the grid changes together have the same pairs and therefore equal rows: their effect cannot be divided between them. The p-value shuffles, among matched configurations and separately for each seed that several runs share, which run belongs to which: if the factor did nothing, these runs would be exchangeable. *Prediction:* which intervals reach below 1?

# %% tags=["hide-input"]
known, picture_of_effects = effects.dropna(subset="value"), repeats_said
alt = (
    "Ratio of the distance between levels to the distance between seeds for each "
    "factor (n: matched pairs), with 95 % intervals; grey: shuffled runs."
)
if len(known):
    fig, ax = plt.subplots(figsize=(8.5, 1.2 + 0.65 * max(2, len(known))))
    plots.plot_effects(ax, known)
    picture_of_effects = plots.save_figure(
        fig, atlas.figure_path("44_effects.png"), alt=alt
    )
picture_of_effects

# %% [markdown]
# How does the effect of the family compare with that of another factor: the optimiser in the book's own atlases, otherwise the strongest other factor? Both are measured on the same runs, so we can give an interval for their ratio.

# %%
others = known[known.factor != family_factor]
second_factor = next(iter(others.factor), None)
if design == profiles.BOOK_DESIGN:
    second_factor = "optimizer"
both_vary = {family_factor, second_factor} <= set(known.factor)

# %%
nothing = {"value": np.nan, "low": np.nan, "high": np.nan, "n_units": 0}
if both_vary:
    pair_of_factors, of_pair = (family_factor, second_factor), {"design": design}
    measured = common[stations], runs, *pair_of_factors
    versus = statistics.effect_over_effect(*measured, **of_pair)
    print(
        f"{family_name} over {plots.factor_name(second_factor)}: "
        f"{versus['value']:.2f} ({versus['low']:.2f} to {versus['high']:.2f})"
    )
else:
    versus = nothing
    print(f"the effects of {family_name} and of another factor are not both known")

# %% [markdown]
# In the figure the black line is the spread between seeds, and the grey bar is what shuffled runs reach. A dot far to the right of the grey is a factor that changes trajectories more than a new seed does. The verdicts below use the interval (is it above 1?) and the shuffles (is the p-value below 5 %?). If the two disagree, the effect is small or there are few pairs.

# %%
for row in known.itertuples():
    signs = (row.low > 1) + (row.p_value < 0.05)
    verdicts = (
        "cannot be told from a new seed here",
        "interval and shuffles disagree",
        "moves more than a new seed",
    )
    verdict = verdicts[int(signs)]
    print(
        f"{plots.factor_name(row.factor)}: {row.value:.2f} "
        f"({row.low:.2f} to {row.high:.2f}), {verdict}"
    )

# %% [markdown]
# ## Does the answer depend on the family?
#
# The mean over families could hide that one of them is sensitive. We compute the same ratio within each family, with that family's own seeds as the yardstick.

# %% tags=["hide-input"]
beside = [f for f in others.factor if len(known)]
if design == profiles.BOOK_DESIGN:
    beside = [f for f in levels if f != family_factor and runs[f].nunique() > 1]
of_run = runs[family_factor]
members = {a: (of_run == a).to_numpy() for a in statistics.sorted_levels(of_run)}

# %% tags=["hide-input"]
ratios = pd.DataFrame(
    {
        f: {
            a: statistics.effect_ratio(common[:, m][:, :, m], runs[m], f, design=design)
            for a, m in members.items()
        }
        for f in beside
    }
)

# %% [markdown]
# The next figure is a table of these ratios, with one row for each family.

# %% tags=["hide-input"]
size = min(9, 2.5 + 1.3 * len(beside)), 1.5 + 0.5 * len(members)
by_family = "no family has repeats and another factor that varies in it"
alt = (
    f"Table of effect ratios: one row a level of {family_name}, one "
    f"column a factor, white at 1, red above, blue below; {len(runs)} runs."
)
if ratios.notna().any(axis=None):
    fig, ax = plt.subplots(figsize=size)
    plots.plot_ratio_map(ax, ratios, "distance over seeds' distance")
    by_family = plots.save_figure(
        fig, atlas.figure_path(f"44_by_{family_factor}.png"), alt=alt
    )
by_family

# %% [markdown]
# White is the spread between seeds, red is more, blue is less. A row shows what a family is sensitive to, and a column shows whether families agree. A dash means that the grid has no matched pair with two seeds.

# %%
for f in ratios.columns[ratios.notna().any()]:
    column = ratios[f].dropna()
    most = f"{column.idxmax()} ({column.max():.2f})"
    least = f"least for {column.idxmin()} ({column.min():.2f}), most for {most}"
    said = least if len(column) > 1 else f"known for {most} alone"
    print(f"{plots.factor_name(f)}: {said}")

# %% [markdown]
# ## At which stage of training does a factor matter?
#
# The effects are means over progress. Now we compute the same ratio at each value of $s$, among the runs that get there. Near $s = 0$ all runs are near ignorance and near each other, so that both distances are small. *Prediction:* does the optimiser matter early or late?

# %% tags=["hide-input"]
inner = np.flatnonzero((s > 0.02) & (s < 0.98))
unshown = "learning_rate" if design == profiles.BOOK_DESIGN else None
of_factor = [f for f in known.factor if f != unshown]
ratio_at, along = statistics.effect_ratio, {}
for f in of_factor:
    along[f] = [ratio_at(common[k], runs, f, design=design) for k in inner]

# %% tags=["hide-input"]
along = {f: curve for f, curve in along.items() if np.isfinite(curve).any()}
alt = (
    f"Effect ratio of each factor against progress, {len(runs)} runs, on a logarithmic "
    "axis; the line at 1 is the distance between seeds."
)
picture_along = repeats_said

# %% [markdown]
# The next figure has one curve for each factor.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4.4))
for k, (f, curve) in enumerate(along.items()):
    colour, _, dash = plots.numbered_style(k)
    ax.plot(s[inner], curve, color=colour, ls=dash, lw=2.2, label=plots.factor_name(f))
ax.axhline(1, color="black", lw=1.2)
ax.set(xlabel="progress $s$", ylabel="distance over seeds' distance", yscale="log")
plots.plain_log(ax.yaxis)
plots.legend_below(ax, ncols=5)
if along:
    path_along = atlas.figure_path("44_along_progress.png")
    picture_along = plots.save_figure(fig, path_along, alt=alt)
plt.close(fig)
picture_along

# %% [markdown]
# The black line at 1 is the spread between seeds: a curve on it belongs to a choice that changes no more than a new seed does. Where is each curve highest, and what is its value half-way?

# %%
for f, curve in along.items():
    top, middle = int(np.nanargmax(curve)), int(np.argmin(np.abs(s[inner] - 0.5)))
    half_way = f"half-way {curve[middle]:.2f}"
    half_way = half_way if np.isfinite(curve[middle]) else "not known half-way"
    print(
        f"{plots.factor_name(f)}: largest at s = {s[inner][top]:.2f} "
        f"({curve[top]:.2f}), {half_way}"
    )

# %% [markdown]
# A factor matters most where its curve peaks. Read both ends with care: at the left all distances are small, and at the far right only runs that get very near the truth are left.
#
# ## Can the distance be predicted from the factors?
#
# The paper asks a regressor to predict $d_{traj}$ of a pair from the pair's factors, and then how much of its $R^2$ is lost when the column of one factor is permuted: that is the *importance* of the factor. Two precautions are needed. The regressor is judged on pairs of configurations that it has *never seen*. And we repeat everything with a table in which the runs' factors are permuted (Mantel's test), to see what importance a meaningless table reaches.

# %%
lacking = regression.lacking(runs, design) if varied else "no factor varies"
enough = not lacking

# %%
if enough:
    lost = regression.importance(d_traj, runs, design=design, rng=rng)
    tables = [runs.iloc[rng.permutation(len(runs))] for _ in range(n_null)]
    once = {"n_splits": 1, "design": design, "rng": rng}
    nulls = [regression.importance(d_traj, t, **once) for t in tables]
    null = pd.concat(nulls, ignore_index=True)
    print(f"R2 held out {lost.r2.mean():.2f}, with permuted runs {null.r2.mean():.2f}")
else:
    print(f"{lacking}: no regression")

# %% [markdown]
# The next figure has one bar for each factor; dots are splits of the configurations, and the dashed mark is the null. *Prediction:* is the order the same as for the effect sizes?

# %% tags=["hide-input"]
picture = None
if enough:
    fig, ax = plt.subplots(figsize=(8, 4.2))
    plots.plot_importance(ax, lost[varied], null[varied])
    alt = (
        f"Permutation importance of each factor on held-out configurations of "
        f"{len(runs)} runs; dots are splits, the dashed mark is the null."
    )
    picture = plots.save_figure(fig, atlas.figure_path("44_importance.png"), alt=alt)
picture

# %% [markdown]
# An importance is relative to *all* variation between pairs. The effect of a factor can be real, as its effect size shows, and yet nearly useless for prediction; "hardly matters" is a statement about prediction. Look at the dots before you rank the bars: if they spread over more than the difference between two bars, the order of these bars depends on the split. This null asks whether the table as a whole means anything, whereas the shuffled runs above test one factor while the others are held fixed.

# %%
for f in lost[varied].mean().sort_values(ascending=False).index if enough else []:
    print(
        f"{plots.factor_name(f)}: {lost[f].mean():.2f} "
        f"(splits {lost[f].min():.2f} to {lost[f].max():.2f})"
    )

# %% [markdown]
# A bar below the dashed mark is no more than a meaningless table reaches.
#
# ## Does the answer depend on how we measure?
#
# We make three changes: the plain $d_{traj}$ with repeated ends; only runs that ended trained; and test predictions at equal test progress.

# %%
trained = (runs[f"final_error_{first_split}"] <= max_error).to_numpy()
with_test = len(atlas.splits) > 1
second_split = atlas.splits[-1]

# %%
test_trajectories, _ = of_atlas.load_trajectories(atlas, second_split)
test_layers = test_trajectories.distance.values[:, main][:, :, main]
passed = crossings(atlas.points, s, split=second_split).loc[runs.index]
test_reached = ~np.isinf(passed.to_numpy())

# %%
views = {"as above": (common, runs), "plain d_traj": (d_traj, runs)}
if trained.any():
    among_trained = common[:, trained][:, :, trained], runs[trained]
    views[f"trained ({trained.sum()} runs)"] = among_trained
if with_test:
    views["test predictions"] = common_progress(test_layers, test_reached), runs

# %%
on_test = common_progress(test_layers, test_reached)[stations]

# %%
robust = pd.DataFrame(
    {
        name: {
            f: statistics.effect_ratio(d, r, f, design=design) for f in known.factor
        }
        for name, (d, r) in views.items()
    }
)
robust.round(2)

# %% [markdown]
# If a row keeps its value across the columns, the answer does not depend on how it was measured. If its second column is much larger than the first, the factor mainly decides *how far* runs get in the time they have.
#
# For test predictions we repeat the intervals, the tree and the importances, because the same networks may agree on train samples and differ on others.

# %%
quick = {"n_permutations": 0, "rng": rng, "design": design}
told_apart = list(known.factor) if with_test else []
columns = ["factor", "value", "low", "high", "over", "n_pairs"]

# %%
effects_test = pd.DataFrame(
    [statistics.effect_size(on_test, runs, f, **quick) for f in told_apart],
    columns=columns,
).set_index("factor")
effects_test[["value", "low", "high", "over"]].round(3)

# %%
d_test = test_layers.mean(axis=0, dtype=float)
_, between_test, _ = statistics.between_configurations(d_test, number)
square_test = squareform(between_test[np.ix_(few, few)], checks=False)
tree_test = linkage(square_test, "complete")

# %%
agreement_test = {
    f: adjusted_rand_score(v, fcluster(tree_test, v.max() + 1, "maxclust"))
    for f, v in levels_of.items()
    if with_test
}

# %%
both_enough = enough and with_test
lost_test, beside_each_other = None, {f"Rand index, {first_split}": agreement}
if both_enough:
    lost_test = regression.importance(d_test, runs, design=design, rng=rng)
if with_test:
    beside_each_other["test"] = pd.Series(agreement_test, dtype=float)

# %%
if enough:
    beside_each_other[f"importance, {first_split}"] = lost[varied].mean()
if both_enough:
    beside_each_other["importance, test"] = lost_test[varied].mean()
pd.DataFrame(beside_each_other).round(2)

# %% [markdown]
# The rows are factors. The Rand index says whether the tree, cut into as many groups as the factor has levels, finds these levels; the importance says how much a regressor of the distance loses without the factor.
#
# ## What we learned

# %%
by_factor = effects.set_index("factor")
real = others[(others.low > 1) & (others.p_value < 0.05)]
if family_factor in set(known.factor):
    row = by_factor.loc[family_factor]
    print(
        f"Runs that differ in {family_name} are {row.value:.1f} times as far "
        f"apart as seeds ({row.low:.1f} to {row.high:.1f})."
    )

# %%
listed = ", ".join(
    f"{plots.factor_name(f)} ({v:.2f})"
    for f, v in zip(real.factor, real.value, strict=True)
)

# %%
if len(known):
    print(
        f"Besides {family_name}, these factors change trajectories more than a new "
        f"seed does: {listed or 'none that we can tell'}."
    )
else:
    print(repeats_said)

# %%
contrary = [
    f for f in real.factor if f in ("optimizer", "weight_decay", "augmentation")
]

# %%
print(
    "The paper says that architectures are distinguishable and that "
    "optimiser and regularisation hardly matter."
)

# %%
if contrary:
    print(
        f"Here the effect of {' and '.join(map(plots.factor_name, contrary))} can be "
        "told from that of a new seed; chapter 99 judges whether it is small enough."
    )

# %%
if len(agreement):
    print(
        "Cut into groups, the tree agrees best with "
        f"{plots.factor_name(agreement.index[0])} (adjusted Rand index "
        f"{agreement.iloc[0]:.2f}; 1 means the same partition)."
    )

# %% tags=["hide-input"]
results = {}
for row in effects.itertuples():
    linked = statistics.linked_factors(table, row.factor, design)
    free = ", ".join(linked) or "nothing else"
    note = (
        f"{row.n_strict} of {row.n_pairs} pairs strict, the others differ in {free} "
        f"too; interval: {row.n_units} {row.over} left out in turn"
    )
    results[f"effect_{row.factor}"] = claims.result(
        row.value, low=row.low, high=row.high, n=row.n_pairs, note=note
    )
    results[f"p_{row.factor}"] = claims.result(row.p_value, n=n_permutations)

# %% tags=["hide-input"]
ends_of = {"low": versus["low"], "high": versus["high"], "n": versus["n_units"]}
if second_factor:
    key = f"{family_factor}_over_{second_factor}"
    results[key] = claims.result(versus["value"], **ends_of)
for f, row in effects_test.iterrows():
    ends_of = {"low": row.low, "high": row.high, "n": row.n_pairs}
    results[f"effect_test_{f}"] = claims.result(row.value, **ends_of)

# %% tags=["hide-input"]
for f in varied if both_enough else []:
    ends_of = {"low": lost_test[f].min(), "high": lost_test[f].max(), "n": len(table)}
    mean_lost = lost_test[f].mean()
    results[f"importance_test_{f}"] = claims.result(mean_lost, **ends_of)
for f, v in agreement_test.items():
    results[f"rand_test_{f}"] = claims.result(v, n=len(few))

# %% tags=["hide-input"]
for f, ratio in robust["plain d_traj"].items():
    results[f"plain_{f}"] = claims.result(
        ratio, n=int(by_factor.n_pairs[f]), note="plain d_traj, ends repeated"
    )

# %% tags=["hide-input"]
for f in varied if enough else []:
    low, high = lost[f].min(), lost[f].max()
    results[f"importance_{f}"] = claims.result(
        lost[f].mean(), low=low, high=high, n=len(table), note="range of splits"
    )

# %% tags=["hide-input"]
results |= {f"rand_{f}": claims.result(v, n=len(few)) for f, v in agreement.items()}
seeds = statistics.seeds_of(runs, design)
between_seeds = np.diag(statistics.seed_means(d_traj, number, seeds))
if np.isfinite(between_seeds).any():
    about = {"n": len(table), "unit": "nats"}
    results["seed_distance"] = claims.result(np.nanmean(between_seeds), **about)
claims.save_results(atlas, "44", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Two runs of the *same* seed share their initial weights and the order of their batches. Take every pair of runs from the matched configurations `pairs`, which differ in one factor, such as the optimiser. Define `same` and `other`, the mean of `d_traj` over pairs of equal seed and over pairs of different seeds (`None` where there are no such pairs). Does the seed pull them together?

# %% tags=["stub"]
asked = second_factor if second_factor in table else factors[0]  # given
pairs = statistics.matched_pairs(table, asked, design=design)  # given
same = ...  # a number, in nats
other = ...  # a number, in nats

# %% tags=["solution"]
member = [np.flatnonzero(number == k) for k in range(len(table))]
ends = pairs[["first", "second"]].to_numpy()
cells = [(u, v) for a, b in ends for u in member[a] for v in member[b]]
equal_seed = np.array([seeds[u] == seeds[v] for u, v in cells], dtype=bool)
values = np.array([d_traj[cell] for cell in cells])
same = values[equal_seed].mean() if equal_seed.any() else None
other = values[~equal_seed].mean() if (~equal_seed).any() else None
same, other

# %% tags=["check"]
assert same is None or np.isscalar(same) and same >= 0, (
    f"expected a distance in nats, or None, found {same!r}"
)
assert other is None or np.isscalar(other) and other >= 0, (
    f"expected a distance in nats, or None, found {other!r}"
)

# %% tags=["check", "hidden"]
alike, unlike = [], []
for a, b in pairs[["first", "second"]].to_numpy():
    block = d_traj[np.ix_(number == a, number == b)]
    shared = np.equal.outer(*(np.asarray(seeds)[number == k] for k in (a, b)))
    alike += block[shared].tolist()
    unlike += block[~shared].tolist()
known_means = [np.mean(group) if group else None for group in (alike, unlike)]
assert same is None if known_means[0] is None else np.isclose(same, known_means[0]), (
    f"expected {known_means[0]}, found {same}"
)
assert other is None if known_means[1] is None else np.isclose(other, known_means[1]), (
    f"expected {known_means[1]}, found {other}"
)

# %% [markdown]
# 2. Build the tree of the configurations `few` with average linkage instead of complete linkage, and cut it into as many groups as there are families. Define `rand_average`, the adjusted Rand index of groups and families (`drawn[family_factor]`). Does it change?

# %% tags=["stub"]
rand_average = ...  # a number, at most 1

# %% tags=["solution"]
average_tree = linkage(squareform(between[np.ix_(few, few)], checks=False), "average")
family_codes = drawn[family_factor].factorize()[0]
groups = fcluster(average_tree, family_codes.max() + 1, "maxclust")
rand_average = adjusted_rand_score(family_codes, groups)
rand_average

# %% tags=["check"]
assert np.isscalar(rand_average) and -1 <= rand_average <= 1, (
    f"expected a number from -1 to 1, found {rand_average!r}"
)

# %% tags=["check", "hidden"]
by_mean = linkage(squareform(between[np.ix_(few, few)], checks=False), "average")
cut = fcluster(by_mean, drawn[family_factor].nunique(), "maxclust")
known_agreement = adjusted_rand_score(drawn[family_factor], cut)
assert np.isclose(rand_average, known_agreement), (
    f"expected {known_agreement:.4f}, found {rand_average}"
)

# %% [markdown]
# 3. Define `nearest_families` and `farthest_families`, the pairs of families that are nearest and farthest on average (empty tuples with a single family). Use `between_configurations` on the family.

# %% tags=["stub"]
nearest_families = ...  # (name, name)
farthest_families = ...  # (name, name)

# %% tags=["solution"]
names, families, _ = statistics.between_configurations(d_traj, runs[family_factor])
i, j = np.triu_indices(len(names), 1)
order = np.argsort(families[i, j])
by_distance = [(names[i[k]], names[j[k]]) for k in order] or [()]
nearest_families, farthest_families = by_distance[0], by_distance[-1]
nearest_families, farthest_families

# %% tags=["check"]
assert isinstance(nearest_families, tuple) and set(nearest_families) <= set(
    runs[family_factor]
), f"expected a pair of families, found {nearest_families!r}"
assert isinstance(farthest_families, tuple) and set(farthest_families) <= set(
    runs[family_factor]
), f"expected a pair of families, found {farthest_families!r}"

# %% tags=["check", "hidden"]
named, means, _ = statistics.between_configurations(d_traj, runs[family_factor])
apart = {
    frozenset((named[a], named[b])): means[a, b]
    for a in range(len(named))
    for b in range(a)
} or {frozenset(): 0.0}
assert apart.get(frozenset(nearest_families)) == min(apart.values()), (
    f"expected {min(apart, key=apart.get)}, found {nearest_families}"
)
assert apart.get(frozenset(farthest_families)) == max(apart.values()), (
    f"expected {max(apart, key=apart.get)}, found {farthest_families}"
)

# %% [markdown]
# 4. The effect of augmentation is measured against un-augmented predictions. Suppose predictions were recorded through the training transform, as the authors did, so that random crops add noise to every prediction of an augmented run. Define `grows`, a set that says which of the two yardsticks would grow: `"between"` augmented and other runs, `"within"` augmented ones.

# %% tags=["stub"]
grows = ...  # a set of "between", "within", or both

# %% tags=["solution"]
grows = {"between", "within"}
by_factor[["between", "within"]]

# %% tags=["check"]
assert isinstance(grows, set) and grows <= {"between", "within"}, (
    f"expected a set of these two names, found {grows!r}"
)

# %% tags=["check", "hidden"]
assert grows == {"between", "within"}, (
    f"expected both, since noise separates any two runs that have it, found {grows}"
)

# %% [markdown]
# ### Quiz
#
# **1.** A factor has a large effect on the final error. Must it have a large effect on the trajectory?
#
# <details><summary>Answer</summary>No. A factor may change how far a network gets along the way, and leave the way as it is. The chapter compares at equal progress for this reason.</details>
#
# **2.** Why are pairs of configurations compared that differ in one factor only?
#
# <details><summary>Answer</summary>If two factors change together, their effects cannot be told apart. Matched pairs hold everything else fixed.</details>
#
# **3.** What does the seed do in this comparison?
#
# <details><summary>Answer</summary>It is the yardstick: runs that differ in their seed only show how large a difference is that means nothing. A factor matters if it moves trajectories farther than this.</details>

# %% [markdown]
# ## What next
#
# Chapter 45 changes what this chapter held fixed: the size of the network.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figure 4.
# * [Mantel1967] Mantel, *The detection of disease clustering and a generalized regression approach*, Cancer Research 27, 1967.
# * [Breiman2001] Breiman, *Random forests*, Machine Learning 45, 2001. For permutation importance.
# * [Hubert1985] Hubert and Arabie, *Comparing partitions*, Journal of Classification 2, 1985.
