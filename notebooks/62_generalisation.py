# %% [markdown]
# # Does the road through the train samples tell how a network does on others?
#
# **What.** Seven numbers that are known from train predictions alone, set against the final test error of each network.
# **Figure of the paper.** None. How the low dimension bears on generalisation is an open question of the paper.
# **Answer.** A correlation for each number, and a score on networks that the regression has not seen, each with an interval and a null. All of it is association, because no run was changed here to see what happens.
#
# | | |
# |---|---|
# | Goals | tell a correlation from a prediction; judge on configurations and on families that a regression has not seen; say what one set of numbers adds to another |
# | Prerequisites | chapters 31 and 46 (essential), regression and cross-validation (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions, points.parquet, trajectories/; figures, results/62.json |

# %%
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn import ensemble, model_selection

from manifold_utils import claims, geometry, plots, statistics, trajectories
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.statistics import in_words
from manifold_utils.studies import held_out, roads
from manifold_utils.trajectories import of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
half_way = 0.5  # progress at which roads are compared, or the last one before it
share = 0.75  # of the runs must reach a value of progress for it to be used
n_folds = 5  # parts of the configurations, each held out once
min_configurations = 8  # with fewer there is nothing to hold out
n_null = 399  # exchanges under each null; many tests at once need small p-values
seed = 0  # of folds, exchanges and the bootstrap

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
labels = {split: atlas.labels(split) for split in ("train", "test")}
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
kinds_of = statistics.kinds_of_pairs(atlas.runs, atlas.design)
in_plural = next((k for k, f in kinds_of.items() if f == family_factor), family_name)
stream = partial(statistics.stream, seed)  # a generator for each purpose
print(
    f"{len(atlas.runs)} runs; {len(labels['train'])} "
    f"train and {len(labels['test'])} test samples"
)

# %% [markdown]
# ## What do we load?
#
# We load the runs of the main grid that get half-way to the *train* truth. So this chapter is about networks that learn. Seeds of one configuration resemble each other; therefore every interval below draws configurations, not runs.

# %%
everyone, runs, station, walked, configuration = roads.half_way(
    atlas, half_way, share=share
)
print(
    f"station s = {station:.2f}, passed by {len(runs)} of {len(everyone)} "
    f"runs in {len(np.unique(configuration))} configurations"
)

# %% [markdown]
# Three outcomes are to be predicted. The *test error* and the *test distance* $d_B(P, P_*)$, which is half the test loss, are taken as logarithms because they spread over decades (half a sample is added to the error). The *gap* is the test distance minus the train distance.

# %%
last = roads.last_points(atlas, runs)
outcome = roads.outcomes(last, len(labels["test"]))
finite = np.isfinite(outcome).all(axis=1)
if not finite.all():
    raise claims.NotEnough(f"{(~finite).sum()} runs end with a loss of 0 or infinity")
last[["error_train", "error_test", "loss_train", "loss_test"]].describe().loc[
    ["count", "min", "50%", "max"]
].round(4)

# %% [markdown]
# A known value: the distance to truth is half the loss.

# %%
final = atlas.run_log_probs(runs.index[0], "test")[-1:]
truth_of_test = geometry.truth(labels["test"], final.shape[2])
to_truth_of_test = pairwise(final, truth_of_test)[0, 0]
assert np.isclose(to_truth_of_test, last.loss_test.iloc[0] / 2, rtol=1e-3)

# %% [markdown]
# ## What can be known without a test sample?
#
# Train predictions give seven numbers for each run:
#
# * *progress* at the end, and the *length* of the way in radians on the sphere of square roots;
# * the *bow*: the distance to the geodesic at the half-way station. It is large if the network is already sure of some samples while it is still wrong on others;
# * the distance *to the mean* of all runs at that station;
# * the coordinates on the first three *axes* of an InPCA of all runs at that station. The axes use no test label, but they are made from all runs, including those that are held out later.

# %%
road = roads.numbers_of_road(atlas, runs, station)
assert np.isfinite(road.to_numpy()).all()
road.describe().loc[["min", "50%", "max"]].round(3)

# %% [markdown]
# Length, bow and distance are shown as logarithms. A check on the length: no way is shorter than the great circle between its ends.

# %%
one_way = of_atlas.own_road(atlas, runs.index[0])
straight = pairwise(one_way[:1], one_way[-1:], metric="geodesic")[0, 0]
assert np.exp(road.length.iloc[0]) >= straight - 1e-4
assert np.isclose(trajectories.riemann_length(one_way)[-1], np.exp(road.length.iloc[0]))

# %% [markdown]
# ## Does one of these numbers go with the test error?
#
# We begin with Spearman's rank correlation, number by number. Beside it stands a stricter one: the final train loss, the final train error and the family are removed from both ranks first, because they are known anyway.

# %%
given = runs[[family_factor]].assign(loss=last.loss_train, error=last.error_train)
known = road.assign(**{"train loss": last.loss_train, "train error": last.error_train})
columns = ["rho", "low", "high"]
plain, strict = {}, {}

# %%
for name, values in known.items():
    pair = values, outcome["test error"], configuration
    plain[name] = statistics.rank_association(*pair, rng=stream("rank"))
    if name in road:
        rest_fixed = {"given": given, "rng": stream("rank, rest fixed")}
        strict[name] = statistics.rank_association(*pair, **rest_fixed)

# %% [markdown]
# A run without any train error has nothing more to say by that error. So we ask these runs about their bow separately.

# %%
silent = (last.error_train == 0).to_numpy()
pair = road.bow[silent], outcome["test error"][silent], configuration[silent]
among_silent = statistics.rank_association(*pair, rng=stream("bow without train error"))
plain["bow, runs without train error"] = among_silent

# %%
ranked = pd.DataFrame(plain, index=columns).T
fixed = pd.DataFrame(strict, index=columns).T
ranked.join(fixed, rsuffix=", rest fixed").round(2)

# %% [markdown]
# The next figure has a mark for each run: its final train loss, its final train error and its bow (in nats), each against its final test error. Half a sample is added to both errors, so that an error of zero can be drawn. *Prediction:* the loss is what training minimised. Is it the best guide of the three?

# %% tags=["hide-input"]
none = 0.5 / len(labels["train"])
pictured = {
    "train loss": ("final train loss (nats)", last.loss_train),
    "train error": ("final train error", last.error_train + none),
    "bow": (f"bow at s = {station:.2f} (nats)", np.exp(road.bow)),
}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 4.1), sharey=True)
for ax, (name, (x_label, x)) in zip(axes, pictured.items(), strict=True):
    plots.plot_marks(ax, x, np.exp(outcome["test error"]), runs[family_factor])
    ax.set(xscale="log", yscale="log", xlabel=x_label, ylabel="final test error")
    ax.set_title(f"Spearman {ranked.rho[name]:.2f}", fontsize=12)
    plots.plain_log(ax.xaxis)
    plots.plain_log(ax.yaxis)
    ax.label_outer()
axes[1].axvspan(0.75 * none, 1.4 * none, color="0.92", lw=0, zorder=0)
axes[1].annotate("no error", (1.5 * none, axes[1].get_ylim()[1]), va="top")
plots.figure_legend(fig, axes[-1])
alt = "Final test error against train loss, train error and distance to the geodesic."
plots.save_figure(fig, atlas.figure_path("62_one_number.png"), alt=alt)

# %% [markdown]
# The grey band in the middle panel holds the runs without train error: they differ in their test error all the same. A negative correlation of train and test error is no paradox: augmented runs fit their train samples less well, and may do better on test samples. A family that sits in one corner of a panel produces a correlation on its own. That is why the table also has the stricter number, and why the next section asks about families that the regression has never seen.
#
# ## How well can the test outcome be predicted?
#
# A ridge regression learns the outcomes from sets of numbers. It is judged on *configurations* that it has not seen (all seeds of a configuration are held out together), and in a harder round on whole *families* that it has not seen. The score is $R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2$, with $\bar y$ the mean of the runs that it learned from: 0 is no better than guessing that mean, and below 0 is worse.

# %%
factors = statistics.shown_factors(runs, atlas.design)
settings = pd.get_dummies(runs[factors].astype(str), dtype=float)
log_error = roads.log_errors(last, len(labels["train"]), "train")
ends = pd.DataFrame({"loss": np.log(last.loss_train), "error": log_error})

# %%
sets = {
    "train loss": ends[["loss"]],
    "train loss and error": ends,
    atlas.family: settings.filter(regex=f"^{family_factor}_"),
    "all settings": settings,
    "the road to half-way": road.drop(columns=["progress", "length"]),
    "the road": road,
    "loss, error, settings": ends.join(settings),
    "... and the road": ends.join(settings).join(road),
}
sets = {name: table for name, table in sets.items() if table.shape[1]}

# %% [markdown]
# The null exchanges whole configurations: each gets the outcomes of another one, so that only luck is left to learn. There is one penalty, fixed in advance; nothing here picks the best of many regressions.

# %%
folding = {"n_folds": n_folds, "least": min_configurations}
families = runs[family_factor].to_numpy()
rounds = held_out.rounds_of(families, configuration, in_plural, **folding)
options = {"n_null": n_null, "seed": seed, "stream": stream}
scores = held_out.scores(sets, outcome, rounds, configuration, **options)
print("held out in turn:", ", ".join(rounds) or "nothing, there are too few")

# %% [markdown]
# How high can $R^2$ be? Seeds of one configuration end with different test errors, and no setting tells which seed is lucky. So settings alone cannot explain more than the share of the variance *between* configurations. We estimate this ceiling from the seeds, by one-way analysis of variance. The road is measured on each run itself, so it may pass the ceiling.

# %%
ceilings = pd.DataFrame(
    {
        what: statistics.seed_ceiling(values, configuration, rng=stream("ceiling"))
        for what, values in outcome.items()
    },
    index=["ceiling", "low", "high"],
).T
ceilings.round(2)

# %% [markdown]
# The next figure shows $R^2$ with its 95 % interval over configurations, a grey tick at the 95 % quantile of the null, and the ceiling as a dashed line. *Prediction:* the name of its family tells something about a network of a known family. What does it tell about an unknown one, and what does the road tell there?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 5.4), sharey=True)
for ax, what in zip(axes, outcome, strict=True):
    ax.set_title(what if rounds else f"{what}\n(too few configurations)")
    if rounds:
        plots.plot_r2(ax, scores.xs(what, level=2), ceilings.ceiling[what])
plots.figure_legend(fig, axes[0], ncols=4)
alt = "Held-out R2 of three test outcomes for sets of numbers, with null and ceiling."
plots.save_figure(fig, atlas.figure_path("62_prediction.png"), alt=alt)

# %% [markdown]
# A set of numbers is informative where its interval lies to the right of 0 and of its tick; an arrow at the left edge lies beyond it. Two baselines matter. The first is the final train *loss*, which training minimised. The second adds the final train *error*, which costs nothing to know; a number that tells no more than these two is no news.
#
# ## Does the road add to what is known anyway?
#
# We take the gain in $R^2$ over two baselines: train loss and error, and both with all settings. The null of a gain exchanges roads between configurations of one family, while everything else stays in place. These are many tests of one question, so the p-values are corrected for their number (Holm).

# %%
bases = {name: sets[name] for name in ("train loss and error", "loss, error, settings")}
parts = road, bases, outcome, rounds, configuration, families
gains = held_out.gains(*parts, **options)
gains.round(3)

# %% [markdown]
# The next figure gives each gain its verdict, in the words of chapter 99. *Holds beyond the null* needs an interval above 0 and a corrected p of at most .05.

# %% tags=["hide-input"]
judged = held_out.judged(gains)
fig, ax = plt.subplots(figsize=(9, 4 if rounds else 1))
ax.set_axis_off()
if rounds:
    tables = [judged[part].unstack(0, sort=False) for part in ("verdict", "number")]
    rows = [f"{what}, beyond {base}" for base, what in tables[0].index]
    held_too = [t.set_axis(rows).add_suffix(" held out") for t in tables]
    plots.plot_verdicts(ax, *held_too)
else:
    ax.set_title("too few configurations to hold any out")
alt = "Gain in held-out R2 by the road over two baselines, with a verdict for each."
plots.save_figure(fig, atlas.figure_path("62_gains.png"), alt=alt)

# %% [markdown]
# *The null does as well* means that the road of another configuration of the same family helps as much: what helped was the family. *Contradicted* means that the regression does worse with the road, because seven more numbers mislead it on networks that it does not know. A gain is not a cause either. The bow comes from samples that a run still gets wrong half-way while it is sure of others; a network that is slow on hard train samples may be poor on hard test samples for the same reason, whatever that reason is.
#
# ## What we learned

# %% tags=["hide-input"]
singles = "bow", "train error", "train loss"
rho = {name: in_words(*ranked.loc[name]) for name in singles}
strongest = ranked.rho[list(rho)].abs().fillna(-1).idxmax()
print(
    f"Over {len(runs)} runs, the {strongest} is the best single guide to the test "
    f"error: the rank correlation is {rho['bow']} for the bow, {rho['train error']} "
    f"for the train error and {rho['train loss']} for the train loss."
    if ranked.rho[list(rho)].notna().any()
    else f"{len(runs)} runs are too few for a rank correlation with the test error."
)

# %% tags=["hide-input"]
if np.isfinite(among_silent[0]):
    still = "still" if among_silent[1] > 0 else "no longer clearly"
    print(
        f"Among the {silent.sum()} runs without any train error, the bow {still} goes "
        f"with the test error: the rank correlation is {in_words(*among_silent)}."
    )

# %% tags=["hide-input"]
adds = {
    claims.HOLDS: "adds more than chance",
    claims.NULL: f"adds no more than another road of the same {family_name} would",
    claims.UNDECIDED: "adds nothing that can be told from 0",
    claims.CONTRADICTED: "makes the prediction worse",
}
r2 = {key: in_words(*row) for key, row in scores.iloc[:, :3].T.items()}
for held in rounds:
    of_road, of_ends = (r2[held, n, "test error"] for n in ("the road", list(bases)[0]))
    gain = judged.loc[(held, list(bases)[0], "test error")]
    print(
        f"With {held} held out, the road predicts the test error with R2 = {of_road}, "
        f"train loss and error with {of_ends}; to these the road {adds[gain.verdict]} "
        f"(p = {gain['p corrected']:.2g}, corrected for {len(gains)} tests)."
    )

# %% tags=["hide-input"]
clear = judged.verdict == claims.HOLDS
if rounds:
    print(f"{clear.sum()} of {len(gains)} gains of the road hold beyond the null.")
else:
    print("There are too few configurations to hold any out.")
for what, ceiling in ceilings.ceiling.dropna().items():
    print(f"Seeds leave {ceiling:.2f} of the variance of the {what} to settings.")
if ceilings.ceiling.isna().any():
    print("No configuration has two seeds, so the ceiling of settings is not known.")

# %% tags=["hide-input"]
results = {"n_runs": claims.result(len(runs), n=len(everyone), unit="runs")}
spearman = {"low": "low", "high": "high", "n": len(runs)}
spearman["note"] = "Spearman with final test error; 95 %, configurations drawn again"
of_all = ranked.drop(index="bow, runs without train error")
results |= claims.results_of(of_all, "rank_{}", "rho", **spearman)
spearman["note"] += "; ranks after train loss, train error and family"
results |= claims.results_of(fixed, "rank_{}_rest_fixed", "rho", **spearman)
ends_silent = dict(zip(("value", "low", "high"), among_silent, strict=True))
results["rank_bow_without_train_error"] = claims.result(**ends_silent, n=silent.sum())

# %% tags=["hide-input"]
held = {"low": "low", "high": "high", "n": len(runs), "note": "held out"}
turned = scores.reorder_levels([0, 2, 1])
results |= claims.results_of(turned, "r2_{}_{}_{}", "R2", **held)
turned = gains.reorder_levels([0, 2, 1])
results |= claims.results_of(turned, "gain_{}_{}_over_{}", "gain", **held)
held = {"n": len(runs), "note": f"Holm over {len(gains)} gains, {n_null} exchanges"}
results |= claims.results_of(turned, "gain_p_{}_{}_over_{}", "p corrected", **held)
held = spearman | {"note": "variance between configurations over the total"}
results |= claims.results_of(ceilings, "r2_ceiling_{}", "ceiling", **held)
claims.save_results(atlas, "62", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Is a linear regression too poor? Let the random forest `forest` predict the test error from the road. Define `by_forest`, its prediction for each run while the fold of that run is held out (`cross_val_predict` with the folds `cut` of `groups`), and `r2_forest`, one minus the squared errors over the squared deviations of `y` from its mean. Compare it with the score of the ridge regression.

# %% tags=["stub"]
y = outcome["test error"].to_numpy()  # given
groups = configuration if len(set(configuration)) > 1 else np.arange(len(y))  # given
cut = model_selection.GroupKFold(min(n_folds, len(set(groups))))  # given
forest = ensemble.RandomForestRegressor(40, random_state=seed)  # given
by_forest = ...  # array, one prediction for each run
r2_forest = ...  # a number, at most 1

# %% tags=["solution"]
folds = {"groups": groups, "cv": cut}
by_forest = model_selection.cross_val_predict(forest, road.to_numpy(), y, **folds)
spread = np.square(y - y.mean()).sum()
r2_forest = 1 - np.square(y - by_forest).sum() / spread if spread else np.nan
r2_forest

# %% tags=["check"]
assert np.shape(by_forest) == (len(runs),), (
    f"expected {len(runs)} predictions, found {by_forest!r}"
)
assert np.isscalar(r2_forest) and not r2_forest > 1, (
    f"expected a number of at most 1, found {r2_forest!r}"
)

# %% tags=["check", "hidden"]
known_forest = np.full(len(y), np.nan)
for learned_from, left_out in cut.split(road, y, groups):
    fitted = forest.fit(road.to_numpy()[learned_from], y[learned_from])
    known_forest[left_out] = fitted.predict(road.to_numpy()[left_out])
assert np.allclose(by_forest, known_forest), (
    f"expected {known_forest[:3]} for the first runs, found {by_forest[:3]}"
)
known_r2 = 1 - np.mean((y - known_forest) ** 2) / np.var(y) if np.ptp(y) else np.nan
assert np.isclose(r2_forest, known_r2, equal_nan=True), (
    f"expected {known_r2:.4f}, found {r2_forest}"
)

# %% [markdown]
# 2. How early does the bow say something? Define `early`, the rank correlation (Spearman) of the bow with the test error at each value of progress that most runs reach (`walked`), over the runs that have a bow there.

# %% tags=["stub"]
bows = roads.bows(atlas, runs, walked)  # given: (runs, values of progress), in nats
early = ...  # a correlation for each value of `walked`, NaN where there is none

# %% tags=["solution"]
two_columns = [pd.DataFrame({"bow": bow, "error": y}).dropna() for bow in bows.T]
early = [two.corr(method="spearman").loc["bow", "error"] for two in two_columns]
pd.Series(early, index=walked, dtype=float).iloc[:: max(1, len(early) // 8)].round(2)

# %% tags=["check"]
assert np.shape(early) == (len(walked),), (
    f"expected {len(walked)} correlations, found {early!r}"
)

# %% tags=["check", "hidden"]
both = [pd.DataFrame({"bow": column, "error": y}).dropna() for column in bows.T]
known_early = [table.rank().corr().loc["bow", "error"] for table in both]
assert np.allclose(early, known_early, atol=1e-6, equal_nan=True), (
    f"expected {np.round(known_early, 3)}, found {early}"
)

# %% [markdown]
# 3. Are the seven numbers of a road seven independent pieces of information? Define `agree`, the absolute rank correlation of every two of them over the runs, and `most_alike`, the names of the two different numbers that agree most.

# %% tags=["stub"]
agree = ...  # table (7, 7), its rows and columns in the order of `road`
most_alike = ...  # (name, name)

# %% tags=["solution"]
agree = road.corr(method="spearman").abs()
between_two = agree.where(~np.eye(len(agree), dtype=bool), -1.0).fillna(0.0)
most_alike = between_two.stack().idxmax()
most_alike, agree.loc[most_alike]

# %% tags=["check"]
assert np.shape(agree) == (road.shape[1], road.shape[1]), (
    f"expected a table of shape {(road.shape[1], road.shape[1])}, found {agree!r}"
)
assert isinstance(most_alike, tuple) and set(most_alike) <= set(road), (
    f"expected two names of {list(road)}, found {most_alike!r}"
)

# %% tags=["check", "hidden"]
ranks_of_road = road.rank()
known_agree = ranks_of_road.corr().abs().to_numpy()
assert np.allclose(agree, known_agree, atol=1e-6, equal_nan=True), (
    f"expected {np.round(known_agree, 2)}, found {np.round(agree, 2)}"
)
others = np.nan_to_num(known_agree[~np.eye(len(known_agree), dtype=bool)])
spot = [list(road).index(name) for name in most_alike]
assert len(set(spot)) == 2 and np.isclose(
    np.nan_to_num(known_agree[tuple(spot)]), others.max()
), f"expected two names with {others.max():.3f}, found {most_alike}"

# %% [markdown]
# ### Quiz
#
# **1.** Why are all seeds of a configuration held out together?
#
# <details><summary>Answer</summary>Seeds of one configuration resemble each other. If some of them were learned from, the regression could recognise the configuration of the others instead of predicting anything.</details>
#
# **2.** Suppose that the bow has a strong rank correlation with the test error. Does a straighter road make a network generalise?
#
# <details><summary>Answer</summary>This cannot be told from the correlation, because no run was changed to see what happens. Bow and test error may have a common cause, such as the family or hard samples.</details>
#
# **3.** A held-out score is below zero. What does this mean?
#
# <details><summary>Answer</summary>The prediction is worse than the mean of the runs that were learned from. What goes together in them does not carry over to the runs that were held out.</details>

# %% [markdown]
# ## What next
#
# Chapter 70 asks whether a low dimension is the sign of a network that generalises, and chapter 71 whether networks that are equally far on the train samples know the same things. Chapter 63 puts a network of your own on the map, with a test error that this chapter has never seen.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. For the manifold.
# * [Jiang2020] Jiang et al., *Fantastic generalization measures and where to find them*, ICLR 2020. On how easily such measures mislead.
# * [Anderson2003] Anderson and ter Braak, *Permutation tests for multi-factorial analysis of variance*, 2003. On which units may be exchanged.
# * [Holm1979] Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6, 1979.
