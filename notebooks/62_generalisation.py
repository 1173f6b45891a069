# %% [markdown]
# # Does the road through the train samples tell how a network does on others?
#
# **What.** Numbers that are known from train predictions alone, set against the final test error; runs that learn by heart beside runs that learn; the order in which samples are learned.
# **Figure of the paper.** None: how the low dimension bears on generalisation is an open question beside it.
# **Answer.** For each idea an effect with an interval, a null, and a plain sentence where it is nothing. All of it is association: no run was changed here to see what happens.
#
# | | |
# |---|---|
# | Goals | predict on configurations and on families that the regression has not seen; tell a dimension from a number of checkpoints; tell an order of learning from a learning curve |
# | Prerequisites | chapters 31 and 46 (essential), 60 (helpful), regression and cross-validation (helpful) |
# | Minutes | 1 on CPU (reading: 20) |
# | Inputs, outputs | predictions, points.parquet, distances/, trajectories/; figures, results/62.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn import ensemble, model_selection

from manifold_utils import claims, geometry, plots, statistics, training, trajectories
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.inpca import embedding
from manifold_utils.studies import generalisation
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
n_ordinary = 200  # ordinary runs whose dimension is measured, at most
n_stations = 12  # points of a run from which its dimension is measured
span = 4.0  # last of these stations over the first
n_corners = 3  # checkpoints between first and last station, the same for every run
n_sets = 50  # sets of ordinary runs beside the runs on random labels
stress = 0.9  # share of the stress that counts as all
n_pairs = 400  # pairs of runs of each kind at most
seed = 0  # of folds, exchanges and the bootstrap

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
labels = {split: atlas.labels(split) for split in ("train", "test")}
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
print(
    f"{len(atlas.runs)} runs; {len(labels['train'])} "
    f"train and {len(labels['test'])} test samples"
)


# %% [markdown]
# Every interval and every null gets a random generator of its own, from the seed and the name of its purpose. So an added interval moves no other number.

# %% tags=["lesson"]
def stream(purpose):
    return statistics.stream(seed, purpose)


# %% [markdown]
# ## What do we load?
#
# The runs of the main grid, on the clock of progress on *train* samples. Runs that do not get to the station half-way are left out; so what follows is about networks that learn.

# %%
stored, stored_runs = of_atlas.load_trajectories(atlas, "train")
s_grid = stored.s.values
everyone = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
passed = of_atlas.reached(atlas.points, everyone.index, s_grid)

# %%
usable = s_grid[(passed.mean().to_numpy() >= share) & (s_grid <= half_way + 1e-9)]
station = usable[-1] if len(usable) else s_grid[passed.mean().to_numpy().argmax()]
runs = everyone[passed[station].to_numpy()]
configuration = statistics.configurations(runs)[0]
print(
    f"station s = {station:.2f}, passed by {len(runs)} of {len(everyone)} "
    f"runs in {len(np.unique(configuration))} configurations"
)

# %% [markdown]
# Three outcomes. The *test error* and the *test distance* $d_B(P, P_*)$, which is half the test loss, go into the regression as logarithms, since they spread over decades (half a sample is added to the error). The *gap* is the test distance minus the train distance. A known value: $d_B$ to truth is half the loss.

# %%
last = atlas.points.groupby("run").tail(1).set_index("run").loc[runs.index]
log_error = {
    split: np.log(last[f"error_{split}"] + 0.5 / len(labels[split])) for split in labels
}
outcome = pd.DataFrame(
    {
        "test error": log_error["test"],
        "test distance": np.log(last.loss_test / 2),
        "gap": (last.loss_test - last.loss_train) / 2,
    }
)

# %%
final = atlas.run_log_probs(runs.index[0], "test")[-1:]
truth_of_test = geometry.truth(labels["test"], final.shape[2])
to_truth_of_test = pairwise(final, truth_of_test)[0, 0]
assert np.isclose(to_truth_of_test, last.loss_test.iloc[0] / 2, rtol=1e-3)
last[["error_train", "error_test", "loss_train", "loss_test"]].describe().loc[
    ["count", "min", "50%", "max"]
].round(4)

# %% [markdown]
# ## What can be known without a test sample?
#
# Of each run we take seven kinds of number from its train predictions:
#
# * *progress* at the end, and the *length* of its way in radians on the sphere (Riemann length);
# * the *bow*: the distance to the geodesic at the station half-way, large if a run is sure of some samples and wrong on others;
# * the distance *to the mean* of all runs there;
# * its coordinates on the first three *axes* of an InPCA of all runs there. The axes are found without any label of the test set, but from all runs, those held out later too.

# %%
row_of = pd.Series(np.arange(len(stored_runs)), index=stored_runs.index)[
    runs.index
].to_numpy()
k_station = int(np.argmin(np.abs(s_grid - station)))
between = stored.distance.values[k_station][np.ix_(row_of, row_of)].astype(float)

# %%
half = of_atlas.resampled(atlas, "train", list(runs.index), [station])
to_mean = pairwise(half[:, 0], trajectories.average(half, "arithmetic"))[:, 0]
axes_there = embedding.spectrum(between, n_components=3).embedding_
roads = (of_atlas.own_road(atlas, run) for run in runs.index)
lengths = np.array([trajectories.riemann_length(way)[-1] for way in roads])

# %%
road = pd.DataFrame(
    {
        "progress": last.progress_train,
        "length": np.log(lengths),
        "bow": np.log(stored.to_geodesic.values[row_of, k_station]),
        "to the mean": np.log(to_mean),
    }
)
road = road.join(
    pd.DataFrame(axes_there, index=runs.index).rename(columns=lambda k: f"axis {k + 1}")
)

# %% [markdown]
# No way is shorter than the straight one, which the triangle inequality of the great-circle distance demands:

# %%
one_way = of_atlas.own_road(atlas, runs.index[0])
assert lengths[0] >= pairwise(one_way[:1], one_way[-1:], metric="geodesic")[0, 0] - 1e-4
assert np.isfinite(road.to_numpy()).all()
road.describe().loc[["min", "50%", "max"]].round(3)

# %% [markdown]
# ## Does one of these numbers go with the test error?
#
# First by rank, number by number. Beside Spearman's correlation stands a stricter one: ranks after final train loss, final train error and architecture are taken out. Intervals draw configurations, so that seeds of one configuration do not count as independent.

# %%
given = runs[["architecture"]].assign(loss=last.loss_train, error=last.error_train)
known = road.assign(**{"train loss": last.loss_train, "train error": last.error_train})
plain_names = ["rho", "low", "high"]
fixed_names = ["rho, rest fixed", "its low", "its high"]

# %%
rows, test_error = {}, outcome["test error"]
for name, values in known.items():
    pair = values, test_error, configuration
    rho = statistics.rank_association(*pair, rng=stream("rank"))
    rows[name] = dict(zip(plain_names, rho, strict=True))
    if name in road:
        options = {"given": given, "rng": stream("rank, rest fixed")}
        partial_rho = statistics.rank_association(*pair, **options)
        rows[name] |= dict(zip(fixed_names, partial_rho, strict=True))

# %%
ranked = pd.DataFrame(rows).T.reindex(columns=plain_names + fixed_names)
ranked.round(2)

# %% [markdown]
# The next figure draws one run a mark: the train loss and the train error at the end, and the bow half-way (in nats), each against the test error. Half a sample is added to both errors, so that an error of zero can be drawn. *Prediction:* the loss is what training minimised. Will it be the best guide of the three?

# %% tags=["hide-input"]
pictured = {
    "final train loss (nats)": last.loss_train,
    "final train error": np.exp(log_error["train"]),
    f"$d_B$ to the geodesic at s = {station:.2f}": np.exp(road.bow),
}
shown_error, dots = np.exp(outcome["test error"]), {"ms": 5, "alpha": 0.7, "mew": 0}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(pictured), figsize=(9, 4), sharey=True)
for ax, (name, x) in zip(axes, pictured.items(), strict=True):
    for architecture, member in runs.groupby(family_factor):
        colour, marker, _ = plots.style_of(architecture)
        look = dots | {"color": colour, "marker": marker, "label": architecture}
        ax.plot(x[member.index], shown_error[member.index], ls="", **look)
    ax.set(xscale="log", yscale="log", xlabel=name)
    plots.plain_log(ax.xaxis)
axes[0].set_ylabel("final test error")
plots.plain_log(axes[0].yaxis)
plots.figure_legend(fig, axes[-1])
alt = "Final test error against train loss, train error and distance to the geodesic."
plots.save_figure(fig, atlas.figure_path("62_one_number.png"), alt=alt)

# %% [markdown]
# A mark is a run. Runs without any train error stand in one column of the middle panel; among them the train error is silent, so they are asked again by themselves. In words:

# %%
for name in ("train loss", "train error", "bow"):
    print(f"{name}: Spearman {generalisation.in_words(*ranked.loc[name].iloc[:3])}")
print(
    "bow, with loss, error and architecture fixed: "
    f"{generalisation.in_words(*ranked.loc['bow'].iloc[3:])}"
)

# %%
silent = (last.error_train == 0).to_numpy()
pair = road.bow[silent], outcome["test error"][silent], configuration[silent]
among_silent = statistics.rank_association(*pair, rng=stream("bow without train error"))
print(
    f"bow, among the {silent.sum()} runs without train "
    f"error: {generalisation.in_words(*among_silent)}"
)

# %% [markdown]
# A family that sits in one corner of a panel makes a correlation by itself. That is why the stricter number is needed, and why the next section also asks about families that the regression never saw.
#
# ## How well can the test outcome be predicted?
#
# A ridge regression learns the outcomes from sets of numbers. It is judged on *configurations* that it has not seen (all seeds of one are held out together), and in a harder round on *architectures* that it has not seen. The score is $R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2$, with $\bar y$ the mean of the runs learned from: 0 is no better than guessing that mean, and below 0 is worse.

# %%
settings = pd.get_dummies(
    runs[
        ["architecture", "optimizer", "batch_size", "weight_decay", "augmentation"]
    ].astype(str),
    dtype=float,
)

# %%
ends = pd.DataFrame({"loss": np.log(last.loss_train), "error": log_error["train"]})
sets = {
    "train loss": ends[["loss"]],
    "train loss and error": ends,
    "architecture": settings.filter(like="architecture_"),
    "all settings": settings,
}

# %%
sets |= {
    "the road to half-way": road.drop(columns=["progress", "length"]),
    "the road": road,
}
sets |= {
    "loss, error, settings": ends.join(settings),
    "... and the road": ends.join(settings).join(road),
}

# %% [markdown]
# The null exchanges whole configurations: each gets the outcomes of another, so nothing can be learned but by luck. Nothing here picks the best of many regressions: there is one penalty, fixed before. If the profile has too few configurations or a single architecture, that round is left out.

# %%
rounds = {
    "configurations": (configuration, n_folds),
    "architectures": (runs[family_factor].to_numpy(), runs[family_factor].nunique()),
}
enough = len(np.unique(configuration)) >= min_configurations

# %% tags=["hide-input"]
rounds = {
    held: (groups, folds)
    for held, (groups, folds) in rounds.items()
    if enough and len(np.unique(groups)) > 1
}
y = outcome.to_numpy()
exchange = stream("configurations exchanged")
others = [statistics.exchanged(configuration, exchange) for _ in range(n_null)]
y_null = np.hstack([y[rows_of] for rows_of in others])
print(
    "held out in turn:", ", ".join(rounds) or "nothing, there is not enough to hold out"
)


# %% tags=["lesson"]
def judge(features, groups, folds):
    options, scores = {"n_splits": folds, "seed": seed}, {}
    real = statistics.held_out_errors(features, y, groups, **options)
    model, guess = statistics.held_out_errors(features, y_null, groups, **options)
    by_chance = (1 - model.sum(axis=0) / guess.sum(axis=0)).reshape(n_null, -1)
    for k, name in enumerate(outcome):
        errors = real[0][:, k], real[1][:, k]
        r2, low, high = statistics.r2_interval(
            *errors, configuration, rng=stream("R2")
        )
        chance, heap = np.quantile(by_chance[:, k], 0.95), by_chance[:, k]
        p = statistics.p_value(r2, heap, side="high")
        scores[name] = {"R2": r2, "low": low, "high": high, "chance": chance, "p": p}
    return scores


# %%
found = {
    (held, name): judge(features.to_numpy(), *rounds[held])
    for held in rounds
    for name, features in sets.items()
}

# %% tags=["hide-input"]
scores = pd.DataFrame(
    {
        (held, name, what): row
        for (held, name), of_set in found.items()
        for what, row in of_set.items()
    },
    index=["R2", "low", "high", "chance", "p"],
).T
scores.R2.unstack().reindex(columns=list(outcome)).round(2) if rounds else scores

# %% [markdown]
# How high can $R^2$ be? Seeds of one configuration end with different test errors, and no setting tells which seed is lucky. So a predictor that knows the settings only cannot explain more than the share of the variance *between* configurations. We estimate this ceiling without bias from the seeds, by one-way analysis of variance. The road is measured on each run itself, so it may pass the ceiling.

# %%
ceilings = {
    what: statistics.seed_ceiling(values, configuration, rng=stream("ceiling"))
    for what, values in outcome.items()
}
ceilings = pd.DataFrame(ceilings, index=["ceiling", "low", "high"]).T
settings_told = {}
for what in outcome if rounds else []:
    settings_told[what] = scores.R2[("configurations", "all settings", what)]
ceilings["R2 of all settings"] = pd.Series(settings_told, dtype=float)
ceilings.round(2)

# %% tags=["hide-input"]
row_of_set = {name: k for k, name in enumerate(sets)}
shifts = {"configurations": -0.17, "architectures": 0.17}  # the first one above
ends = ["R2", "low", "high", "chance"]
missing = "" if rounds else "\n(too few configurations)"

# %% [markdown]
# `chance` is the 95 % quantile of the null. The next figure shows all of it: $R^2$ with its 95 % interval over configurations, a grey tick at `chance`, and the ceiling from seeds as a dashed line. *Prediction:* the name of the architecture is worth something for a known family. What is it worth for an unknown one, and what is the road worth there?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(outcome.columns), figsize=(9, 5.2), sharey=True)
for ax, what in zip(axes, outcome, strict=True):
    for (held, name), of_set in found.items():
        colour, marker, _ = plots.FACTOR_STYLES[list(rounds).index(held)]
        values, place = [of_set[what][key] for key in ends], row_of_set[name]
        r2, low, high, chance = np.clip(values, -0.95, 1)
        look = {"fmt": marker, "color": colour, "xerr": [[r2 - low], [high - r2]]}
        look |= {"capsize": 3, "ms": 6, "label": f"{held} held out"}
        ax.errorbar(r2, place + shifts[held], **look)
        look = {"color": "0.5", "ms": 11, "mew": 2, "ls": "", "label": "chance"}
        ax.plot(chance, place + shifts[held], marker="|", **look)
    ax.axvline(0, color="black", lw=1)
    if np.isfinite(ceilings.ceiling[what]):
        look = {"color": "black", "ls": "--", "lw": 1.2, "label": "ceiling from seeds"}
        ax.axvline(ceilings.ceiling[what], **look)

# %% tags=["hide-input"]
for ax, what in zip(axes, outcome, strict=True):
    ax.set(xlabel="held-out $R^2$", title=what + missing, xlim=(-1, 1.05))
    ax.set_xticks([-0.5, 0, 0.5, 1], ["-.5", "0", ".5", "1"])
axes[0].set_yticks(range(len(sets)), sets)
axes[0].set_ylim(len(sets) - 0.5, -0.5)
plots.figure_legend(fig, axes[-1], ncols=4)
alt = "Held-out R2 of three test outcomes for sets of numbers, with null and ceiling."
plots.save_figure(fig, atlas.figure_path("62_prediction.png"), alt=alt)

# %% [markdown]
# Right of the line and of its tick, a set of numbers tells something; a mark at the left edge lies at or beyond it. Two comparisons matter. The first is with the final train *loss*, which training minimised. The second is with the final train *error* as well: it is as cheap to know as the loss, and a number that tells no more than it does is no news.

# %% tags=["hide-input"]
shown_sets = ["train loss", "train loss and error", "architecture", "the road"]
for (held, name, what), score in scores.iterrows():
    if name in shown_sets:
        said = generalisation.verdict(score.low, score.high, score.p)
        print(
            f"{what}, {held} held out, {name} tells {said}: R2 "
            f"{generalisation.in_words(*score.iloc[:3])}, p = {score.p:.2g}"
        )


# %% [markdown]
# Does the road add to what is known anyway? We take its gain in $R^2$ over two baselines: loss and error, and both with all settings. The gain has a null of its own: roads are exchanged between configurations of one architecture, while everything else stays where it is.

# %% tags=["lesson"]
def errors_with(rows_of, known_anyway, groups, folds):
    features = np.hstack([known_anyway, road.to_numpy()[rows_of]])
    options = {"n_splits": folds, "seed": seed}
    return statistics.held_out_errors(features, y, groups, **options)[0]


def gained(k, errors, base, guess, saved):
    against = {"against": base[:, k], "rng": stream("gain")}
    pair = errors[:, k], guess[:, k]
    interval = statistics.r2_interval(*pair, configuration, **against)
    p = statistics.p_value(saved[0, k], saved[1:, k], side="high")
    return (*interval, p)


# %% tags=["lesson"]
def gain_of_road(base_set, groups, folds):
    anyway, strata = sets[base_set].to_numpy(), runs[family_factor].to_numpy()
    others = [np.arange(len(runs))]
    exchange = stream("roads exchanged")
    for _ in range(n_null):
        others.append(statistics.exchanged(configuration, exchange, strata=strata))
    options = {"n_splits": folds, "seed": seed}
    base, guess = statistics.held_out_errors(anyway, y, groups, **options)
    errors = [errors_with(rows_of, anyway, groups, folds) for rows_of in others]
    saved = np.array([(base - e).sum(axis=0) / guess.sum(axis=0) for e in errors])
    parts = errors[0], base, guess, saved
    return {what: gained(k, *parts) for k, what in enumerate(outcome)}


# %%
gains = {}
for held, of_round in rounds.items():
    for base_set in ("train loss and error", "loss, error, settings"):
        for what, of_gain in gain_of_road(base_set, *of_round).items():
            gains[held, base_set, what] = of_gain

# %% [markdown]
# These are many tests of one question. If the road told nothing, some of them would still fall below .05 by luck. So the p-values are corrected for their number (Holm), and the verdicts use the corrected ones; the intervals are not corrected.

# %%
gains = pd.DataFrame(gains, index=["gain", "low", "high", "p"]).T
gains["p corrected"] = statistics.holm(gains.p)
gains.round(3)

# %% tags=["hide-input"]
for (held, base_set, what), gain in gains.iterrows():
    said = generalisation.verdict(gain.low, gain.high, gain["p corrected"])
    print(
        f"{what}, {held} held out, beyond {base_set} the road adds "
        f"{said}: gain {generalisation.in_words(*gain.iloc[:3])}, p = "
        f"{gain['p corrected']:.2g} (corrected)"
    )

# %% [markdown]
# *No more than the null gives* means that a road from another configuration of the same family does as well: what helped was the family. *Less than nothing* means that the regression does worse with the road: seven more numbers to be misled by, on families or configurations that it does not know. And mind what a gain is not. The bow is made by the samples that a run still gets wrong half-way while it is sure of others; a network that is slow on hard train samples may be poor on hard test samples for the same reason, whatever that is. Nobody has straightened a road here to see whether the error falls.
#
# ## What does learning by heart look like?
#
# Runs on random labels have nothing to generalise to. Runs from unusual starts (fitted to random labels first, to a few samples, or moved off) learn the true labels in the end. Each is put on its *own* clock: the error on the labels that it was fitted to. At equal fitted error, how far is the nearest checkpoint of an ordinary run of another seed?

# %%
finished = atlas.runs[
    (atlas.runs.status == "finished")
    & atlas.runs.grid.isin(["main", "initialisations", "random_labels"])
]

# %%
kind = pd.Series(
    np.where(
        finished.grid == "main",
        "ordinary",
        np.where(
            finished.grid == "random_labels",
            "random labels",
            "start: " + finished.initialisation.str.replace("_", " "),
        ),
    ),
    index=finished.index,
)

# %%
drawn = stream("ordinary").permutation(kind.index[kind == "ordinary"])[:n_ordinary]
kind = kind[kind.index.isin(drawn) | (kind != "ordinary")]

# %%
noise = list(kind.index[kind == "random labels"])
configs = {
    config.run_id: config
    for _, config in atlas.profile.configs()
    if config.run_id in noise
}

# %% tags=["hide-input"]
# Other profiles do without the data.
data = load_dataset(atlas.profile.dataset, data_dir) if noise else None
fitted = {run: training.fitted_labels(configs[run], data) for run in noise}
print(
    kind.value_counts().to_dict(),
    "" if noise else "this profile has no runs on random labels",
)

# %% [markdown]
# Each run's own clock; for runs on random labels, its last error must be the one that training recorded:

# %%
clock = {run: of_atlas.own_clock(atlas, run, fitted.get(run)) for run in kind.index}
for run in noise:
    assert np.isclose(clock[run].error.iloc[-1], atlas.runs.fitted_error[run])

# %%
table, matrix = atlas.table(), atlas.distances("train")
ordinary = table[table.run.isin(everyone.index)]
distances = []

# %% tags=["hide-input"]
for run in [*kind.index[kind != "ordinary"], *drawn[:24]]:
    own = table[(table.run == run) & (table.phase == "main")]
    cross = np.asarray(matrix[own.index[0] : own.index[-1] + 1])[:, ordinary.index]
    distances.append(
        clock[run].assign(
            run=run,
            kind=kind[run],
            nearest=statistics.nearest_of_others(cross, own.seed, ordinary.seed),
        )
    )

# %% tags=["hide-input"]
distances = pd.concat(distances).dropna()
styles = dict(
    zip(sorted(set(kind) - {"ordinary"}), plots.FACTOR_STYLES[1:], strict=False)
) | {"ordinary": ("0.7", ".", "-")}

# %% [markdown]
# The first checkpoint with at most a given fitted error, median over the runs of a kind; beside it the fitted and the test error at the end.

# %%
at_error = {
    e: distances[distances.error <= e]
    .groupby(["kind", "run"])
    .nearest.first()
    .groupby("kind")
    .median()
    for e in (0.5, 0.2, 0.1, 0.05)
}
at_error = pd.DataFrame(at_error).rename(columns=lambda e: f"nats at error {e}")

# %% tags=["hide-input"]
at_end = pd.DataFrame(
    {
        "kind": kind,
        "runs": 1,
        "fitted error": [c.error.iloc[-1] for c in clock.values()],
        "test error": finished.final_error_test[kind.index],
    }
)
at_end = at_end.groupby("kind").agg(
    {"runs": "sum", "fitted error": "mean", "test error": "mean"}
)

# %% tags=["hide-input"]
at_end.join(at_error).round(3)

# %% [markdown]
# An empty field means that no run of that kind fits so well. The next figure shows the same along the whole way. *Prediction:* which kinds of line will come down to the grey ones, and which will not?

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.8))
for name, of_kind in distances.groupby("kind"):
    colour, marker, dash = styles[name]
    look = {"color": colour, "marker": marker, "ls": dash, "ms": 4, "lw": 1}
    look |= {"alpha": 0.8, "zorder": 1 if name == "ordinary" else 2}
    for _, way in of_kind.groupby("run", sort=False):
        label = f"{name} (n = {of_kind.run.nunique()})"
        ax.plot(1 - way.error, way.nearest, label=label, **look)
ax.set(xlabel="1 - error on the labels fitted to", yscale="log", xlim=(0, 1))
ax.set_ylabel("$d_B$ to the nearest ordinary checkpoint (nats)")
plots.figure_legend(fig, ax)
alt = "Distance to the nearest ordinary checkpoint against fitted accuracy, by kind."
plots.save_figure(fig, atlas.figure_path("62_by_heart.png"), alt=alt)

# %% [markdown]
# That runs on random labels leave is no surprise: as far as they fit, they fit something else, and cannot be where the others are. Chapter 60 turns the space round for them; here the dimension does not need it, for turning moves no distance within a run.
#
# ## Is a low dimension the sign of it?
#
# The *dimension* of one run: its points at equal stations of its own progress, embedded by themselves. The *participation ratio* $(\sum|\lambda|)^2/\sum\lambda^2$ counts axes by weight, and beside it stands the number of axes for most of the stress. There is a trap. A run with few checkpoints is a polygon with few corners, and its dimension is low for that reason alone. So every run is cut down to equally many checkpoints between the stations, and runs with fewer are left out.
#
# *Sloppy* data (chapter 52) give a third contrast, with true labels: the same small networks on inputs of two spectra.

# %%
spaces = {
    f"c = {declared.sloppiness:g}": atlas.space(name)
    for name, (declared, _) in atlas.profile.spaces().items()
    if declared.name == "sloppy"
    and (atlas.path / "spaces" / name / "trajectories").exists()
}
where, kind_of = dict.fromkeys(kind.index, atlas), kind

# %%
for name, space in spaces.items():
    plain_runs = space.runs[
        (space.runs.status == "finished") & (space.runs.initialisation == "ordinary")
    ]
    where |= dict.fromkeys(plain_runs.index, space)
    kind_of = pd.concat(
        [kind_of, pd.Series(f"sloppy data, {name}", index=plain_runs.index)]
    )
    clock |= {run: of_atlas.own_clock(space, run) for run in plain_runs.index}

# %%
furthest = pd.Series({run: c.progress.max() for run, c in clock.items()})
last_station = 0.98 * min([furthest[drawn].quantile(1 - share), *furthest[noise]])
stations = np.linspace(last_station / span, last_station, n_stations)
inside = pd.Series(
    {
        run: ((c.progress > stations[0]) & (c.progress < last_station)).sum()
        for run, c in clock.items()
    }
)
corners = max(1, min([n_corners, *inside[noise]]))


# %% tags=["lesson"]
def passes_all(progress):
    when = trajectories.first_crossing(np.arange(len(progress)), progress, stations)
    return np.isfinite(when).all()


# %%
with_corners = [run for run in clock if inside[run] >= corners]
complete = [run for run in with_corners if passes_all(clock[run].progress)]

# %% tags=["hide-input"]
print(
    f"{n_stations} stations from {stations[0]:.2f} to "
    f"{last_station:.2f}, {corners} checkpoints between "
    f"them; {len(complete)} of {len(kind_of)} runs have both"
)


# %% tags=["lesson"]
def at_stations(run):
    log_probs = of_atlas.own_road(where[run], run, fitted.get(run))
    keep = generalisation.with_corners(
        clock[run].progress, stations[0], last_station, corners
    )
    own = clock[run].progress.to_numpy()[keep]
    return trajectories.resample(log_probs[keep], own, stations)


# %%
points = {run: at_stations(run) for run in complete}
sizes = pd.DataFrame(
    [generalisation.dimension(pairwise(points[run]), stress) for run in complete],
    index=complete,
    columns=["participation", "axes"],
)

# %%
sizes = sizes.assign(
    kind=kind_of[complete],
    architecture=[where[run].runs[family_factor][run] for run in complete],
    test_error=[where[run].runs.final_error_test[run] for run in complete],
)

# %%
start, end = geometry.ignorance(*final.shape[1:]), truth_of_test
road_points = geometry.geodesic(start, end, stations)
straight = generalisation.dimension(pairwise(road_points), stress)

# %% tags=["hide-input"]
by_kind = sizes.groupby("kind").agg(
    runs=("axes", "size"),
    median=("participation", "median"),
    low=("participation", "min"),
    high=("participation", "max"),
    axes=("axes", "median"),
    test_error=("test_error", "mean"),
)

# %% tags=["hide-input"]
print(
    "the geodesic itself, at these stations: participation "
    f"ratio {straight[0]:.2f}, {straight[1]} axes"
)

# %%
by_kind.round(3)

# %% [markdown]
# The next figure shows every run: its participation ratio against its test error at the end, with half a sample added as before. *Prediction:* if low dimension were the sign of generalisation, where would the marks lie?

# %% tags=["hide-input"]
sloppy_names = [name for name in by_kind.index if name.startswith("sloppy")]
own_styles = zip(sloppy_names, plots.FACTOR_STYLES[::-1], strict=False)
all_styles = styles | dict(own_styles) | plots.ARCHITECTURE_STYLE
half_sample, marks = 0.5 / len(labels["test"]), {"ms": 6, "alpha": 0.75, "mew": 0}
halves = {"architecture": sizes[sizes.kind == "ordinary"], "kind": sizes}
titles = {"architecture": "ordinary runs", "kind": "all kinds"}
ratio_label = "participation ratio of one run"

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.8))
for ax, (level, shown) in zip(axes, halves.items(), strict=True):
    for name, of_level in shown.groupby(level):
        colour, marker, _ = all_styles[name]
        label = f"{name} (n = {len(of_level)})"
        look = marks | {"color": colour, "marker": marker, "label": label, "ls": ""}
        ax.plot(of_level.participation, of_level.test_error + half_sample, **look)
    title = titles[level] if len(shown) else "no run has enough checkpoints"
    ax.set(xscale="log", yscale="log", title=title, xlabel=ratio_label)
    plots.plain_log(ax.xaxis)
    plots.plain_log(ax.yaxis)
    plots.legend_below(ax, ncols=2, fontsize=8)
axes[0].set_ylabel("final test error")
alt = "Final test error against the participation ratio of single runs, by kind."
plots.save_figure(fig, atlas.figure_path("62_dimension.png"), alt=alt)

# %% [markdown]
# On a straight line the ratio would be 1; what the geodesic has is printed above the table. Does the dimension of a run go with its error among ordinary runs, and are runs on random labels beyond them? For the second, the same architectures are compared first, and then every family by itself.

# %%
plain_sizes = sizes[sizes.kind == "ordinary"]
fixed_dimension = everyone.loc[plain_sizes.index, ["architecture"]].assign(
    loss=everyone.final_loss_train, error=everyone.final_error_train
)
number = statistics.configurations(everyone.loc[plain_sizes.index])[0]

# %%
with_error = {
    name: statistics.rank_association(
        plain_sizes.participation,
        plain_sizes.test_error,
        number,
        given=fixed,
        rng=stream("dimension and error"),
    )
    for name, fixed in {
        "as they are": None,
        "loss, error and architecture fixed": fixed_dimension,
    }.items()
}

# %%
for name, found_rho in with_error.items():
    print(
        f"dimension and test error of {len(plain_sizes)} ordinary "
        f"runs, {name}: Spearman {generalisation.in_words(*found_rho)}"
    )

# %%
of_noise = sizes[sizes.kind == "random labels"]
alike = plain_sizes[plain_sizes[family_factor].isin(of_noise[family_factor])]
noise_ratio, has_noise = of_noise.participation, len(of_noise) > 0
ratio_one = (np.nan, np.nan)
if has_noise:
    ratio_one = statistics.bootstrap_interval(noise_ratio, rng=stream("dimension"))

# %% tags=["hide-input"]
if has_noise and len(alike):
    on_noise = generalisation.in_words(noise_ratio.mean(), *ratio_one)
    print(f"participation ratio of {len(of_noise)} runs on random labels: {on_noise}")
    print(f"of ordinary runs of these architectures: {alike.participation.mean():.2f}")
    beyond = plain_sizes.participation > noise_ratio.median()
    by_family = beyond.groupby(plain_sizes[family_factor]).mean().round(2).to_dict()
    print("share of ordinary runs beyond the median run on random labels:", by_family)
else:
    print("there are no runs on random labels to compare with")

# %% tags=["hide-input"]
for name in [*sloppy_names, "ordinary"]:
    if name in by_kind.index:
        ratio, error = by_kind.loc[name, ["median", "test_error"]]
        print(f"{name}: participation ratio {ratio:.2f} at a test error of {error:.3f}")

# %% [markdown]
# If a kind of sloppy data has about the dimension of ordinary runs at a much larger test error, a low dimension by itself is no sign of generalisation: a network can go straight to an answer that holds for the train samples only.
#
# The paper's dimension is that of *many* runs in one space. So the last comparison takes as many ordinary runs of the same architectures as there are runs on random labels, many times, and counts again. Runs on random labels come twice: as they are, each set of labels a truth of its own; and turned, all towards one truth, as ordinary runs are.

# %%
composition = of_noise[family_factor].value_counts()
enough_of = {a: (alike[family_factor] == a).sum() >= n for a, n in composition.items()}
can = len(of_noise) > 1 and all(enough_of.values())


# %% tags=["lesson"]
def dimension_of(several):
    return generalisation.dimension(pairwise(np.concatenate(several)), stress)


together, drawn_sets = {}, []

# %%
if can:
    as_turned = [points[run] for run in of_noise.index]
    facts = {run: (points[run], fitted[run], labels["train"]) for run in of_noise.index}
    turned_back = [geometry.exchange_classes(*facts[run]) for run in of_noise.index]
    together["random labels, as they are"] = dimension_of(turned_back)
    together["random labels, turned"] = dimension_of(as_turned)

# %%
if can:
    choice = stream("sets of ordinary runs")
    members_of = {a: alike.index[alike[family_factor] == a] for a in composition.index}
    for _ in range(n_sets):
        chosen = [choice.permutation(members_of[a])[:n] for a, n in composition.items()]
        of_set = [points[run] for run in np.concatenate(chosen)]
        drawn_sets.append(dimension_of(of_set))
    low_set, high_set = statistics.interval(drawn_sets)
    together["ordinary, median of draws"] = tuple(np.median(drawn_sets, axis=0))

# %% tags=["hide-input"]
for name, (participation, n_needed) in together.items():
    interval = (
        (
            f" ({low_set[0]:.2f} to {high_set[0]:.2f}; "
            f"{low_set[1]:.0f} to {high_set[1]:.0f} axes)"
        )
        if name.startswith("ordinary")
        else ""
    )
    print(
        f"{len(of_noise)} runs, {name}: participation ratio "
        f"{participation:.2f}, {n_needed:.0f} axes for {100 * stress:.0f} % of "
        f"the stress{interval}"
    )

# %% tags=["hide-input"]
if not can:
    print(
        "there are too few runs on random labels, or "
        "of their architectures, for sets of equal size"
    )

# %% [markdown]
# "As they are" may look thin for a dull reason: sets of labels that point to different truths make one long axis between them, and one long axis lowers any count. Turned, that axis is gone, and what remains is how differently the runs share their certainty among the samples.
#
# ## At equal train progress, how far apart are test predictions?
#
# Now ordinary runs again. At the moment when a run passes a value of train progress, how far is it from the *test* truth? If families generalise differently, their bands must come apart at equal train progress.

# %%
walked = s_grid[passed.mean().to_numpy() >= share]
to_truth = {split: np.full((len(everyone), len(walked)), np.nan) for split in labels}

# %%
for i, run in enumerate(everyone.index):
    own_points = atlas.points[
        (atlas.points.run == run) & (atlas.points.phase == "main")
    ]
    for split, curve in to_truth.items():
        curve[i] = trajectories.first_crossing(
            own_points[f"loss_{split}"] / 2, own_points.progress_train, walked
        )
        curve[i, np.isinf(curve[i])] = np.nan
excess = to_truth["test"] - to_truth["train"]

# %% [markdown]
# The figure shows, by architecture, the test distance to truth and its excess over the train distance, both at equal train progress: median and middle half. *Prediction:* does the excess grow or shrink along the road?

# %% tags=["hide-input"]
gap_curves = {"test distance to truth (nats)": to_truth["test"]}
gap_curves["test minus train distance (nats)"] = excess

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2))
for ax, (name, curves) in zip(axes, gap_curves.items(), strict=True):
    plots.plot_quantiles(ax, walked, curves, everyone[family_factor], legend=False)
    ax.set(xlabel="train progress s", ylabel=name)
axes[1].axhline(0, color="black", lw=1)
plots.figure_legend(fig, axes[1])
alt = "Test distance to truth, and its excess over train, against train progress."
plots.save_figure(fig, atlas.figure_path("62_gap.png"), alt=alt)


# %% [markdown]
# How much of the spread lies between architectures? The share of variance between families, $\eta^2$, with the null that exchanges configurations between families:

# %% tags=["lesson"]
def between_share(values, families):
    kept = np.isfinite(values)
    values, families = values[kept], families[kept]
    inner = pd.Series(values).groupby(families).transform("mean")
    return np.var(inner) / np.var(values) if np.ptp(values) > 0 else 0.0


# %%
families = everyone[family_factor].to_numpy()
numbers, _ = statistics.configurations(everyone)
exchange_families = stream("families exchanged")
exchanges = [statistics.exchanged(numbers, exchange_families) for _ in range(n_null)]
some = walked[np.unique(np.linspace(0, len(walked) - 1, 6).astype(int))]
rows_at = {}

# %%
for s in some:
    at_s = excess[:, walked == s][:, 0]
    share_s = between_share(at_s, families)
    by_exchange = np.array(
        [between_share(at_s[rows_null], families) for rows_null in exchanges]
    )
    rows_at[s] = {
        "median excess": np.nanmedian(at_s),
        "spread": np.nanstd(at_s),
        "spread, test": np.nanstd(to_truth["test"][:, walked == s]),
        "between families": share_s,
        "chance": np.quantile(by_exchange, 0.95),
        "p": statistics.p_value(share_s, by_exchange, side="high"),
    }

# %%
spread = pd.DataFrame(rows_at).T.rename_axis("train progress")
spread.round(4)

# %% tags=["hide-input"]
at_last = (
    pd.DataFrame(
        {"excess": excess[:, -1], "error": everyone.final_error_test.to_numpy()}
    )
    .groupby(families)
    .median()
    .dropna()
)

# %% tags=["hide-input"]
for word, name in (
    ("smallest", at_last.excess.idxmin()),
    ("largest", at_last.excess.idxmax()),
):
    print(
        f"{word} median excess at s = {walked[-1]:.2f}: {name}, "
        f"{at_last.excess[name]:.3f} nats; its median final test error "
        f"is rank {at_last.error.rank()[name]:.0f} of {len(at_last)} from "
        "the best"
    )

# %% [markdown]
# The family of the smallest excess need not be that of the smallest error: excess compares a run with itself at one moment of its way, error with the truth at the end. Where `between families` exceeds `chance`, networks that stand equally far on the train road stand differently far on the test road, and the family has to do with it. A family here also means its width and what its learning rates happen to do, as the grid set them.
#
# ## Do networks learn the same samples first?
#
# A sample is *learned* at the first checkpoint from which it stays right to the end; samples never learned come last. Two runs agree as far as these orders correlate (Spearman). Some classes are easier than others, so part of the agreement is about classes. The null shuffles the samples of one run within each class, as in chapter 60; its mean has a closed form, the correlation of the class means.

# %%
orders = {
    split: np.stack(
        [
            generalisation.learned_at(atlas.run_log_probs(run, split), labels[split])
            for run in runs.index
        ]
    )
    for split in labels
}

# %%
agreement = {
    split: generalisation.order_agreement(of_split)
    for split, of_split in orders.items()
}

# %% tags=["hide-input"]
by_class = {
    split: generalisation.order_agreement(of_split, labels[split])
    for split, of_split in orders.items()
}
unlearned = {split: np.mean(last[f"error_{split}"]) for split in labels}
print(
    {
        split: f"{100 * share_of:.1f} % of the samples never learned"
        for split, share_of in unlearned.items()
    }
)

# %% [markdown]
# The closed form must agree with shuffles, within their own error:

# %%
orders_of_two = orders["train"][[0, -1]]
of_classes = labels["train"], 300, stream("shuffles")
shuffles = statistics.permutations_within_class(*of_classes)
simulated = [
    generalisation.order_agreement(
        np.stack([orders_of_two[0], orders_of_two[1][shuffle]])
    )[0, 1]
    for shuffle in shuffles
]

# %% tags=["hide-input"]
error_of_mean = np.std(simulated) / np.sqrt(len(shuffles))
assert (
    abs(
        np.mean(simulated)
        - generalisation.order_agreement(orders_of_two, labels["train"])[0, 1]
    )
    <= 5 * error_of_mean + 1e-9
)

# %% [markdown]
# Pairs differ in nothing but the seed, in the optimiser, or in the architecture; their seeds always differ. Intervals draw runs, not pairs.

# %%
pairs = statistics.pairs_of_runs(runs, n_pairs, stream("pairs"))
kinds = [name for name in statistics.KINDS if (pairs.kind == name).any()]
several_kinds = [(split, name) for split in labels for name in kinds]

# %%
agreed = {}
for split, name in several_kinds:
    ends_of = pairs[pairs.kind == name][["first", "second"]].reset_index(drop=True)
    u, v = ends_of.to_numpy().T
    real = ends_of.assign(value=agreement[split][u, v])
    ones = real.assign(value=1.0)
    told_of = statistics.ratio_over_runs(real, ones, rng=stream("agreement"))
    entry = dict(zip(("agreement", "low", "high"), told_of, strict=True))
    entry = {"pairs": len(u)} | entry
    agreed[split, name] = entry | {"within class": by_class[split][u, v].mean()}

# %% tags=["hide-input"]
agreed = pd.DataFrame(agreed).T
agreed.round(3)

# %% tags=["hide-input"]
families_here = runs[family_factor].to_numpy()
foreign = families_here[:, None] != families_here
common = np.array(
    [
        np.nanmean(agreement["train"][i, foreign[i]])
        if np.isfinite(agreement["train"][i, foreign[i]]).any()
        else np.nan
        for i in range(len(runs))
    ]
)
sure = np.isfinite(common)

# %%
told = {"as it is": None, "loss, error and architecture fixed": given[sure]}

# %% tags=["hide-input"]
order_and_error = {
    name: statistics.rank_association(
        common[sure],
        outcome["test error"][sure],
        configuration[sure],
        given=fixed,
        rng=stream("order and error"),
    )
    if sure.sum() > 2
    else (np.nan,) * 3
    for name, fixed in told.items()
}

# %%
lowest = min(-0.02, agreed.low.min() - 0.02)
numbered, error_of_run = runs.reset_index(drop=True), shown_error.to_numpy()
shift_of = {"train": 0.12, "test": -0.12}
across = "agreement with other architectures"
alt = "Agreement of learning orders by kind of pair, and each run's against its error."
mark_of = {}
for split, (colour, marker, _) in zip(labels, plots.FACTOR_STYLES, strict=False):
    mark_of[split] = {"fmt": marker, "color": colour, "capsize": 4, "ms": 7}

# %% [markdown]
# The figure draws this on the left. On the right each run stands at its mean agreement with runs of *other* architectures on train samples, against its test error. *Prediction:* do runs that learn in the common order do better on test samples?

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
for (split, name), row in agreed.iterrows():
    height = kinds.index(name) + shift_of[split]
    bar = [[row.agreement - row.low], [row.high - row.agreement]]
    left.errorbar(row.agreement, height, xerr=bar, label=split, **mark_of[split])
    left.plot(row["within class"], height, "|", color="0.4", ms=14, mew=2)
left.set_yticks(range(len(kinds)), kinds)
left.set(xlabel="agreement of the orders", xlim=(lowest, None))
for architecture, k in numbered.groupby(family_factor).indices.items():
    colour, marker, _ = plots.style_of(architecture)
    look = dots | {"color": colour, "marker": marker, "label": architecture}
    right.plot(common[k], error_of_run[k], ls="", **look)
right.set(yscale="log", xlabel=across, ylabel="final test error")
plots.figure_legend(fig, (left, right), ncols=4)
plots.save_figure(fig, atlas.figure_path("62_order.png"), alt=alt)

# %% [markdown]
# Grey ticks on the left are the null within classes. In words:

# %% tags=["hide-input"]
for (split, name), row in agreed.iterrows():
    judged = (
        "more than the classes make"
        if row.low > row["within class"]
        else "not told from what the classes make"
    )
    print(
        f"{split}, pairs of {name}: {row.agreement:.2f} ({row.low:.2f} to "
        f"{row.high:.2f}), within class {row['within class']:.2f}: {judged}"
    )

# %% tags=["hide-input"]
for name, found_order in order_and_error.items():
    judged = (
        "an association"
        if found_order[1] > 0 or found_order[2] < 0
        else "nothing that can be told from chance"
    )
    print(
        f"agreement and test error, {name}: Spearman "
        f"{generalisation.in_words(*found_order)}: {judged}"
    )

# %% [markdown]
# Two things keep such numbers low: many samples are learned at the same checkpoint, so their order is not known, and the last steps of training move a few borderline samples at random. And on test samples the order cannot be set against the test error at all, for a sample never learned *is* an error; that is why the right panel takes the order on train samples.
#
# ## What we learned

# %% tags=["hide-input"]
words, verdict = generalisation.in_words, generalisation.verdict
print(f"{len(runs)} runs pass s = {station:.2f}. Rank correlation with the test error:")
for name in ("bow", "train loss", "train error"):
    print(f"  {name} {words(*ranked.loc[name].iloc[:3])}")
print(f"  bow among runs without train error {words(*among_silent)}")

# %% tags=["hide-input"]
for held in rounds:
    print(f"Test error, {held} held out, R2 from")
    for name in ("the road", "train loss", "train loss and error"):
        print(f"  {name} {words(*scores.loc[(held, name, 'test error')].iloc[:3])}")
    for base_set in ("train loss and error", "loss, error, settings"):
        gain = gains.loc[(held, base_set, "test error")]
        adds = verdict(gain.low, gain.high, gain["p corrected"])
        print(f"  Beyond {base_set} the road adds {adds}:")
        p_told = f"p = {gain['p corrected']:.2g}, corrected for {len(gains)} tests"
        print(f"    gain {words(*gain.iloc[:3])}, {p_told}")
    of_gap = scores.loc[(held, "the road", "gap")]
    tells = verdict(of_gap.low, of_gap.high, of_gap.p)
    print(f"  Of the gap the road tells {tells}: R2 {words(*of_gap.iloc[:3])}.")

# %% tags=["hide-input"]
clear = (gains["p corrected"] <= 0.05) & (gains.low > 0)
print(
    f"Of {len(gains)} gains of the road, {clear.sum()} are above 0 with a corrected p "
    f"of at most .05; uncorrected, {((gains.p <= 0.05) & (gains.low > 0)).sum()} are."
)
for what, row in ceilings.iterrows():
    if np.isfinite(row.ceiling):
        print(
            f"Seeds leave {words(*row.iloc[:3])} of the variance of the {what} to be "
            f"explained by settings; all settings explain {row.iloc[3]:.2f}."
        )
    else:
        print(f"No configuration has two seeds: the ceiling of {what} is not known.")

# %% tags=["hide-input"]
if len(of_noise) and len(alike):
    print(
        f"Participation ratio of one run: {of_noise.participation.mean():.2f} "
        f"on random labels, {alike.participation.mean():.2f} for "
        "ordinary runs of these architectures, "
        f"{plain_sizes.participation.max():.2f} at most for any ordinary run."
    )

# %% tags=["hide-input"]
as_it_is, fixed_too = with_error.values()
print(
    "Among ordinary runs dimension and test error go "
    f"together by {words(*as_it_is)}; with loss, error "
    f"and architecture fixed: {words(*fixed_too)}."
)

# %% tags=["hide-input"]
print(
    "Runs agree on the order of learning beyond what classes make in "
    f"{sum(agreed.low > agreed['within class'])} of {len(agreed)} kinds of "
    "pairs; agreement and test error: "
    f"{words(*order_and_error['as it is'])}."
)
print(
    "All of this is association: families, "
    "settings and roads were not varied one by one."
)

# %% tags=["hide-input"]
n_runs = len(runs)
silent_row = dict(zip(["value", "low", "high"], among_silent, strict=True))
results = {"rank_bow_without_train_error": claims.result(**silent_row, n=silent.sum())}
note = f"pass s = {station:.2f}"
results["n_runs"] = claims.result(n_runs, n=len(everyone), unit="runs", note=note)

# %% tags=["hide-input"]
plain_note = "Spearman with final test error; 95 %, configurations drawn again"
fixed_note = "ranks after train loss, train error and architecture"
for name, row in ranked.iterrows():
    ends_plain = {"low": row.low, "high": row.high, "n": n_runs, "note": plain_note}
    results[f"rank_{name}"] = claims.result(row.rho, **ends_plain)
    if name in road:
        rest, *ends_rest = row[fixed_names]
        about_rest = dict(zip(("low", "high"), ends_rest, strict=True))
        about_rest |= {"n": n_runs, "note": fixed_note}
        results[f"rank_{name}_rest_fixed"] = claims.result(rest, **about_rest)

# %% tags=["hide-input"]
for (held, name, what), row in scores.iterrows():
    note = f"held out; p = {row.p:.3g}, null 95 % {row.chance:.3g}"
    of_row = {"low": row.low, "high": row.high, "n": n_runs, "note": note}
    results[f"r2_{held}_{what}_{name}"] = claims.result(row.R2, **of_row)
for (held, base_set, what), row in gains.iterrows():
    note = f"R2 that the road adds; p = {row.p:.3g} before correction"
    of_row = {"low": row.low, "high": row.high, "n": n_runs, "note": note}
    key = f"{held}_{what}_over_{base_set}"
    results[f"gain_{key}"] = claims.result(row.gain, **of_row)
    note = f"Holm over {len(gains)} gains, {n_null} exchanges each"
    results[f"gain_p_{key}"] = claims.result(row["p corrected"], n=n_runs, note=note)

# %% tags=["hide-input"]
note = "variance between configurations over the total, from seeds"
for what, row in ceilings.iterrows():
    of_row = {"low": row.low, "high": row.high, "n": n_runs, "note": note}
    results[f"r2_ceiling_{what}"] = claims.result(row.ceiling, **of_row)

# %% tags=["hide-input"]
if by_kind.empty:
    print("no run has enough checkpoints for a dimension")
for name, row in by_kind.iterrows():
    results[f"dimension_{name}"] = claims.result(
        row["median"],
        low=row.low,
        high=row.high,
        n=row.runs,
        note="participation ratio of one run; median and range of runs",
    )

# %% tags=["hide-input"]
for name, size_of in together.items():
    ends_of_set = (
        {"low": low_set[0], "high": high_set[0]} if name.startswith("ordinary") else {}
    )
    results[f"dimension_together_{name}"] = claims.result(
        size_of[0],
        n=len(of_noise),
        note="participation ratio of several runs",
        **ends_of_set,
    )

# %% tags=["hide-input"]
for name, of_name in {
    **{f"dimension_and_error_{k}": v for k, v in with_error.items()},
    **{f"order_and_error_{k}": v for k, v in order_and_error.items()},
}.items():
    results[name] = claims.result(
        of_name[0],
        low=of_name[1],
        high=of_name[2],
        note="Spearman; 95 %, configurations drawn again",
    )

# %% tags=["hide-input"]
for s, row in spread.iterrows():
    results[f"gap_between_families_{s:.2f}"] = claims.result(
        row["between families"],
        n=len(everyone),
        note=(
            "share of variance of test minus train distance "
            f"at train progress {s:.2f}; p = {row.p:.3g}"
        ),
    )

# %% tags=["hide-input"]
for (split, name), row in agreed.iterrows():
    results[f"order_{split}_{name}"] = claims.result(
        row.agreement,
        low=row.low,
        high=row.high,
        n=row.pairs,
        note=(
            f"Spearman; within class {row['within class']:.3f}; 95 %, runs drawn again"
        ),
    )

# %% tags=["hide-input"]
results = {
    name.replace(" ", "_").replace(",", "").replace("..._", "").replace(":", ""): value
    for name, value in results.items()
}
claims.save_results(atlas, "62", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Is a straight line too poor? Let a random forest predict the test error from the road on the same kind of folds, and compare its held-out $R^2$ with the one above.

# %% tags=["solution"]
forest = ensemble.RandomForestRegressor(100, min_samples_leaf=3, random_state=seed)
n_parts = min(n_folds, len(np.unique(configuration)))
parts = {"groups": configuration, "cv": model_selection.GroupKFold(n_parts)}
by_forest = model_selection.cross_val_predict(forest, road.to_numpy(), y[:, 0], **parts)
r2_forest = (
    1 - np.square(y[:, 0] - by_forest).sum() / np.square(y[:, 0] - y[:, 0].mean()).sum()
)
r2_forest

# %% tags=["check"]
assert by_forest.shape == (len(runs),) and r2_forest <= 1

# %% [markdown]
# 2. How early does the bow tell? Correlate it with the test error at each value of progress that most runs reach, and draw the curve.

# %% tags=["solution"]
by_station = [
    pd.Series(stored.to_geodesic.values[row_of, k]).corr(
        pd.Series(y[:, 0]), method="spearman"
    )
    for k in range(len(walked))
]
early = pd.Series(by_station, index=pd.Index(walked, name="s"))
early.iloc[:: max(1, len(early) // 8)].round(2)

# %% tags=["check"]
assert len(early) == len(walked) and early.dropna().abs().max() <= 1

# %% [markdown]
# 3. Show that turning the space round for a run on random labels moves no distance within the run, so that its dimension is the same either way. Without such runs, turn an ordinary one to labels drawn at random.

# %% tags=["solution"]
some_run = of_atlas.own_road(atlas, noise[0] if noise else runs.index[0])
drawn_labels = stream("labels").integers(some_run.shape[2], size=some_run.shape[1])
moved = geometry.exchange_classes(some_run, drawn_labels, labels["train"])

# %% tags=["check"]
assert np.allclose(pairwise(moved), pairwise(some_run), atol=1e-6)

# %% [markdown]
# ## What next
#
# Chapter 63 lets you put a network of your own on the road, with a test error that this chapter has never seen.
#
# **References.** Mao et al., PNAS 2024, for the manifold. Zhang et al., *Understanding deep learning requires rethinking generalization*, 2017. Jiang et al., *Fantastic generalization measures and where to find them*, 2020, on how easily such measures mislead. Hacohen, Choshen and Weinshall, *Let's agree to agree: neural networks share classification order on real datasets*, 2020. Anderson and ter Braak, *Permutation tests for multi-factorial analysis of variance*, 2003, on which units may be exchanged. Holm, *A simple sequentially rejective multiple test procedure*, 1979.
