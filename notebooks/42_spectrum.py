# %% [markdown]
# # How many dimensions does the manifold have?
#
# **What.** The eigenvalues of the embedding, and the stress that the first axes explain, with its uncertainty.
# **Figure of the paper.** The column plot of figure 2.
# **Answer.** The chapter gives the stress that 1, 3, 10, 20 and 50 axes explain, compared with a world without the effect, and the number of axes at equal progress, where the two worlds differ.
#
# | | |
# |---|---|
# | Goals | read a signed spectrum; tell explained stress from explained distance; put an interval on an eigenvalue statistic |
# | Prerequisites | chapter 30 (essential), bootstrap (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | embeddings/, distances/; figures, results/42.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.embedding import select
from manifold_utils.studies import null_spectra

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_resamples = 20  # draws for each of the two intervals
n_points = 500  # points used for drawing samples again
seed = 0  # of the draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
print(f"{len(atlas.points)} points; {n_resamples} draws over runs and over samples")

# %% [markdown]
# ## What do we load?
#
# The embeddings that chapter 30 made from the distances over train samples and over test samples. We need their eigenvalues, with signs, and the two measures of fit. Chapter 30 embeds the points of the main grid that are no outliers; `shown` holds their row numbers, and the distances of these rows are read again below, where we draw runs and samples.

# %%
splits, first_split = atlas.splits, atlas.splits[0]
embedding = {split: atlas.embedding(split) for split in splits}
shown = np.flatnonzero(embedding[first_split].fitted.values)
eigenvalues = {split: e.eigenvalues.values for split, e in embedding.items()}
stress = {split: e.explained_stress.values for split, e in embedding.items()}
print({split: values[:4].round(2) for split, values in eigenvalues.items()})

# %% [markdown]
# Eigenvalues come sorted by size, signs included, and explained stress can only grow. We check both.

# %%
for split in splits:
    assert np.all(
        np.diff(np.abs(eigenvalues[split])) <= 1e-9 * np.abs(eigenvalues[split]).max()
    )
    assert np.all(np.diff(stress[split]) >= -1e-12) and stress[split][-1] <= 1

# %% [markdown]
# ## What does the spectrum look like?
#
# Each column is the size of an eigenvalue. Grey ones are space-like; hatched red ones are time-like, with a negative eigenvalue. The percentages are the explained stress up to that column. *Prediction:* will the test spectrum fall faster or slower than the train spectrum?

# %% tags=["hide-input"]
fig, axes = plots.panels(splits, figsize=(9, 4))
for ax, split in zip(axes, splits, strict=True):
    plots.plot_spectrum(ax, eigenvalues[split], stress[split])
    ax.set_title(f"{split} predictions")
axes[-1].set_ylabel(axes[0].get_ylabel() if len(splits) == 1 else "")
alt = (
    "Columns of absolute eigenvalues for each split, logarithmic; time-like ones are "
    f"hatched red; percentages: explained stress. n = {len(shown)} points."
)
plots.save_figure(fig, atlas.figure_path("42_spectrum.png"), alt=alt)

# %% [markdown]
# Is there a gap that separates a "true" dimension from noise? We look at the ratios of neighbouring columns: where is the largest, and how large is a typical one beyond it?

# %%
fall = {s: np.abs(v[:-1] / v[1:]) for s, v in eigenvalues.items()}
for split, factors in fall.items():
    gap = int(np.argmax(factors))
    rest = np.median(factors[gap + 1 :]) if gap + 1 < len(factors) else np.nan
    print(
        f"{split}: the largest gap is a factor {factors[gap]:.1f}, "
        f"after axis {gap + 1}; beyond it {rest:.2f} a step"
    )

# %% [markdown]
# In words:

# %% tags=["hide-input"]
share_of_first = stress[first_split][0]
if int(np.argmax(fall[first_split])) > 0:
    print("The largest gap does not follow the first axis: this is not just a line.")
elif share_of_first > 0.8:
    print("After the first axis there is one large gap: the manifold is nearly a line,")
    print("the way from ignorance to truth.")
else:
    print(f"The first axis explains only {100 * share_of_first:.0f} % of the stress:")
    print("this is not just a line, although the largest gap follows this axis.")

# %% [markdown]
# In sloppy models the columns beyond the gap fall by small, steady factors. Such a spectrum has no natural place to stop, so we give the stress at several depths.

# %%
depths = np.array([k for k in (1, 3, 10, 20, 50) if k <= len(stress[first_split])])
summary = pd.DataFrame(
    {
        f"{name} {split}": embedding[split][f"explained_{name}"].values[depths - 1]
        for name in ("stress", "distance")
        for split in splits
    },
    index=pd.Index(depths, name="axes"),
)
summary.round(3)

# %% [markdown]
# Explained *distance* is the stricter measure, because it compares the distances themselves, including the part that centring removes. It can fall from one row to the next when a time-like axis is added. Compare train with test in each row; the section after the next asks whether a difference is more than chance.
#
# ## What would a world without the effect give?
#
# A high explained stress by itself says only that networks learn: they all go from ignorance to truth, along one long axis. So we compare each number with that of chapter 32's null world, in which the samples of every run are shuffled within their classes. Both worlds hold the runs that reach every value of progress there, so the column `real` differs a little from the table above. *Prediction:* in which view will the two worlds differ?

# %%
tables = {split: null_spectra.load(atlas, split) for split in splits}
ladders = {split: null_spectra.ladder(*pair) for split, pair in tables.items()}
both_worlds = pd.concat(ladders, names=["split"])[["real", "class"]]
both_worlds.rename(columns={"class": "shuffled within classes"}).round(3)

# %% [markdown]
# Now the differences with their intervals. They leave out families in turn (jackknife), because the claim is about families. `gain` is the explained stress of all points less the null's. `axes ratio` is the number of axes for 90 % of the stress at equal progress, over the null's.

# %%
beyond = {}
for split, (at_equal, every) in tables.items():
    for view in every["view"].unique():
        part = every[every["view"] == view]
        for k in (3, 10, 50):
            found = null_spectra.real_over_null(part, f"stress_{k}", ratio=False)
            beyond[split, f"gain of {k} axes", view] = found
    if len(at_equal):
        found = null_spectra.real_over_null(at_equal)
        beyond[split, "axes ratio", "equal progress"] = found

# %%
beyond = pd.DataFrame(beyond, index=["value", "low", "high"]).T
if len(beyond):
    beyond.index = pd.MultiIndex.from_tuples(beyond.index, names=["split", "", "view"])
else:
    print("too few runs share values of progress: there is no null world here")
beyond.astype(float).round(3)

# %% [markdown]
# An interval of the gain that contains 0 means that the null explains as much of the stress as the real world does. A ratio below 1 means that the real world needs fewer axes.
#
# ## How sure are we?
#
# Two things were drawn at random: which runs were trained, and which samples were predicted. First we draw runs again, with replacement. A run drawn twice counts twice, which is what `sample_weight` is for.

# %%
runs = atlas.points.run.to_numpy()[shown]
run_names = np.unique(runs)
thinned = shown[:: max(1, len(shown) // 1500)]

# %%
matrix = {
    split: np.asarray(select(atlas.distances(split), thinned), dtype=float)
    for split in splits
}
top = int(min(50, len(stress[first_split]), len(thinned) - 1))
wanted = np.unique([min(k, top) for k in (1, 3, 10, 20, top)])


# %% tags=["lesson"]
def stress_of_drawn_runs(split):
    drawn = pd.Series(rng.choice(run_names, size=len(run_names))).value_counts()
    weight = drawn.reindex(atlas.points.run.to_numpy()[thinned], fill_value=0).to_numpy(
        float
    )
    keep = weight > 0
    fit = InPCA(n_components=min(top, keep.sum() - 1)).fit(
        matrix[split][np.ix_(keep, keep)], sample_weight=weight[keep]
    )
    return fit.explained_stress_[np.minimum(wanted, fit.n_components) - 1]


# %%
over_runs = {
    split: np.array([stress_of_drawn_runs(split) for _ in range(n_resamples)])
    for split in splits
}

# %%
for split, draws in over_runs.items():
    print(
        split,
        {
            int(k): f"{m:.3f} +- {s:.3f}"
            for k, m, s in zip(
                wanted, draws.mean(axis=0), draws.std(axis=0), strict=True
            )
        },
    )

# %% [markdown]
# The second number of each pair is the spread: it says how much it matters which runs happened to be trained. Now the samples: distances are means over samples, so we draw samples with replacement and compute the distances again, for a subset of the points.

# %%
few = shown[:: max(1, len(shown) // n_points)]
predictions = {split: np.asarray(atlas.log_probs(split)[few]) for split in splits}


# %% tags=["lesson"]
def stress_of_drawn_samples(split):
    n_samples = predictions[split].shape[1]
    drawn = rng.integers(n_samples, size=n_samples)
    fit = InPCA(n_components=min(top, len(few) - 1)).fit(
        pairwise(predictions[split][:, drawn])
    )
    return fit.explained_stress_[np.minimum(wanted, fit.n_components) - 1]


# %%
over_samples = {
    split: np.array([stress_of_drawn_samples(split) for _ in range(n_resamples)])
    for split in splits
}

# %%
for split, draws in over_samples.items():
    print(
        split,
        {
            int(k): f"{m:.3f} +- {s:.3f}"
            for k, m, s in zip(
                wanted, draws.mean(axis=0), draws.std(axis=0), strict=True
            )
        },
    )

# %% [markdown]
# The next figure puts both spreads on the curve of explained stress. *Prediction:* at which depth is the uncertainty largest?

# %% tags=["hide-input"]
bars = {"capsize": 4, "ms": 5, "lw": 1.2, "mfc": "white"}
kinds = {"runs": (over_runs, "o"), "samples": (over_samples, "s")}
alt = (
    "Explained stress against the number of axes: lines for all points, circles for "
    "drawn runs, squares for drawn samples, with two standard deviations."
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 4.4))
for k, split in enumerate(splits):
    colour, _, dash = plots.FACTOR_STYLES[k]
    label, axis = f"{split}, all points", np.arange(1, len(stress[split]) + 1)
    ax.plot(axis, stress[split], color=colour, ls=dash, label=label)
    for j, (kind, (draws, marker)) in enumerate(kinds.items()):
        place = wanted * 1.06 ** (2 * k + j - 1.5)  # side by side
        middle, two_sd = draws[split].mean(axis=0), 2 * draws[split].std(axis=0)
        look = bars | {"fmt": marker, "color": colour}
        ax.errorbar(place, middle, two_sd, label=f"{split}, drawn {kind}", **look)
ax.set(xscale="log", xlabel="axes", ylabel="explained stress", ylim=(None, 1.01))
ax.set_xticks(wanted, wanted)
plots.legend_below(ax, ncols=2)
plots.save_figure(fig, atlas.figure_path("42_uncertainty.png"), alt=alt)

# %% [markdown]
# Circles are draws of runs, squares draws of samples, bars two standard deviations. Squares can lie a little off their curve, because they are computed from fewer points. The bars get shorter to the right, because all curves approach 1 there. If train and test differ by more than the bars, the difference is not due to the draw. The bars leave something out: all runs saw the same train samples, and we chose the families. A third source of chance, other data, cannot be drawn from one atlas.
#
# ## How many axes are time-like?
#
# A negative eigenvalue is not a numerical error: chapter 30 shows that the distances are rebuilt exactly only with its sign. We count the negative ones among the first ten axes and look for the first of them. Such an axis means that some distances cannot be realised in any ordinary space. The paper found the first five train axes space-like once outliers are left out, and the second one time-like with them.

# %%
first_time_like = {
    s: int(np.argmax(v < 0)) + 1 if (v < 0).any() else 0 for s, v in eigenvalues.items()
}
n_time_like = {s: int((v[:10] < 0).sum()) for s, v in eigenvalues.items()}

# %%
print(
    "first time-like axis (0: none):",
    first_time_like,
    " time-like among the first ten:",
    n_time_like,
)

# %% [markdown]
# ## What we learned

# %%
last_wanted = wanted[-1]
column = {int(k): int(np.searchsorted(wanted, min(k, last_wanted))) for k in depths}
spread = {split: {} for split in splits}

# %%
for split in splits:
    for k, c in column.items():
        parts = over_runs[split][:, c].std(), over_samples[split][:, c].std()
        spread[split][k] = np.hypot(*parts)

# %%
paper = {"train": {3: 76, 50: 98}, "test": {}}

# %%
for split in splits:
    print(f"{split} stress explained by the first axes, two standard deviations:")
    for k in depths:
        known = f" (paper {paper[split][k]} %)" if k in paper[split] else ""
        share, double = 100 * stress[split][k - 1], 200 * spread[split][k]
        print(f"  axes: {k}, stress: {share:.1f} +- {double:.1f} %{known}")
        if ("as it is", f"stress_{k}") in ladders[split].index:
            both = 100 * ladders[split].loc[("as it is", f"stress_{k}")]
            told = f"{both['real']:.1f} %; after the shuffle {both['class']:.1f} %"
            print(f"     (chapter 32's runs: {told})")
    k = first_time_like[split]
    print(f"  the first time-like axis is number {k}" if k else "  none is time-like")

# %% tags=["hide-input"]
results = {}
for split in splits:
    for k in depths:
        half = 2 * spread[split][k]
        value = stress[split][k - 1]
        results[f"{split}_stress_{k}"] = claims.result(
            value,
            low=max(0, value - half),
            high=min(1, value + half),
            n=len(shown),
            note="2 s.d. over runs and samples",
        )
    results[f"{split}_first_time_like"] = claims.result(
        first_time_like[split], n=len(eigenvalues[split]), unit="axis"
    )

# %% tags=["hide-input"]
endings = {"as it is": "", "by progress": "_by_progress"}
for split, worlds in ladders.items():
    for (view, quantity), row in worlds.iterrows():
        if quantity.startswith("stress_"):
            name = f"{split}_{quantity}{endings[view]}_null"
            results[name] = claims.result(row["class"], n=len(shown), note=view)

# %% tags=["hide-input"]
note = f"jackknife over {plots.factor_name(atlas.family)}"
for (split, what, view), row in beyond.iterrows():
    ends = {"low": row.low, "high": row.high, "n": len(shown), "note": note}
    if what == "axes ratio":
        results[f"{split}_axes_ratio"] = claims.result(row.value, **ends)
    else:
        name = f"{split}_stress_{what.split()[2]}{endings[view]}_gain"
        results[name] = claims.result(row.value, **ends)

# %% tags=["answer"]
for split in splits:
    many = min(10, len(stress[split]))
    print(
        f"3 axes explain {100 * stress[split][:3][-1]:.0f} % of the {split} stress, "
        f"{many} axes {100 * stress[split][many - 1]:.0f} %."
    )
    if (split, "axes ratio", "equal progress") in beyond.index:
        row = beyond.loc[(split, "axes ratio", "equal progress")]
        print(
            f"  At equal {split} progress the runs need {row.value:.2f} ({row.low:.2f} "
            f"to {row.high:.2f}) times as many axes as when shuffled within classes."
        )

# %% tags=["hide-input"]
claims.save_results(atlas, "42", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `n_90`, the number of axes that explain 90 % of the stress of the first split (one more than there are, if all do not).

# %% tags=["stub"]
n_90 = ...  # a whole number

# %% tags=["solution"]
n_90 = int(np.searchsorted(stress[first_split], 0.9)) + 1
n_90

# %% tags=["check"]
assert np.isscalar(n_90) and 1 <= n_90 <= len(stress[first_split]) + 1, (
    f"expected a number from 1 to {len(stress[first_split]) + 1}, found {n_90!r}"
)

# %% tags=["check", "hidden"]
known_90 = 1 + sum(bool(value < 0.9) for value in stress[first_split])
assert n_90 == known_90, f"expected {known_90} axes, found {n_90}"

# %% [markdown]
# 2. Fit a straight line to the logarithm of the first ten eigenvalues (their size, for time-like ones). Define `factor`, the ratio of an eigenvalue to the one before it that this line gives.

# %% tags=["stub"]
factor = ...  # a number between 0 and 1

# %% tags=["solution"]
ten = np.abs(eigenvalues[first_split][:10])
factor = np.exp(np.polyfit(np.arange(len(ten)), np.log(ten), 1)[0])
factor

# %% tags=["check"]
assert np.isscalar(factor) and 0 < factor < 1, (
    f"expected a factor between 0 and 1, found {factor!r}"
)

# %% tags=["check", "hidden"]
sizes = np.log(np.abs(eigenvalues[first_split][:10]))
along = np.arange(len(sizes)) - (len(sizes) - 1) / 2
known_factor = np.exp(along @ sizes / (along @ along))
assert np.isclose(factor, known_factor), f"expected {known_factor:.4f}, found {factor}"

# %% [markdown]
# 3. Embed only the last checkpoint of every run of the main grid, by its distances on the first split. Define `last_stress`, the explained stress of the first axes (three, or fewer with less than four runs). Is the cloud of trained networks low-dimensional, too?

# %% tags=["stub"]
last_stress = ...  # array, cumulative

# %% tags=["solution"]
last = atlas.table("main").groupby("run").tail(1).index.to_numpy()
last_fit = InPCA(n_components=min(3, len(last) - 1)).fit(
    np.asarray(select(atlas.distances(first_split), last), dtype=float)
)
last_stress = last_fit.explained_stress_
last_stress, stress[first_split][:3]

# %% tags=["check"]
assert np.ndim(last_stress) == 1 and 1 <= len(last_stress) <= 3, (
    f"expected one to three numbers, found {last_stress!r}"
)

# %% tags=["check", "hidden"]
rows_of_last = atlas.table("main").groupby("run").tail(1).index.to_numpy()
between_last = np.asarray(select(atlas.distances(first_split), rows_of_last), float)
known_stress = InPCA(n_components=len(last_stress)).fit(between_last).explained_stress_
assert np.allclose(last_stress, known_stress), (
    f"expected {known_stress}, found {last_stress}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Three axes explain nearly all of the train stress, in the real world and in the null world. What follows?
#
# <details><summary>Answer</summary>That the explained stress of all points is no evidence for a shared manifold. The way from ignorance to truth, which both worlds have, fills the first axes.</details>
#
# **2.** Why does the comparison at equal progress need many more axes than that of all points?
#
# <details><summary>Answer</summary>At equal progress the common way drops out, and what remains are the differences between networks at one place of the way. They are small and spread over many directions; fewer in the real world than in the null world.</details>
#
# **3.** What would you look at to decide whether five or fifty networks were enough for these numbers?
#
# <details><summary>Answer</summary>At the intervals: they come from leaving out whole runs, or drawing runs anew. If they are wide compared with the distance to the null, more runs are needed.</details>

# %% [markdown]
# ## What next
#
# Chapter 43 makes a point of every trajectory.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figure 2.
# * [Transtrum2011] Transtrum, Machta and Sethna, *Geometry of nonlinear least squares with applications to sloppy models and optimization*, Physical Review E 83, 2011.
# * [Efron1993] Efron and Tibshirani, *An introduction to the bootstrap*, Chapman and Hall, 1993.
