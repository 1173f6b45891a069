# %% [markdown]
# # Is the manifold low-dimensional because the data are?
#
# **What.** Small networks trained on synthetic inputs whose spectrum we choose: falling fast (sloppy) or nearly flat, from ordinary starts and from far ones.
# **Figure of the paper.** The appendix figures on synthetic data.
# **Answer.** The chapter measures how the explained stress at equal progress depends on the inputs' spectrum and on where the runs start, with intervals over runs.
#
# | | |
# |---|---|
# | Goals | relate the spectrum of inputs to that of predictions; separate the effect of the data from that of the start; compare spectra at equal progress and equal numbers of runs |
# | Prerequisites | chapters 30, 31 and 42 (essential), chapter 10 on input spectra (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | the atlas' sub-atlases of synthetic data; figures, results/52.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.geometry import ignorance
from manifold_utils.inpca.embedding import select, spectrum, thinned
from manifold_utils.studies.subsets import bootstrap_stress, stress_by_starts
from manifold_utils.trajectories import of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
depth = 3  # axes whose explained stress is compared
n_stations = 12  # values of progress at which all runs are compared
share = 0.75  # of the runs of each kind must get to the last of these values
n_draws = 100  # draws of runs for each interval
n_points = 600  # points of a spectrum, about, at most
seed = 0  # of the draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
declared = {
    name: data
    for name, (data, _) in atlas.profile.spaces().items()
    if data.name == "sloppy"
}
there = [
    name for name in declared if atlas.space(name).distances_path("train").exists()
]
print(f"synthetic grids in the profile: {', '.join(declared) or 'none'}")
print(f"with distances: {', '.join(there) or 'none'}")

# %% [markdown]
# ## What do we load?
#
# Each grid with synthetic data has a prediction space of its own, so it has its own tables and distances. If this atlas has none, the cells below run on its main grid for illustration; then they say nothing about sloppy data, and no result is saved.

# %%
spaces = {name: atlas.space(name) for name in there} or {"": atlas}
label = {
    name: f"c = {declared[name].sloppiness:g}" if name else "main grid"
    for name in spaces
}
tables = {name: space.table() for name, space in spaces.items()}

# %%
for name, table in tables.items():
    starts = ", ".join(sorted(table.initialisation.unique()))
    print(
        f"{label[name]}: {table.run.nunique()} "
        f"runs, {len(table)} points, starts: {starts}"
    )

# %% [markdown]
# A known value: in a space of five classes (the synthetic data), ignorance has a loss of $\log 5$. Here is what the networks knew before and after training.

# %%
knowledge = {}
for name, table in tables.items():
    for kind, rows in table.groupby(table.initialisation.str.split("_").str[0]):
        ends = rows.groupby("run").tail(1)
        knowledge[label[name], kind] = {
            "runs": len(ends),
            "log C": np.log(spaces[name].log_probs("train").shape[2]),
            "loss at the start": rows[rows.step == 0].loss_train.mean(),
            "final train error": ends.error_train.mean(),
            "final test error": ends.error_test.mean(),
        }

# %%
pd.DataFrame(knowledge).T.rename_axis(["data", "start"]).round(3)

# %% [markdown]
# Keep the final train error in mind: runs that have not learned their samples by the end are still on their way, so that a comparison with runs that have learned them is not fair.
#
# ## What do the inputs look like?
#
# Inputs are Gaussian in 200 dimensions, with variances $\propto e^{-c\,i}$: with a large $c$ they fall fast, with a small one hardly at all. *Prediction:* how many directions hold 90 % of the variance in each case?

# %%
sloppiness = sorted(
    {declared[name].sloppiness for name in there} or {0.5, 0.001}, reverse=True
)
direction = np.arange(1, 201)
variance = {
    c: np.exp(-c * direction) / np.exp(-c * direction).sum() for c in sloppiness
}
n_90 = {c: int(np.searchsorted(np.cumsum(v), 0.9)) + 1 for c, v in variance.items()}
print(
    "largest over smallest variance:",
    {c: f"{np.exp(c * (direction[-1] - direction[0])):.3g}" for c in sloppiness},
)
print("directions that hold 90 % of the variance:", n_90)
assert all(np.isclose(v.sum(), 1) for v in variance.values())

# %% [markdown]
# The labels come from one random network, the teacher, which uses all 200 directions. The data sets differ only in the spectrum of their inputs. If the dimension of the manifold were a property of networks alone, it would be the same for both.
#
# ## Where do the runs start?
#
# An ordinary initialisation answers nearly the same to every input: it starts at ignorance. A start that is shifted by a large random offset, shared by several runs, predicts confidently before it has seen a label. How far from ignorance do the runs start?

# %%
first = []
for name, space in spaces.items():
    origin = ignorance(*space.log_probs("train").shape[1:])
    at_start = tables[name][tables[name].step == 0]
    for row in at_start.itertuples():
        is_first = (space.points[space.points.run == row.run].step == 0).to_numpy()
        values = space.run_log_probs(row.run, "train")[is_first]
        kind = row.initialisation.split("_")[0]
        first.append(
            {
                "data": label[name],
                "start": kind,
                "nats": float(pairwise(values, origin)[0, 0]),
            }
        )

# %%
starting = (
    pd.DataFrame(first)
    .groupby(["data", "start"])
    .nats.describe()[["count", "mean", "min", "max"]]
)
starting.round(4)

# %% [markdown]
# The rows named *offset* start farther away. Now we compare the four cases: two spectra and two kinds of start.
#
# ## Which spectrum do the predictions have?
#
# Networks learn one kind of data sooner than the other, and their checkpoints are dense where they learn little. A spectrum of all checkpoints would depend on this as well. So we take every run at the *same values of progress*, from ignorance to a value that most runs of every kind pass, and interpolate between checkpoints along the geodesic (chapter 31). A far start may already have progress: below it, a run is represented by its start, and a run that starts beyond all values is left out.

# %%
kinds = ("ordinary", "offset")
kind_of = {n: t.initialisation.str.split("_").str[0] for n, t in tables.items()}
furthest = {}
for name, table in tables.items():
    for kind in kinds:
        rows = table[kind_of[name] == kind]
        if rows.run.nunique() > 1:
            by_run = rows.groupby("run", sort=False).progress_train
            furthest[name, kind] = by_run.max()

# %%
top = min(found.quantile(1 - share) for found in furthest.values())
stations = np.linspace(0, top, n_stations)
passing = {}

# %%
for (name, kind), found in furthest.items():
    first_of = tables[name].groupby("run").progress_train.first()[found.index]
    whole_way = (first_of < top) & (found >= top)
    if whole_way.any():
        passing[name, kind] = found.index[whole_way]

# %%
for (name, kind), runs in passing.items():
    count = f"{len(runs)} of {len(furthest[name, kind])} runs"
    print(f"{label[name]}, {kind} starts: {count} pass s = {top:.2f}")


# %% tags=["lesson"]
def at_equal_progress(name, runs):
    runs = list(runs)[:: -(-len(runs) * n_stations // n_points)]  # evenly thinned
    points = of_atlas.resampled(spaces[name], "train", runs, stations)
    start = tables[name].groupby("run").initialisation.first()[runs]
    about = pd.DataFrame({"run": runs, "initialisation": start.to_numpy()})
    about = about.loc[about.index.repeat(n_stations)].reset_index(drop=True)
    return pairwise(points.reshape(-1, *points.shape[2:])), about


# %%
cases = {case: at_equal_progress(case[0], runs) for case, runs in passing.items()}

# %% [markdown]
# The runs of each kind of start are embedded separately. In the figure below each curve starts at 1, so that only the decay shows. *Prediction:* which of the curves will be the flattest?

# %%
fits = {case: spectrum(matrix, n_components=30) for case, (matrix, _) in cases.items()}
n_shown = sum(about.run.nunique() for _, about in cases.values())
alt = (
    f"Eigenvalues (left) and explained stress (right) of predictions of {n_shown} runs "
    "on synthetic data at equal progress: colours are input spectra, dashes "
    "offset starts."
)

# %%
shown, axis_ticks = {}, [1, 2, 3, 5, 10, 20, 30]
for name, kind in fits:
    colour = plots.FACTOR_STYLES[list(spaces).index(name)][0]
    dash = "-" if kind == "ordinary" else "--"
    entry = f"{label[name]}, {kind} starts"
    shown[name, kind] = {"color": colour, "ls": dash, "label": entry}

# %% [markdown]
# The next figure shows the eigenvalues on the left and the explained stress on the right.

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
for key, fit in fits.items():
    place, negative = np.arange(1, fit.n_components + 1), fit.signature_ < 0
    height = np.abs(fit.eigenvalues_ / fit.eigenvalues_[0])
    left.semilogy(place, height, **shown[key])
    left.plot(place[negative], height[negative], "x", color="black", ms=7, mew=1.6)
    right.plot(place, fit.explained_stress_, **shown[key])
left.set_ylabel(r"$|\lambda_k|\,/\,|\lambda_1|$ (cross: time-like)")
left.set_xlabel("component")
right.set(xlabel="axes", ylabel="explained stress", xscale="log", ylim=(None, 1.02))
right.set_xticks(axis_ticks, axis_ticks)
right.minorticks_off()
plots.figure_legend(fig, right, ncols=2, handlelength=3)
plots.save_figure(fig, atlas.figure_path("52_spectra.png"), alt=alt)

# %% [markdown]
# Colours are input spectra; solid lines are ordinary starts and dashed lines are offset starts. The vertical distance between a solid and a dashed curve of one colour is the effect of the start; the distance between the colours is the effect of the data.
#
# Are the differences larger than those between two draws of runs? A larger set of runs has a richer spectrum, so we draw *equally many* runs of each kind, with replacement.

# %%
n_equal = min(about.run.nunique() for _, about in cases.values())
drawn = {}
for case, (matrix, about) in cases.items():
    options = {"n_draws": n_draws, "rng": rng, "n_runs": n_equal}
    draws = bootstrap_stress(matrix, about.run.to_numpy(), [depth], **options)
    drawn[case] = draws[:, 0]

# %% [markdown]
# For comparison we also compute the stress of all checkpoints as they were recorded, whatever their progress:

# %%
recorded = {}
for name, kind in cases:
    of_kind = np.flatnonzero(kind_of[name] == kind)
    few = of_kind[thinned(tables[name].run.to_numpy()[of_kind], n_points)]
    matrix = np.asarray(select(spaces[name].distances("train"), few), dtype=float)
    recorded[name, kind] = spectrum(matrix).explained_stress_[depth - 1]

# %%
stress = []
for (name, kind), draws in drawn.items():
    row = {"data": label[name], "space": name, "start": kind, "stress": draws.mean()}
    row |= dict(zip(("low", "high"), statistics.interval(draws), strict=True))
    stress.append(
        {
            **row,
            "all_runs": fits[name, kind].explained_stress_[depth - 1],
            "all_checkpoints": recorded[name, kind],
            "runs": n_equal,
        }
    )

# %%
stress = pd.DataFrame(stress)
stress.drop(columns="space").round(3)

# %% [markdown]
# `stress` is the mean over draws of equally many runs, `low` and `high` hold 95 % of the draws, `all_runs` is the value of the curves above, and `all_checkpoints` that of the points as recorded. Rows whose intervals do not overlap differ by more than the choice of runs.
#
# ## One start or many?
#
# The runs from *one* far start may form a manifold as thin as the ordinary one, but the runs from several starts need not lie in a common plane. We keep the number of runs fixed and take them from one start, from two, and so on.

# %%
counted = {}
for (name, kind), (matrix, about) in cases.items():
    if kind == "offset" and about.initialisation.nunique() > 1:
        which = matrix, about.run, about.initialisation
        counted[name] = stress_by_starts(*which, depth=depth, n_draws=n_draws, rng=rng)

# %%
sizes = {
    label[name]: f"{t.n_starts.max()} starts, {t.n_runs.iloc[0]} runs a draw"
    for name, t in counted.items()
}
print(sizes or "no grid here has several far starts")

# %%
n_starts = max((t.n_starts.max() for t in counted.values()), default=1)
alt = (
    "Explained stress against the number of far starts "
    "at a fixed number of runs, for each input spectrum, "
    "with the value of ordinary starts as dotted lines."
)

# %% [markdown]
# The next figure shows the explained stress against the number of starts. It must fall if every start adds directions of its own, because the number of runs stays the same. *Prediction:* which curve falls more steeply?

# %% tags=["hide-input"]
of_ordinary = stress[stress.start == "ordinary"]
marks = {"capsize": 4, "ms": 8, "lw": 2}
style_of_space = dict(zip(spaces, plots.FACTOR_STYLES, strict=False))

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.4))
for name, draws in counted.items():
    colour, marker, dash = style_of_space[name]
    mean, sd = draws.groupby("n_starts").stress.agg(["mean", "std"]).to_numpy().T
    look = marks | {"color": colour, "marker": marker, "ls": dash, "yerr": sd}
    ax.errorbar(np.arange(len(mean)) + 1, mean, label=f"{label[name]}, far", **look)
for row, dots in zip(of_ordinary.itertuples(), (":", (1, (1, 5))), strict=False):
    look = {"color": style_of_space[row.space][0], "lw": 2.5, "ls": dots}
    ax.axhline(row.stress, label=f"{row.data}, ordinary", **look)
ax.set(xticks=range(1, 1 + n_starts), xlim=(0.8, n_starts + 0.2), ylim=(None, 1.03))
ax.set_xlabel("number of different far starts (equally many runs)")
ax.set_ylabel(f"explained stress of {depth} axes")
plots.legend_below(ax, ncols=2, handlelength=3)
plots.save_figure(fig, atlas.figure_path("52_number_of_starts.png"), alt=alt)

# %% [markdown]
# Bars are one standard deviation over draws, each of equally many runs. A data set with only one far start has no curve. A falling curve means that every further start adds directions of its own. A dotted line is the stress of ordinary starts.
#
# ## Do runs from all starts meet?
#
# The next figure shows the embeddings of all runs, one panel for each data set, coloured by where a run started.

# %% tags=["hide-input"]
alt = (
    "InPCA of train predictions on synthetic data, one panel an input spectrum (n: "
    "points), coloured by start; a corner says what lies outside of the frame."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(spaces), figsize=(9, 4.4), squeeze=False)
for ax, (name, space) in zip(axes[0], spaces.items(), strict=True):
    placed = space.embedding("train")
    starts_of = tables[name].initialisation.str.replace("_", " ")
    points = placed.embedding.values
    plots.plot_embedding(ax, points, starts_of, size=12, legend=False)
    plots.plot_reference(ax, placed.reference_embedding.values)
    up_to = placed.explained_stress.values
    plots.label_embedding(ax, placed.eigenvalues.values, up_to)
    road_shown = placed.reference_embedding.values[:, :2]
    plots.frame_on_most(ax, points[:, :2], road_shown)
    ax.set_title(f"{label[name]} (n = {len(points)})")
plots.figure_legend(fig, axes[0, 0])
plots.save_figure(fig, atlas.figure_path("52_embeddings.png"), alt=alt)

# %% [markdown]
# If all colours of a panel meet on one curve, the start is forgotten; if each colour keeps a curve of its own, it is not. Two axes can hide a difference, so rely on the stress above. Truth is far outside, because the exact truth is very far from runs that start confident and wrong.
#
# ## What we learned

# %%
effects = {}
for name in there:
    if {(name, "ordinary"), (name, "offset")} <= set(drawn):
        change = drawn[name, "offset"] - drawn[name, "ordinary"]
        effects[name] = change.mean(), *statistics.interval(change)

# %%
for name, (effect, *ends) in effects.items():
    between = "{:+.1f} to {:+.1f}".format(*(100 * end for end in ends))
    print(
        f"On inputs with {label[name]}, far starts change the stress of {depth} axes "
        f"by {100 * effect:+.1f} points at equal progress ({between})."
    )

# %%
for name in effects:
    left_over = knowledge[label[name], "offset"]["final train error"]
    print(
        f"  The runs from far starts on {label[name]} end with a train error of "
        f"{100 * left_over:.1f} %."
    )
print(f"Runs are compared from ignorance to a train progress of {top:.2f}.")

# %%
for name in effects:
    change = 100 * (recorded[name, "offset"] - recorded[name, "ordinary"])
    print(f"With all checkpoints as recorded, {label[name]}: {change:+.1f} points.")
nothing = "This atlas has no runs on synthetic data, so nothing is compared here."
print("The paper gives no number for this experiment." if effects else nothing)

# %% [markdown]
# The experiment asks two questions. Does the start matter less on sloppy inputs than on isotropic ones? And does the input spectrum matter for ordinary starts?

# %%
if len(effects) == 2:
    steep, flat = sorted(effects, key=lambda name: -declared[name].sloppiness)
    data_effect = 100 * (drawn[steep, "ordinary"] - drawn[flat, "ordinary"])
    by_start = {n: drawn[n, "offset"] - drawn[n, "ordinary"] for n in effects}
    less = 100 * (by_start[steep] - by_start[flat])
    bounds = [statistics.interval(draws) for draws in (less, data_effect)]

# %%
if len(effects) == 2:
    sure = bounds[0][0] > 0 or bounds[0][1] < 0
    told = "less" if less.mean() > 0 else "more"
    told = told if sure else "neither surely less nor surely more"
    about = "{:+.1f} ({:+.1f} to {:+.1f})".format(less.mean(), *bounds[0])
    print(f"The start matters {told} on {label[steep]} than on {label[flat]}")
    print(f"  (difference {about} points of stress).")
    about = "{:+.2f} ({:+.2f} to {:+.2f})".format(data_effect.mean(), *bounds[1])
    print(f"From ordinary starts, {label[steep]} differs from {label[flat]}")
    print(f"  by {about} points.")

# %% tags=["hide-input"]
results = {"n_spaces": claims.result(len(there), unit="data sets")}
for row in stress[stress.space != ""].itertuples():
    about = {
        "low": row.low,
        "high": row.high,
        "n": row.runs,
        "note": f"runs; s up to {top:.2f}; 95 % over {n_draws} draws of them",
    }
    results[f"stress_{depth}_{row.space}_{row.start}"] = claims.result(
        row.stress, **about
    )

# %% tags=["hide-input"]
note = "runs of each kind; stress of far less that of ordinary starts"
results["equal_progress_to"] = claims.result(top, n=sum(map(len, passing.values())))
for name, (effect, *ends) in effects.items():
    results[f"effect_of_start_{name}"] = claims.result(
        effect, low=ends[0], high=ends[1], n=n_equal, note=note
    )

# %% tags=["hide-input"]
claims.save_results(atlas, "52", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `c_ten`, the decay $c$ for which ten directions hold 90 % of the inputs' variance. Variances are proportional to $\exp(-c\,k)$ for the direction number $k$ (`direction`).

# %% tags=["stub"]
c_ten = ...  # a number between 0 and 1

# %% tags=["solution"]
candidates = np.linspace(0.01, 1, 400)
held = np.array(
    [
        (np.exp(-c * direction) / np.exp(-c * direction).sum())[:10].sum()
        for c in candidates
    ]
)
c_ten = candidates[np.argmax(held >= 0.9)]
c_ten

# %% tags=["check"]
assert np.isscalar(c_ten) and 0 < c_ten < 1, (
    f"expected a decay between 0 and 1, found {c_ten!r}"
)

# %% tags=["check", "hidden"]
of_series = 1 - np.exp(-10 * c_ten)  # a geometric series
assert np.isclose(of_series, 0.9, atol=0.02), (
    f"expected 0.9 of the variance in ten directions, found {of_series}"
)

# %% [markdown]
# 2. Compare the spectra of *test* predictions. Define `test_stress`, a dictionary from the label of each data set (`label`) to the explained stress of `depth` axes, over all its points thinned to `n_points`. Is the order of the data sets the same as on train predictions?

# %% tags=["stub"]
test_stress = ...  # {label: share}

# %% tags=["solution"]
test_stress = {}
for name, space in spaces.items():
    kept = thinned(tables[name].run.to_numpy(), n_points)
    of_test = np.asarray(select(space.distances("test"), kept), dtype=float)
    test_stress[label[name]] = spectrum(of_test).explained_stress_[depth - 1]
test_stress

# %% tags=["check"]
assert isinstance(test_stress, dict) and set(test_stress) == set(
    map(label.get, spaces)
), f"expected a share for each of {list(map(label.get, spaces))}, found {test_stress!r}"

# %% tags=["check", "hidden"]
known_test = {}
for case, where in spaces.items():
    rows_kept = thinned(tables[case].run.to_numpy(), n_points)
    of_case = np.asarray(select(where.distances("test"), rows_kept), dtype=float)
    known_test[label[case]] = spectrum(of_case).explained_stress_[depth - 1]
assert all(
    np.isclose(test_stress[case], share) for case, share in known_test.items()
), f"expected {known_test}, found {test_stress}"

# %% [markdown]
# 3. How many axes are needed for 95 % of the stress in each case? Define `needed`, a dictionary from each case of `fits` to this number (if all axes of a fit explain less, one more than it has).

# %% tags=["stub"]
needed = ...  # {case: a whole number}

# %% tags=["solution"]
needed = {
    case: int(np.searchsorted(fit.explained_stress_, 0.95)) + 1
    for case, fit in fits.items()
}
needed

# %% tags=["check"]
assert isinstance(needed, dict) and set(needed) == set(fits), (
    f"expected a number for each of {list(fits)}, found {needed!r}"
)

# %% tags=["check", "hidden"]
reach = {case: sum(fit.explained_stress_ < 0.95) + 1 for case, fit in fits.items()}
assert needed == reach, f"expected {reach}, found {needed}"

# %% [markdown]
# ### Quiz
#
# **1.** The same network is trained on sloppy and on flat inputs. What is compared, and what is held fixed?
#
# <details><summary>Answer</summary>The number of dimensions of the predictions is compared. Networks, labels' rule, numbers of samples and training are held fixed, so that only the spectrum of the inputs can be the cause.</details>
#
# **2.** Predictions are low-dimensional for sloppy inputs. Does this show that real images are low-dimensional for the same reason?
#
# <details><summary>Answer</summary>No, it shows that sloppiness is enough. Whether it is the reason for real images needs more, such as chapter 61's linear model, in which the role of the spectrum can be read off a formula.</details>

# %% [markdown]
# ## What next
#
# Chapter 61 solves a linear network in closed form, where the role of the input spectrum can be read off a formula.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix, synthetic data.
# * [Yang2022] Yang, Mao and Chaudhari, *Does the data induce capacity control in deep learning?*, ICML 2022.
