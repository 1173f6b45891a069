# %% [markdown]
# # Is the manifold low-dimensional because the data are?
#
# **What.** Small networks trained on synthetic inputs whose spectrum we choose: falling fast (sloppy) or nearly flat, from ordinary starts and from far ones.
# **Figure of the paper.** The appendix figures on synthetic data.
# **Answer.** The chapter prints how the explained stress depends on the inputs' spectrum and on where the runs start, with intervals.
#
# | | |
# |---|---|
# | Goals | relate the spectrum of inputs to that of predictions; separate the effect of the data from that of the start; compare spectra at equal numbers of runs |
# | Prerequisites | chapters 30 and 42 (essential), chapter 10 on input spectra (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | the atlas' sub-atlases of synthetic data; figures, results/52.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.embedding import select
from manifold_utils.geometry import ignorance
from manifold_utils.subsets import bootstrap_stress, spectrum, stress_by_starts, thinned

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
depth = 3  # axes whose explained stress is compared
n_draws = 20  # draws of runs for each interval
n_points = 600  # points of a spectrum: checkpoints are thinned to about so many
seed = 0  # of the draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
declared = {name: data for name, (data, _) in atlas.profile.spaces().items() if data.name == "sloppy"}
there = [name for name in declared if atlas.space(name).distances_path("train").exists()]
print(f"synthetic grids in the profile: {', '.join(declared) or 'none'}; with distances: {', '.join(there) or 'none'}")

# %% [markdown]
# ## What do we load?
#
# Each grid with synthetic data spans a prediction space of its own, so it has its own tables and distances. If this atlas has none, the cells below run on its main grid, so that they can be read; then they say nothing about sloppy data, and no result is saved.

# %%
spaces = {name: atlas.space(name) for name in there} or {"": atlas}
label = {name: f"c = {declared[name].sloppiness:g}" if name else "main grid" for name in spaces}
tables = {name: space.table() for name, space in spaces.items()}

# %%
for name, table in tables.items():
    print(f"{label[name]}: {table.run.nunique()} runs, {len(table)} points, starts: {', '.join(sorted(table.initialisation.unique()))}")

# %% [markdown]
# A known value: in a space of five classes (the synthetic data), ignorance has a loss of $\log 5$. Here is what the networks knew before training, and after it.

# %%
knowledge = {}
for name, table in tables.items():
    for kind, rows in table.groupby(table.initialisation.str.split("_").str[0]):
        ends = rows.groupby("run").tail(1)
        knowledge[label[name], kind] = {"runs": len(ends), "log C": np.log(spaces[name].log_probs("train").shape[2]), "loss at the start": rows[rows.step == 0].loss_train.mean(), "final train error": ends.error_train.mean(), "final test error": ends.error_test.mean()}

# %%
pd.DataFrame(knowledge).T.rename_axis(["data", "start"]).round(3)

# %% [markdown]
# ## What do the inputs look like?
#
# Inputs are Gaussian in 200 dimensions, with variances $\propto e^{-c\,i}$. At $c = 0.5$ they fall by a factor of $e^{100}$ from the first direction to the last, at $c = 0.001$ by a fifth. *Prediction:* how many directions hold 90 % of the variance in either case?

# %%
sloppiness = sorted({declared[name].sloppiness for name in there} or {0.5, 0.001}, reverse=True)
direction = np.arange(1, 201)
variance = {c: np.exp(-c * direction) / np.exp(-c * direction).sum() for c in sloppiness}
n_90 = {c: int(np.searchsorted(np.cumsum(v), 0.9)) + 1 for c, v in variance.items()}
print("directions that hold 90 % of the variance:", n_90)
assert all(np.isclose(v.sum(), 1) for v in variance.values())

# %% [markdown]
# The labels come from one random network, the teacher, that sees all 200 directions. Nothing but the inputs' spectrum differs between the data sets. If the manifold's dimension were a property of networks alone, it would not notice.
#
# ## Where do the runs start?
#
# An ordinary initialisation answers nearly the same to every input: it starts at ignorance. A start that is moved by a large random offset, shared by several runs, has opinions before it has seen a label. How far from ignorance do the runs start?

# %%
first = []
for name, space in spaces.items():
    origin = ignorance(*space.log_probs("train").shape[1:])
    at_start = tables[name][tables[name].step == 0]
    for row in at_start.itertuples():
        values = space.run_log_probs(row.run, "train")[(space.points[space.points.run == row.run].step == 0).to_numpy()]
        first.append({"data": label[name], "start": row.initialisation.split("_")[0], "nats": float(pairwise(values, origin)[0, 0])})

# %%
starting = pd.DataFrame(first).groupby(["data", "start"]).nats.describe()[["count", "mean", "min", "max"]]
starting.round(4)

# %% [markdown]
# The rows named *offset* start farther away. Now the four cases, two spectra and two kinds of start, can be compared.
#
# ## Which spectrum do the predictions have?
#
# We embed the runs of each kind of start apart. Each curve starts at 1, so that only the decay shows. *Prediction:* which of the curves will be the flattest?

# %%
cases = {}
for name, space in spaces.items():
    rows = thinned(tables[name].run.to_numpy(), n_points)
    D = np.asarray(select(space.distances("train"), rows), dtype=float)
    part = tables[name].iloc[rows].reset_index(drop=True)
    ordinary = (part.initialisation == "ordinary").to_numpy()
    for kind, of_kind in (("ordinary", ordinary), ("offset", part.initialisation.str.startswith("offset").to_numpy())):
        if of_kind.sum() > 10:
            cases[name, kind] = D[np.ix_(of_kind, of_kind)], part[of_kind].reset_index(drop=True)

# %%
print({f"{label[name]}, {kind}": f"{table.run.nunique()} runs" for (name, kind), (_, table) in cases.items()})

# %% [markdown]
# The figure shows the eigenvalues on the left and the explained stress on the right.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12.5, 4.4))
fits = {case: spectrum(matrix, n_components=30) for case, (matrix, _) in cases.items()}
for (name, kind), fit in fits.items():
    colour, _, _ = plots.FACTOR_STYLES[list(spaces).index(name)]
    style = {"color": colour, "ls": "-" if kind == "ordinary" else "--", "label": f"{label[name]}, {kind} starts"}
    place = np.arange(1, fit.n_components + 1)
    axes[0].semilogy(place, np.abs(fit.eigenvalues_ / fit.eigenvalues_[0]), **style)
    axes[0].plot(place[fit.signature_ < 0], np.abs(fit.eigenvalues_ / fit.eigenvalues_[0])[fit.signature_ < 0], "x", color=plots.TIME_LIKE, ms=5)
    axes[1].plot(place, fit.explained_stress_, **style)
axes[0].set(xlabel="component", ylabel=r"$|\lambda_k|\,/\,|\lambda_1|$ (cross: time-like)")
axes[1].set(xlabel="axes", ylabel="explained stress", xscale="log")
axes[0].legend(fontsize=9)
plots.save_figure(fig, atlas.figure_path("52_spectra.png"), alt="Eigenvalues and explained stress of predictions on synthetic data, for each input spectrum, from ordinary and from offset starts.")

# %% [markdown]
# Colours are input spectra, dashes kinds of start. The vertical distance between a solid and a dashed curve of one colour is the effect of the start; the distance between the colours is the effect of the data.
#
# Are the differences larger than another draw of runs would make? A larger set of runs has a richer spectrum, so we draw *equally many* runs of each kind, with replacement.

# %%
n_equal = min(table.run.nunique() for _, table in cases.values())
drawn = {case: bootstrap_stress(matrix, table.run.to_numpy(), [depth], n_draws=n_draws, rng=rng, n_runs=n_equal)[:, 0] for case, (matrix, table) in cases.items()}

# %%
stress = pd.DataFrame([
    {"data": label[name], "space": name, "start": kind, "stress": draws.mean(), "low": np.quantile(draws, 0.025), "high": np.quantile(draws, 0.975), "all_runs": fits[name, kind].explained_stress_[depth - 1], "runs": n_equal}
    for (name, kind), draws in drawn.items()
])
stress.drop(columns="space").round(3)

# %% [markdown]
# `stress` is the mean over draws of equally many runs, `low` and `high` hold 95 % of the draws, and `all_runs` is the value of the curves above. Rows whose intervals do not overlap differ by more than the choice of runs.
#
# ## One start or many?
#
# A fan of runs from *one* far start may be as thin as the ordinary manifold; several such fans need not lie in a common plane. We hold the number of runs fixed and let them come from one start, from two, and so on.

# %%
counted = {}
for name, table in tables.items():
    few = thinned(table.run.to_numpy(), n_points)
    matrix = np.asarray(select(spaces[name].distances("train"), few), dtype=float)
    far = table.iloc[few]
    offsets = far.initialisation.str.startswith("offset").to_numpy()
    if far.initialisation[offsets].nunique() > 1:
        counted[name] = stress_by_starts(matrix[np.ix_(offsets, offsets)], far.run[offsets], far.initialisation[offsets], depth=depth, n_draws=n_draws, rng=rng)

# %%
print({label[name]: f"{t.n_starts.max()} starts, {t.n_runs.iloc[0]} runs a draw" for name, t in counted.items()} or "no grid here has several far starts")

# %% [markdown]
# Next, the explained stress against the number of starts. *Prediction:* which curve falls more steeply?

# %%
fig, ax = plt.subplots(figsize=(7.5, 4.2))
for name, draws in counted.items():
    colour, marker, dash = plots.FACTOR_STYLES[list(spaces).index(name)]
    by_count = draws.groupby("n_starts").stress
    ax.errorbar(by_count.mean().index, by_count.mean(), yerr=by_count.std(), color=colour, marker=marker, ls=dash, capsize=3, label=f"{label[name]}, far starts")
for row in stress[stress.start == "ordinary"].itertuples():
    ax.axhline(row.stress, color=plots.FACTOR_STYLES[list(spaces).index(row.space)][0], lw=1, ls=":", label=f"{row.data}, ordinary starts")
ax.set(xticks=range(1, 1 + max((t.n_starts.max() for t in counted.values()), default=1)), xlabel="number of different far starts (equally many runs)", ylabel=f"explained stress of {depth} axes")
ax.legend(fontsize=9)
plots.save_figure(fig, atlas.figure_path("52_number_of_starts.png"), alt="Explained stress against the number of far starts at a fixed number of runs, for each input spectrum, with the value of ordinary starts as dotted lines.")

# %% [markdown]
# Bars are one standard deviation over draws. A curve that falls says: every further start adds directions of its own. A dotted line is what ordinary starts reach.
#
# ## What does it look like?
#
# The embeddings of all runs, one panel a data set, coloured by where a run started.

# %%
fig, axes = plt.subplots(1, len(spaces), figsize=(6.5 * len(spaces), 4.8), squeeze=False)
for ax, (name, space) in zip(axes[0], spaces.items(), strict=True):
    embedding = space.embedding("train")
    plots.plot_embedding(ax, embedding.embedding.values, tables[name].initialisation, size=7)
    plots.plot_reference(ax, embedding.reference_embedding.values, names=False)
    plots.label_embedding(ax, embedding.eigenvalues.values)
    ax.set_title(label[name])
plots.save_figure(fig, atlas.figure_path("52_embeddings.png"), alt="InPCA of train predictions on synthetic data, one panel an input spectrum, coloured by the start of the run, with the geodesic in black.")

# %% [markdown]
# In a panel where all colours meet on one curve, the start is forgotten; where each colour keeps a curve of its own, it is not. The star lies far out where runs start confident and wrong: the exact truth is very far from such points.
#
# ## What we learned

# %%
effects = {}
for name in there:
    if {(name, "ordinary"), (name, "offset")} <= set(drawn):
        change = drawn[name, "offset"] - drawn[name, "ordinary"]
        effects[name] = change.mean(), *np.quantile(change, [0.025, 0.975])
        print(f"{label[name]}: far starts change the stress of {depth} axes by {100 * change.mean():+.0f} points ({100 * effects[name][1]:+.0f} to {100 * effects[name][2]:+.0f}), {n_equal} runs each.")

# %%
print("The paper gives no number for this experiment." if effects else "No comparison of starts on synthetic data in this atlas.")

# %% [markdown]
# The idea behind the experiment is a question with two halves. On sloppy inputs, does the start matter less than on isotropic ones? And from ordinary starts, does the input spectrum matter at all?

# %%
if len(effects) == 2:
    steep, flat = sorted(effects, key=lambda name: -declared[name].sloppiness)
    less = effects[steep][0] - effects[flat][0]
    data_effect = drawn[steep, "ordinary"] - drawn[flat, "ordinary"]
    print(f"The start matters {'less' if less > 0 else 'no less'} on {label[steep]} than on {label[flat]} (difference {100 * less:+.0f} points of stress).")
    print(f"From ordinary starts, {label[steep]} gains {100 * data_effect.mean():+.0f} points ({100 * np.quantile(data_effect, 0.025):+.0f} to {100 * np.quantile(data_effect, 0.975):+.0f}) over {label[flat]}.")

# %%
results = {"n_spaces": claims.result(len(there), unit="data sets")}
for row in stress[stress.space != ""].itertuples():
    results[f"stress_{depth}_{row.space}_{row.start}"] = claims.result(row.stress, low=row.low, high=row.high, n=row.runs, note="95 % over drawn runs")
for name, (effect, low, high) in effects.items():
    results[f"effect_of_start_{name}"] = claims.result(effect, low=low, high=high, n=n_equal, note="stress of far less that of ordinary starts")
claims.save_results(atlas, "52", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. For which $c$ do ten directions hold 90 % of the inputs' variance?

# %% tags=["solution"]
candidates = np.linspace(0.01, 1, 400)
held = np.array([(np.exp(-c * direction) / np.exp(-c * direction).sum())[:10].sum() for c in candidates])
c_ten = candidates[np.argmax(held >= 0.9)]
c_ten

# %% tags=["check"]
assert np.isclose(1 - np.exp(-10 * c_ten), 0.9, atol=0.02), "a geometric series"

# %% [markdown]
# 2. Compare the spectra of *test* predictions. Is the order of the cases the same?

# %% tags=["solution"]
test_stress = {label[name]: spectrum(np.asarray(select(space.distances("test"), thinned(tables[name].run.to_numpy(), n_points)), dtype=float)).explained_stress_[depth - 1] for name, space in spaces.items()}
test_stress

# %% tags=["check"]
assert all(0 < value <= 1 for value in test_stress.values())

# %% [markdown]
# 3. How many axes are needed for 95 % of the stress in each case?

# %% tags=["solution"]
needed = {case: int(np.searchsorted(fit.explained_stress_, 0.95)) + 1 for case, fit in fits.items()}
needed

# %% tags=["check"]
assert all(n > len(fits[case].explained_stress_) or fits[case].explained_stress_[n - 1] >= 0.95 for case, n in needed.items())

# %% [markdown]
# ## What next
#
# Chapter 61 solves a linear network in closed form, where the role of the input spectrum can be read off a formula.
#
# **References.** Mao et al., PNAS 2024, appendix, synthetic data. Yang, Mao and Chaudhari, *Does the data induce capacity control in deep learning?*, ICML 2022.
