# %% [markdown]
# # Do networks that start elsewhere join the same manifold?
#
# **What.** Networks that were first fitted to random labels, or to a few samples, or whose weights were shifted, and then trained as usual.
# **Figure of the paper.** The appendix on initialisation at different parts of prediction space (E.1).
# **Answer.** Half-way to truth we measure how many times farther such a run is from its nearest ordinary run than a held-out ordinary run is. A ratio of 1 means that nothing of the start is left. For comparison we give the ratio of the same runs with their samples shuffled within classes, which share only their learning curves with the others.
#
# | | |
# |---|---|
# | Goals | measure how near a run is to a *set* of runs; choose a fair yardstick; tell joining the manifold from merely arriving at truth |
# | Prerequisites | chapters 31 and 40 (essential), t interval (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions/, distances/, embeddings/, trajectories/ of both splits; figures, results/47.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.studies import initialisations
from manifold_utils.trajectories.of_atlas import load_trajectories

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
quantile = 0.95  # of held-out ordinary runs: up to here a distance counts as ordinary
n_shuffles = 4  # shuffles within classes of each run
seed = 0  # of the shuffles

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
starts = sorted(set(atlas.runs.initialisation[atlas.runs.grid == "initialisations"]))
shown_as = {start: start.replace("_", " ") for start in starts}
n_of_grid = atlas.runs.grid.value_counts()
print(f"starts in this atlas: {', '.join(starts)}")
print(
    f"{n_of_grid.get('initialisations', 0)} such "
    f"runs, {n_of_grid.get('main', 0)} ordinary ones"
)

# %% [markdown]
# ## What do we load?
#
# The starts have these names: `offset_0`, `offset_1`, ... are ordinary runs whose initial weights were shifted by one of a few large random offsets, `random_labels` are runs that were first fitted to random labels, and `subset_200` are runs that were first fitted to 200 samples only.
#
# First we load the predictions at three values of progress, $s = .25$, $.5$ and $.75$. There a run has left its start but has not yet arrived. For every run from an unusual start we take the distance to the nearest *ordinary* run of the same architecture and width. Runs of one seed begin as the very same network, so only runs of other seeds are compared.
#
# Such a distance needs a yardstick: how far would a run be that began in the usual way? We hold out the ordinary run of the same architecture, seed and settings. It is compared with the very same candidates, because it has the same seed. The *excess* is the ratio of the two distances.

# %%
splits = ("train", "test")
options = {"n_shuffles": n_shuffles}
tables = {s: initialisations.excess_table(atlas, s, rng, **options) for s in splits}

# %%
stations, half = initialisations.STATIONS, initialisations.STATIONS[1]
at_half = {split: table[table.s == half] for split, table in tables.items()}

# %% [markdown]
# First the answer. Shuffling a run within its true classes keeps its loss, error and progress at every checkpoint. Only the order in which it learns the samples is lost, so the second number is what the learning curves alone give.

# %% tags=["hide-input"]
for split, frame in at_half.items():
    excess = initialisations.excess(frame)
    by_curve = initialisations.excess(frame, "shuffled")
    print(
        f"{split}, s = {half}: {frame.reached.sum()} of {len(frame)} runs "
        "from unusual starts pass it. They are"
    )
    print(f"  {initialisations.excess_in_words(excess)} as far as held-out runs;")
    print(f"  shuffled, {initialisations.excess_in_words(by_curve)} as far.")

# %% [markdown]
# The interval is a 95 % t interval of the mean logarithm. It leaves out each architecture with each kind of start in turn, because the statement is about other architectures and starts, not about other seeds.
#
# Then we load stored distances: from every checkpoint to the nearest checkpoint of an ordinary run. The held-out runs are those of the seeds that unusual runs have, so that both kinds have equally many candidates.

# %%
unusual_seeds = set(atlas.runs.seed[atlas.runs.grid == "initialisations"])
near = {split: initialisations.joining_table(atlas, split) for split in splits}
for split, frame in near.items():
    near[split] = frame[frame.run.map(atlas.runs.seed).isin(unusual_seeds)]
    unusual = near[split].grid == "initialisations"
    kind = near[split].initialisation.where(unusual, "ordinary, held out")
    near[split] = near[split].assign(start=kind)

# %%
counted = {
    "runs": ("run", "nunique"),
    "points": ("run", "size"),
    "median": ("distance", "median"),
}
near["train"].groupby(["start", "phase"]).agg(**counted).round(3)

# %% [markdown]
# A known value: every checkpoint has distance zero to itself, and the table must not use this distance. So none may be exactly 0. Runs without an ordinary run of another seed have no value and are left out.

# %%
n_without = near["train"][near["train"].distance.isna()].run.nunique()
near = {split: frame[frame.distance.notna()] for split, frame in near.items()}
assert all((frame.distance > 0).all() for frame in near.values())
print(
    f"smallest distance: {near['train'].distance.min():.2e} "
    f"nats; runs without a counterpart: {n_without}"
)

# %% [markdown]
# ## Where do these runs begin?
#
# The axes are those of chapter 40, computed from ordinary runs only; the other runs are placed in them. *Prediction:* a network that has learned random labels is certain and wrong. Where will it be: near ignorance, near truth, or somewhere else?

# %%
embedding = atlas.embedding("train")
coordinates, eigenvalues = embedding.embedding.values, embedding.eigenvalues.values
stress = embedding.explained_stress.values
special = near["train"][near["train"].grid == "initialisations"]
ordinary_rows = atlas.table("main").index

# %%
styles = {a: plots.style_of(a) for a in sorted(special.architecture.unique())}
key = [
    plt.Line2D([], [], color=c, marker=m, label=a) for a, (c, m, _) in styles.items()
]

# %%
phases, ends = (
    {"fitted to something else": ":", "true labels": "-"},
    {"ignorance": "s", "truth": "*"},
)
key += [
    plt.Line2D([], [], color="0.3", ls=dash, label=name)
    for name, dash in phases.items()
]

# %%
key += [
    plt.Line2D([], [], color="black", marker=m, ls="", ms=8, label=name)
    for name, m in ends.items()
]
alt = (
    f"First two train axes: ordinary runs in grey, {special.run.nunique()} runs from "
    "unusual starts as coloured lines, dotted while they are fitted to other labels "
    "or to few samples, solid afterwards."
)

# %%
reference = embedding.reference_embedding.values
grey = {"s": 3, "color": "0.82", "linewidths": 0, "rasterized": True}
dashes = {"pretrain": ":", "main": "-"}
ordinary_places = coordinates[ordinary_rows, :2].T
width, height = np.ptp(coordinates[[*ordinary_rows, *special.index], :2], axis=0)
columns = 2 if height < 0.8 * width and len(starts) > 2 else len(starts)
n_rows = -(-len(starts) // columns)
size = {"figsize": (9, 1.4 + n_rows * (0.4 + 7.4 / columns * height / width))}
size |= {"squeeze": False, "sharex": True, "sharey": True}

# %%
thin = {"lw": 1.5, "ms": 3.5}
looks = {a: {"color": c, "marker": m, **thin} for a, (c, m, _) in styles.items()}

# %% [markdown]
# In the next figure each architecture has its colour and marker, and the line style tells the two phases of training apart.

# %% tags=["hide-input"]
fig, axes = plt.subplots(n_rows, columns, **size)
for ax, start in zip(axes.flat, starts, strict=False):
    ax.scatter(*ordinary_places, **grey)
    for _, one in special[special.start == start].groupby("run", sort=False):
        for phase, dash in dashes.items():
            way = coordinates[one.index[one.phase == phase], :2].T
            ax.plot(*way, dash, **looks[one.architecture.iloc[0]])
    plots.label_embedding(ax, eigenvalues, stress)
    plots.plot_reference(ax, reference, names=False)
    of_axes = ax.get_xlabel(), ax.get_ylabel()
    ax.set(title=shown_as[start], xlabel="", ylabel="")
    ax.set_aspect("equal", adjustable="box")
fig.supxlabel(of_axes[0], size=12), fig.supylabel(of_axes[1], size=12)
fig.legend(handles=key, loc="outside upper center", ncols=4)
plots.save_figure(fig, atlas.figure_path("47_starts.png"), alt=alt)

# %% [markdown]
# Ordinary runs are grey. Dotted lines are the first phase, in which a run learns random labels or a few samples; solid lines are the training on the true labels that follows. The square is ignorance, the star truth.
#
# How far away is the start of the second phase? The distance to truth tells whether it lies *between* ignorance and truth at all. Half the loss is the distance to truth; the geodesic from ignorance to truth is only $\tfrac12 \log C$ long.

# %%
begin = special[special.phase == "main"].groupby("run", sort=False).head(1)
placed = begin.assign(to_truth=atlas.points.loss_train[begin.index] / 2)
road_length = np.log(atlas.log_probs("train").shape[2]) / 2
print(f"ignorance lies {road_length:.3f} nats from truth")
placed.groupby("start")[["progress", "to_truth", "distance"]].median().round(3)

# %% [markdown]
# A start with `to_truth` above the length of the road lies *beyond* ignorance: the network has to unlearn before it can learn. `distance` is how far it is from the nearest ordinary checkpoint.
#
# ## Do they come back?
#
# We plot the distance to the nearest ordinary checkpoint over the epochs of the second phase. The yardstick is the middle 90 % of held-out ordinary runs. Runs with another batch size were recorded at different epochs, so each is interpolated to the epochs of the runs that we follow.

# %%
second, bands = {}, {}

# %%
for split, frame in near.items():
    second[split] = frame[frame.phase == "main"].assign(epoch=frame.epoch.round(2))
    epochs = np.unique(second[split][second[split].grid == "initialisations"].epoch)
    held_out = second[split][second[split].grid == "main"].groupby("run", sort=False)
    at_epochs = [
        np.exp(np.interp(epochs, one.epoch, np.log(one.distance)))
        for _, one in held_out
    ]
    bands[split] = epochs, *np.quantile(at_epochs, [0.05, 0.95], axis=0)

# %%
wide = {
    split: f.pivot_table(index=["start", "epoch"], columns="run", values="distance")
    for split, f in second.items()
}
chosen = {
    (split, start): wide[split].loc[start].dropna(axis=1, how="all")
    for split in splits
    for start in starts
}

# %%
ticks = [t for t in (0, 0.5, 1, 2, 5, 10, 20, 50, 100) if t <= 1.05 * epochs.max()]
grey_label = "ordinary, held out (5 to 95 %)"
with_n = {
    start: f"{shown_as[start]} (n = {special.run[special.start == start].nunique()})"
    for start in starts
}

# %%
alt = (
    "Distance to the nearest ordinary checkpoint against epochs, for train and test: "
    "thin lines are runs, thick ones medians of each start (n in the legend), the "
    "grey band holds 90 % of held-out ordinary runs."
)

# %% [markdown]
# In the next figure the grey band is that yardstick. The axis of epochs is stretched at its start, where most of the fall happens. *Prediction:* how many epochs does it take to fall into the band, and does every start get there?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
for ax, split in zip(axes, splits, strict=True):
    ax.fill_between(*bands[split], color="0.85", label=grey_label)
    for k, start in enumerate(starts):
        colour, _, dash = plots.FACTOR_STYLES[k]
        single, bold = chosen[split, start], {"color": colour, "ls": dash, "lw": 2.6}
        ax.plot(single, color=colour, lw=0.6, alpha=0.5)
        ax.plot(single.median(axis=1), label=with_n[start], **bold)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(yscale="log", xlabel="epochs on the true labels", xlim=(0, None))
    ax.set_xticks(ticks, ticks)
    ax.set_title(f"{split} predictions")
axes[0].set_ylabel("$d_B$ to the nearest ordinary\ncheckpoint (nats)")
plots.figure_legend(fig, axes[0], ncols=2, handlelength=4)
plots.save_figure(fig, atlas.figure_path("47_epochs.png"), alt=alt)


# %% [markdown]
# The left end shows how far away each start is, and the right end whether the runs end in the band. It is tempting to quote this fall as the result: the distance at the end divided by that at the start of the second phase, for every run that was first fitted to something else.
#
# That number proves nothing. A network that has learned its train samples is near truth, so it is near every other such network, *whatever road it took*. We show this with runs that cannot have joined anything: the same runs, shuffled within classes.

# %% tags=["lesson"]
def ends_over_starts(frame):
    by_run = frame[frame.phase == "main"].groupby("run", sort=False).distance
    return by_run.last() / by_run.first()


# %%
detour = sorted(set(special.run[special.phase == "pretrain"]))
fall, fall_shuffled = {}, {}
for split in splits if detour else ():
    fall[split] = ends_over_starts(near[split][near[split].run.isin(detour)])
    ends_apart = initialisations.shuffled_ends(atlas, split, detour, rng)
    fall_shuffled[split] = ends_apart["last"] / ends_apart["first"]

# %% tags=["hide-input"]
for split in fall:
    print(
        f"{split}: end over start {fall[split].median():.3f} (median of "
        f"{len(fall[split])} runs); the same runs shuffled "
        f"{fall_shuffled[split].median():.3f}"
    )
if not detour:
    print("no run of this atlas was first fitted to something else")

# %% [markdown]
# On train predictions the two numbers must come close once the samples are learned: truth is one point, and a shuffle leaves the distance to truth as it was. The ratio says that a run arrives at truth; it does not say that it joins the manifold. On test predictions, where no run arrives at truth, the distance may even grow. For a fair comparison we compare at equal progress, where no run has arrived, and divide by the distance of a held-out ordinary run there.
#
# ## How far apart are they half-way?
#
# Here is the excess of the first section for each kind of start and each value of progress. A run counts if it passes the value during its training on the true labels.

# %%
wanted = {"all": starts} | {start: [start] for start in starts}
groups = {
    (split, name, s): table[(table.s == s) & table.kind.isin(members)]
    for split, table in tables.items()
    for name, members in wanted.items()
    for s in stations
}

# %% tags=["hide-input"]
levels = ["split", "start", "s"]
estimate, null = (
    pd.DataFrame({k: initialisations.excess(g, of) for k, g in groups.items()})
    .T.rename_axis(levels).sort_index()
    for of in ("distance", "shuffled")
)
shown = estimate.assign(shuffled=null.value)[["value", "low", "high", "shuffled", "n"]]
shown.xs(half, level="s").loc[list(splits)].round(2)

# %% [markdown]
# In the next figure each small marker is a run. The large ones are geometric means with their intervals, and the grey dashes are the same runs shuffled. *Prediction:* which start is remembered longest?

# %% tags=["hide-input"]
alt = (
    "Distance to the nearest ordinary run over that of a held-out ordinary run, at "
    f"three values of progress, {special.run.nunique()} runs by start: means (large) "
    "with 95 % intervals; grey dashes are the same runs shuffled within classes."
)
bound = 2  # of claim 5

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True)
for ax, split in zip(axes, splits, strict=True):
    plots.plot_excess(ax, tables[split], estimate.loc[split], null.loc[split], bound)
    ax.set_title(f"{split} predictions")
axes[0].set_ylabel("excess over held-out ordinary runs")
plots.figure_legend(fig, axes[0], ncols=3)
plots.save_figure(fig, atlas.figure_path("47_excess.png"), alt=alt)

# %% [markdown]
# A run on the black line is as near as an ordinary run would be. Below the dotted line its distance is at most twice that, which is the bound of claim 5. A start whose mean is near its grey dash shares only the learning curve with the ordinary runs. If a start has no mean, none of its runs passes this progress on the true labels.

# %%
in_words = initialisations.excess_in_words
for split, start in [(split, start) for split in splits for start in starts]:
    both = [in_words(t.loc[(split, start, half)]) for t in (estimate, null)]
    print(f"{split}, {shown_as[start]}: {both[0]}; shuffled, {both[1]}")

# %% [markdown]
# ## When do they join?
#
# Three values of progress are too few to say when. So we use the distances at all values of progress that chapter 31 stored. Here the yardstick is the range of held-out ordinary runs of these architectures and seeds.

# %%
equal, factors, clock = {}, {}, {}
for split in splits:
    dataset, factors[split] = load_trajectories(atlas, split)
    equal[split] = initialisations.joining_at_equal_progress(
        dataset, factors[split], atlas.points, split
    )
    clock[split] = dataset.s.values
    family = initialisations.family_of(factors[split])
    odd = factors[split].grid == "initialisations"
    # The yardstick: ordinary runs of the same architectures and seeds only.
    alike = family.isin(family[odd]) & factors[split].seed.isin(unusual_seeds)
    equal[split][~alike.to_numpy()] = np.nan

# %%
kinds = {
    split: f.initialisation.where(f.grid == "initialisations", "ordinary").to_numpy()
    for split, f in factors.items()
}
compared = {split: np.isfinite(values).any(axis=1) for split, values in equal.items()}
ordinary = {
    split: equal[split][(kinds[split] == "ordinary") & mask]
    for split, mask in compared.items()
}
# With fewer, a quantile means little.
enough = {s: np.isfinite(v).sum(axis=0) >= 3 for s, v in ordinary.items()}
for split in [split for split in splits if not enough[split].any()]:
    print(f"{split}: fewer than 3 held-out runs, so there is no ordinary range")

# %%
print(
    {
        split: f"{mask.sum()} runs at {len(clock[split])} values of progress"
        for split, mask in compared.items()
    }
)
alt = (
    "Distance to the nearest ordinary run at equal progress, for train and test: "
    "medians of each start (n in the legend) over single runs, with the band of "
    "held-out ordinary runs of the same architectures in grey."
)

# %% [markdown]
# The next figure shows that distance against progress, with the same line styles; the grey band is the range of the held-out ordinary runs. *Prediction:* does a run join half-way, or only in the last steps?

# %% tags=["hide-input"]
ordinary_band = {}
for split in splits:
    there, both_ends = enough[split], np.full((2, len(clock[split])), np.nan)
    if there.any():
        ends_at = [1 - quantile, quantile]
        both_ends[:, there] = np.nanquantile(ordinary[split][:, there], ends_at, axis=0)
    ordinary_band[split] = clock[split], *both_ends

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
for ax, split in zip(axes, splits, strict=True):
    x, band = clock[split], ordinary_band[split]
    ax.fill_between(*band, color="0.85", label=grey_label)
    for k, start in enumerate(starts):
        colour, _, dash = plots.FACTOR_STYLES[k]
        curves = equal[split][(kinds[split] == start) & compared[split]]
        ax.plot(x, curves.T, color=colour, lw=0.6, alpha=0.5)
        most = np.isfinite(curves).sum(axis=0) > len(curves) / 2
        look = {"color": colour, "ls": dash, "lw": 2.6, "label": with_n[start]}
        ax.plot(x[most], np.nanmedian(curves[:, most], axis=0), **look)
    ax.set(yscale="log", xlabel="progress s", title=f"{split} predictions", xlim=(0, 1))
axes[0].set_ylabel("$d_B$ to the nearest ordinary run")
plots.figure_legend(fig, axes[0], ncols=2, handlelength=4)
plots.save_figure(fig, atlas.figure_path("47_progress.png"), alt=alt)

# %% [markdown]
# At each $s$ all runs are equally far along, so arriving at truth plays no part until the very end. Near $s = 1$ every run is near truth and the band falls too; a run that enters the band only there has arrived rather than joined. We say that a run has *joined* at the progress from which on it stays within the range of held-out ordinary runs (their `quantile`), and we count separately those that have joined by half-way.

# %%
summary = {}
limits = {split: band[2] for split, band in ordinary_band.items()}

# %%
for split, start in [(split, start) for split in splits for start in starts]:
    limit = limits[split]
    curves = equal[split][(kinds[split] == start) & compared[split]]
    at_s = [initialisations.joins_at(curve, limit, clock[split]) for curve in curves]
    joined = pd.Series(at_s, dtype=float)
    counts = {"runs": len(curves), "joined": joined.count()}
    counts |= {"by_half": (joined <= 0.5).sum(), "median_s": joined.median()}
    if not enough[split].any():
        counts |= {"joined": np.nan, "by_half": np.nan}
    summary[split, start] = counts

# %%
summary = pd.DataFrame(summary).T.rename_axis(["split", "start"])
summary.round(2)

# %% [markdown]
# `joined` counts the runs that end inside the ordinary range and `by_half` those that are there from $s = .5$ on. `median_s` is the median progress at which they join.
#
# The table has both splits, because the test predictions of a run may stay apart although its train predictions have joined.
#
# ## What we learned

# %%
for split in splits:
    here, by_shuffle = (in_words(t.loc[(split, "all", half)]) for t in (estimate, null))
    print(f"Half-way, {split}: runs from unusual starts are {here} as far from")
    print("  their nearest ordinary run as held-out ordinary runs are; shuffled within")
    print(f"  classes, {by_shuffle} as far.")

# %%
train_half = estimate.value["train"].xs(half, level="s").drop("all").dropna()
if len(train_half):
    far, close = train_half.idxmax(), train_half.idxmin()
    print(
        f"Half-way on train samples, {shown_as[far]} is remembered most "
        f"({train_half[far]:.2f} times as far as held-out runs) and "
        f"{shown_as[close]} least ({train_half[close]:.2f} times)."
    )
for (split, start), row in summary.dropna(subset="joined").iterrows():
    print(
        f"{split}, {shown_as[start]}: {row.joined:.0f} of {row.runs:.0f} "
        f"runs end in the ordinary range, {row.by_half:.0f} are there by half-way."
    )

# %%
for split in fall:
    print(
        f"End over start ({split}) is {fall[split].median():.3f}, and "
        f"{fall_shuffled[split].median():.3f} for the same runs shuffled."
    )
print(
    "The paper shows this as a picture and gives no number; "
    "its claim is that all converge along a similar manifold."
)

# %% tags=["hide-input"]
results = {}
about = "geometric mean over runs at s = {:.2f}; 95 % t interval, {:.0f} cells"
for tail, one in (("", estimate), ("_shuffled", null)):
    for split, name, s in one.index:
        of = "" if name == "all" else f"_{name}"
        at = "" if (name, s) == ("all", half) else f"_{100 * s:.0f}"
        number = one.loc[(split, name, s)]
        note = about.format(s, number.n_cells) + " (architecture and start) left out"
        bounds = {"low": number.low, "high": number.high, "n": number.n}
        results[f"excess_{split}{of}{at}{tail}"] = claims.result(
            number.value, **bounds, note=note
        )

# %% tags=["hide-input"]
for split in fall:
    for tail, values in (("", fall[split]), ("_shuffled", fall_shuffled[split])):
        results[f"end_over_start_{split}{tail}"] = claims.result(
            values.median(), n=len(values), note="median over runs; proves nothing"
        )

# %% tags=["hide-input"]
notes = {
    "joined": "share of runs that end within the ordinary range",
    "by_half": "share that is there from s = .5 on",
}
for (split, start), row in summary.iterrows():
    for kind, note in notes.items():
        share = row[kind] / row.runs if row.runs else np.nan
        results[f"{kind}_{split}_{start}"] = claims.result(share, n=row.runs, note=note)
claims.save_results(atlas, "47", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `tenth`, the epoch at which the distance of each run in `second_phase` is for the first time at most a tenth of its first one (without the runs that never get so near).

# %% tags=["stub"]
second_phase = near["train"][
    (near["train"].phase == "main") & (near["train"].grid == "initialisations")
]  # given
tenth = ...  # a Series: run -> epoch

# %% tags=["solution"]
first_distance = second_phase.groupby("run", sort=False).distance.transform("first")
tenth = (
    second_phase[second_phase.distance <= first_distance / 10]
    .groupby("run", sort=False)
    .epoch.first()
)
tenth

# %% tags=["check"]
assert isinstance(tenth, pd.Series) and set(tenth.index) <= set(second_phase.run), (
    f"expected a Series of epochs by run, found {tenth!r}"
)

# %% tags=["check", "hidden"]
known_tenth = {}
for run, one in second_phase.groupby("run", sort=False):
    arrivals = one.epoch[one.distance <= one.distance.iloc[0] / 10]
    known_tenth |= {run: arrivals.iloc[0]} if len(arrivals) else {}
assert tenth.to_dict() == known_tenth, (
    f"expected {known_tenth}, found {tenth.to_dict()}"
)

# %% [markdown]
# 2. Which other runs are nearest to a detour's last checkpoint: those with the same architecture only, or any? Define `ratio_any`, the least distance to all ordinary points (`ordinary_rows`) over the column `distance`, for each row of `last_of_detour`.

# %% tags=["stub"]
last_of_detour = (
    special[special.phase == "main"].groupby("run", sort=False).tail(1)
)  # given
ratio_any = ...  # array, a ratio for each row of `last_of_detour`

# %% tags=["solution"]
to_any = [
    float(np.asarray(atlas.distances("train")[i : i + 1])[0, ordinary_rows].min())
    for i in last_of_detour.index
]
ratio_any = np.array(to_any) / last_of_detour.distance.to_numpy()
ratio_any.round(2)

# %% tags=["check"]
assert np.shape(ratio_any) == (len(last_of_detour),), (
    f"expected {len(last_of_detour)} ratios, found {ratio_any!r}"
)

# %% tags=["check", "hidden"]
assert np.all(np.asarray(ratio_any) <= 1 + 1e-6), (
    f"expected at most 1: more candidates cannot be farther, found {ratio_any}"
)
rows_of = [
    np.asarray(atlas.distances("train")[i : i + 1])[0] for i in last_of_detour.index
]
nearest_any = [row[ordinary_rows].min() for row in rows_of]
assert np.allclose(ratio_any * last_of_detour.distance, nearest_any), (
    f"expected {nearest_any[:1]} nats first, found {ratio_any}"
)

# %% [markdown]
# 3. Does the test error pay for a bad start? Compare the final test errors of the detours with those of ordinary runs of the same architectures. Define `by_start`, a table of their `median` and `size` by initialisation, over the grids `main` and `initialisations`.

# %% tags=["stub"]
by_start = ...  # a DataFrame with the columns median and size

# %% tags=["solution"]
in_both = atlas.runs.grid.isin(["main", "initialisations"])
finals = atlas.runs[
    in_both & atlas.runs.architecture.isin(special.architecture.unique())
]
by_start = finals.groupby("initialisation").final_error_test.agg(["median", "size"])
by_start.round(3)

# %% tags=["check"]
assert isinstance(by_start, pd.DataFrame) and {"median", "size"} <= set(by_start), (
    f"expected a table with median and size, found {by_start!r}"
)

# %% tags=["check", "hidden"]
grids, built = ["main", "initialisations"], set(special.architecture)
rows_of_both = atlas.runs[[g in grids for g in atlas.runs.grid]]
kept = rows_of_both[[a in built for a in rows_of_both.architecture]]
known_start = {
    k: one.median() for k, one in kept.groupby("initialisation").final_error_test
}
assert by_start["size"].sum() == len(kept), (
    f"expected {len(kept)} runs, found {by_start['size'].sum()}"
)
assert np.allclose(by_start["median"], [known_start[k] for k in by_start.index]), (
    f"expected {known_start}, found {by_start}"
)

# %% [markdown]
# 4. A stricter yardstick would hold out not only the run itself but all runs of its configuration, whatever their seed. Would the grey band rise or fall? Define `new_band`, one of these two words. Reason first; then look at how `joining_table` chooses its columns.

# %% tags=["stub"]
new_band = ...  # "rises" or "falls"

# %% tags=["solution"]
knobs = ["optimizer", "batch_size", "learning_rate", "weight_decay", "augmentation"]
configuration = atlas.runs.groupby(knobs, dropna=False).ngroup()
n_alike = configuration[atlas.runs.grid == "main"].value_counts()
new_band = "rises"  # fewer candidates: the least distance can only grow
n_alike.describe()[["min", "max"]]

# %% tags=["check"]
assert new_band in ("rises", "falls"), f"expected one of two words, found {new_band!r}"

# %% tags=["check", "hidden"]
assert new_band == "rises", (
    "expected a band that rises: a least distance to fewer candidates is "
    "larger, "
    f"found {new_band}"
)

# %% [markdown]
# ### Quiz
#
# **1.** A network that was first trained on random labels joins the others. What does this say about the manifold?
#
# <details><summary>Answer</summary>That the trajectory depends little on where training starts: the task and the data lead networks back to the common way, even from a place where no ordinary network comes by.</details>
#
# **2.** Why must the yardstick for "as near as an ordinary run" hold the run itself out?
#
# <details><summary>Answer</summary>Each run is at distance zero from itself and very near to its own seed's twins. A comparison that includes them would ask more of the newcomer than of the others.</details>

# %% [markdown]
# ## What next
#
# Chapter 48 puts train and test predictions into one picture. Chapter 52 repeats the question of starts on data whose spectrum we choose.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix on initialisation (E.1).
# * [Zhang2017] Zhang et al., *Understanding deep learning requires rethinking generalization*, ICLR 2017. For fitting random labels.
# * [Quenouille1956] Quenouille, *Notes on bias in estimation*, Biometrika 43, 1956. For leaving out units in turn.
