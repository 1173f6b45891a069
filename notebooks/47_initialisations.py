# %% [markdown]
# # Do networks that start elsewhere join the same manifold?
#
# **What.** Networks that were first fitted to random labels, or to a few samples, or whose weights were shifted, and then trained as usual.
# **Figure of the paper.** The appendix on initialisation at different parts of prediction space (E.1).
# **Answer.** At the end most are near some ordinary network. Whether they joined the road or only met the others at its end is another question; the chapter measures both, with ordinary runs as the yardstick.
#
# | | |
# |---|---|
# | Goals | measure how near a run is to a *set* of runs; choose a fair yardstick; tell joining the road from merely arriving at its end |
# | Prerequisites | chapters 31 and 40 (essential), bootstrap (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | distances/, embeddings/, trajectories/ of both splits; figures, results/47.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.statistics import bootstrap_interval
from manifold_utils.studies import initialisations
from manifold_utils.trajectories.of_atlas import load_trajectories

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
quantile = 0.95  # of held-out ordinary runs: up to here a distance counts as ordinary
seed = 0  # of the bootstrap

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
# For every checkpoint of these runs, the distance to the nearest checkpoint of an *ordinary* run of the same architecture. The ordinary runs get the same number, each held out. That is our yardstick: what would a run score that began like everybody else? Runs of one seed begin as the very same network, so that only runs of *other* seeds are compared, for both kinds alike.

# %%
splits = ("train", "test")
near = {split: initialisations.joining_table(atlas, split) for split in splits}
for frame in near.values():
    frame["start"] = frame.initialisation.where(
        frame.grid == "initialisations", "ordinary, held out"
    )

# %%
counted = {
    "runs": ("run", "nunique"),
    "points": ("run", "size"),
    "median": ("distance", "median"),
}
near["train"].groupby(["start", "phase"]).agg(**counted).round(3)

# %% [markdown]
# A known value: a checkpoint has itself at distance zero, and the table must not have used it. So no distance may be exactly 0. Runs without an ordinary run of another seed have no number and are left out.

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
# The axes are those of chapter 40, made by ordinary runs only; the others are placed in them. *Prediction:* a network that has learned random labels is certain and wrong. Where will it stand: near ignorance, near truth, or somewhere else?

# %%
embedding = atlas.embedding("train")
coordinates, eigenvalues = embedding.embedding.values, embedding.eigenvalues.values
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
    "The first two train axes: ordinary runs in grey, "
    "runs from each unusual start as coloured lines, "
    "dotted while fitted to other labels or few samples, solid afterwards."
)

# %%
reference = embedding.reference_embedding.values
grey = {"s": 3, "color": "0.82", "linewidths": 0, "rasterized": True}
dashes = {"pretrain": ":", "main": "-"}

# %% [markdown]
# Each architecture keeps its colour and marker; the next figure also needs names for its two kinds of line.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(starts), figsize=(9, 4.2), squeeze=False)
for ax, start in zip(axes[0], starts, strict=True):
    ax.scatter(*coordinates[ordinary_rows, :2].T, **grey)
    for _, one in special[special.start == start].groupby("run", sort=False):
        colour, marker, _ = styles[one.architecture.iloc[0]]
        for phase, dash in dashes.items():
            way = coordinates[one.index[one.phase == phase], :2]
            ax.plot(*way.T, dash, color=colour, lw=1.5, marker=marker, ms=3.5)
    plots.label_embedding(ax, eigenvalues)
    plots.plot_reference(ax, reference, names=False)
    ax.set(title=shown_as[start], ylabel=ax.get_ylabel() if ax is axes[0, 0] else "")
fig.legend(handles=key, loc="outside lower center", ncols=4)
plots.save_figure(fig, atlas.figure_path("47_starts.png"), alt=alt)

# %% [markdown]
# Grey is everything ordinary. Dotted lines are the first phase, in which a run learns random labels or a few samples; solid lines are the training on the true labels that follows. The square is ignorance, the star truth.
#
# How far away is the start of the second phase in numbers? Distance to ignorance and to truth tell whether it lies *between* them at all. Half the loss is the distance to truth; the geodesic from ignorance to truth is only $\tfrac12 \log C$ long.

# %%
begin = special[special.phase == "main"].groupby("run", sort=False).head(1)
placed = begin.assign(to_truth=atlas.points.loss_train[begin.index] / 2)
road_length = np.log(atlas.log_probs("train").shape[2]) / 2
print(f"ignorance lies {road_length:.3f} nats from truth")
placed.groupby("start")[["progress", "to_truth", "distance"]].median().round(3)

# %% [markdown]
# A start with `to_truth` above the length of the road lies *beyond* ignorance: it would have to unlearn before it can learn. `distance` is what it has to travel to be among the ordinary runs.
#
# ## Do they come back?
#
# We follow the distance to the nearest ordinary checkpoint over the epochs of the second phase. The yardstick is the middle 90 % of held-out ordinary runs. Where their batch is another they have checkpoints at other epochs, so each of them is interpolated to the epochs of the runs that we follow.

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
    "Distance to the nearest ordinary checkpoint against "
    "epochs, for train and test: thin lines are runs, "
    "thick ones medians of each start, the grey band held-out ordinary runs."
)

# %% [markdown]
# In the next figure the grey band is that yardstick, and the axis of epochs is stretched at its start, where most of it happens. *Prediction:* how many epochs does it take to fall into the band, and does every start get there?

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
# Read it from both ends. On the left one sees how far away each start is; on the right, whether it ends in the band. The claim of the paper is about this fall, so we put a number on it: for every run that was fitted to something else first, the distance at the end over the distance at the start of the second phase.

# %% tags=["lesson"]
def ends_over_starts(frame):
    by_run = frame[frame.phase == "main"].groupby("run", sort=False).distance
    return by_run.last() / by_run.first()


# %%
detour = set(special.run[special.phase == "pretrain"])
ratios = {
    split: ends_over_starts(near[split][near[split].run.isin(detour)])
    for split in splits
}

# %%
yardstick = {
    split: ends_over_starts(near[split][near[split].grid == "main"]) for split in splits
}
detours = {split: r for split, r in ratios.items() if len(r)}
joining = {
    s: (r.median(), *bootstrap_interval(r.to_numpy(), np.median, rng=rng))
    for s, r in detours.items()
}

# %%
for split, (m, low, high) in joining.items():
    print(
        f"{split}: end over start {m:.3f} ({low:.3f} "
        f"to {high:.3f}) over {len(ratios[split])} runs;"
    )
    print(
        "  held-out ordinary runs, which start near "
        f"each other, {yardstick[split].median():.2f}"
    )

# %% [markdown]
# ## Is that a fair comparison?
#
# Not yet. Every network that learns its train samples ends near truth, so it ends near every other one, *whatever road it took*. A fall of this ratio says: they arrive. It does not say: they join the road. Two things make it fair. We compare at equal progress, where nobody has arrived, and we divide by what a held-out ordinary run of the same architectures scores there.

# %%
equal, factors, clock = {}, {}, {}
for split in splits:
    dataset, factors[split] = load_trajectories(atlas, split)
    equal[split] = initialisations.joining_at_equal_progress(
        dataset, factors[split], atlas.points, split
    )
    clock[split] = dataset.s.values
    family = factors[split].architecture + "@" + factors[split].scale.astype(str)
    alike = family.isin(family[factors[split].grid == "initialisations"]).to_numpy()
    # The yardstick: ordinary runs of the same architectures only.
    equal[split][~alike] = np.nan

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

# %%
print(
    {
        split: f"{mask.sum()} runs at {len(clock[split])} values of progress"
        for split, mask in compared.items()
    }
)
alt = (
    "Distance to the nearest ordinary run at equal "
    "progress, for train and test, with the band of held-out "
    "ordinary runs of the same architectures in grey."
)

# %% [markdown]
# The next figure shows that distance against progress, with the same lines and a grey band of the same runs. *Prediction:* a run may join half-way, or only in the last steps. Which would you call the same manifold?

# %% tags=["hide-input"]
ordinary_band = {}
for split in splits:
    there = enough[split]
    held = np.nanquantile(ordinary[split][:, there], [1 - quantile, quantile], axis=0)
    ordinary_band[split] = clock[split][there], *held

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
# At each $s$ all runs are equally far along, so arriving does not help until the very end: near $s = 1$ every run is near truth, the band falls too, and a run that enters it only there has arrived rather than joined. We say that a run has *joined* at the progress from which on it stays within what held-out ordinary runs score (their `quantile`), and we count apart those that have joined by half-way.

# %%
limits, summary = {}, {}
for split in splits:
    held, known = ordinary[split], enough[split]
    limits[split] = np.full((2, len(clock[split])), np.nan)
    if known.any():
        at = np.nanquantile(held[:, known], [quantile, 0.5], axis=0)
        limits[split][:, known] = at

# %%
for split, start in [(split, start) for split in splits for start in starts]:
    limit, typical = limits[split]
    curves = equal[split][(kinds[split] == start) & compared[split]]
    at_s = [initialisations.joins_at(curve, limit, clock[split]) for curve in curves]
    joined, over = pd.Series(at_s, dtype=float), curves / typical
    excess = np.nanmedian(over) if np.isfinite(over).any() else np.nan
    row = {"runs": len(curves), "joined": joined.count()}
    row |= {"by_half": (joined <= 0.5).sum(), "median_s": joined.median()}
    summary[split, start] = row | {"excess": excess}

# %%
summary = pd.DataFrame(summary).T.rename_axis(["split", "start"])
summary.round(2)

# %% [markdown]
# `joined` counts the runs that end inside the ordinary range, `by_half` those that are there from $s = .5$ on, `median_s` says when the middle one of those that join does so, and `excess` is the median over progress of their distance over that of a held-out ordinary run: 1 would mean that nothing of the start is left.
#
# Two ways of not joining are different. A run may keep a distance although it moves along the same axes; or its test predictions may stay apart although its train predictions have joined. The table has both splits for this reason.
#
# ## What we learned

# %%
for split, (middle, low, high) in joining.items():
    print(
        f"Fitted to something else first: the {split} "
        "distance to the nearest ordinary checkpoint"
    )
    print(f"  ends at {middle:.3f} of its start ({low:.3f} to {high:.3f}).")

# %%
for (split, start), row in summary.iterrows():
    when = f", the middle one at s = {row.median_s:.2f}" if row.joined else ""
    joined_by = (
        f"{row.joined:.0f} of {row.runs:.0f} runs "
        f"join, {row.by_half:.0f} by half-way{when}"
    )
    print(
        f"{split}, {shown_as[start]}: {joined_by}; on the way "
        f"{row.excess:.1f} times an ordinary run's distance."
    )

# %%
late_only = [
    shown_as[start] for start in starts if summary.by_half["train", start] == 0
]
print(
    "Starts of which no run has joined by half-way "
    f"(train): {', '.join(late_only) or 'none'}."
)
print(
    "The paper shows this as a picture and gives no number; "
    "its claim is that all converge along a similar manifold."
)

# %% tags=["hide-input"]
results = {}
for split in splits:
    middle, low, high = joining.get(split, (np.nan, np.nan, np.nan))
    name = "joining_ratio" if split == "train" else "joining_ratio_test"
    about = "median over runs, 95 % bootstrap; end over start of the main phase"
    results[name] = claims.result(
        middle, low=low, high=high, n=len(ratios[split]), note=about
    )

# %% tags=["hide-input"]
for split in splits:
    low, high = bootstrap_interval(yardstick[split].to_numpy(), np.median, rng=rng)
    bounds = {
        "low": low,
        "high": high,
        "n": len(yardstick[split]),
        "note": "the same for held-out ordinary runs",
    }
    results[f"held_out_ratio_{split}"] = claims.result(
        yardstick[split].median(), **bounds
    )

# %% tags=["hide-input"]
notes = {
    "joined": "share of runs that end within the ordinary range",
    "by_half": "share that is there from s = .5 on",
}
for (split, start), row in summary.iterrows():
    note = "distance over a held-out ordinary run's, at equal progress"
    results[f"excess_{split}_{start}"] = claims.result(
        row.excess, n=row.runs, note=note
    )
    for kind, note in notes.items():
        share = row[kind] / row.runs if row.runs else np.nan
        results[f"{kind}_{split}_{start}"] = claims.result(share, n=row.runs, note=note)
claims.save_results(atlas, "47", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. After how many epochs of the second phase is each run for the first time nearer than a tenth of its first distance?

# %% tags=["solution"]
second_phase = near["train"][
    (near["train"].phase == "main") & (near["train"].grid == "initialisations")
]
first_distance = second_phase.groupby("run", sort=False).distance.transform("first")
tenth = (
    second_phase[second_phase.distance <= first_distance / 10]
    .groupby("run", sort=False)
    .epoch.first()
)
tenth

# %% tags=["check"]
assert len(tenth) <= second_phase.run.nunique() and (tenth > 0).all()

# %% [markdown]
# 2. Which other runs are nearest to a detour's last checkpoint: those with the same architecture only, or any? Compare the least distance to all ordinary points with the table's.

# %% tags=["solution"]
last = special[special.phase == "main"].groupby("run", sort=False).tail(1)
to_any = [
    float(np.asarray(atlas.distances("train")[i : i + 1])[0, ordinary_rows].min())
    for i in last.index
]
ratio_any = np.array(to_any) / last.distance.to_numpy()
ratio_any.round(2)

# %% tags=["check"]
assert np.all(ratio_any <= 1 + 1e-6), "more candidates cannot be farther away"

# %% [markdown]
# 3. Does the test error pay for a bad start? Compare the final test errors of the detours with those of ordinary runs of the same architectures.

# %% tags=["solution"]
in_both = atlas.runs.grid.isin(["main", "initialisations"])
finals = atlas.runs[
    in_both & atlas.runs.architecture.isin(special.architecture.unique())
]
by_start = finals.groupby("initialisation").final_error_test.agg(
    ["median", "min", "max", "size"]
)
by_start.round(3)

# %% tags=["check"]
assert by_start["size"].sum() == len(finals)

# %% [markdown]
# 4. A stricter yardstick: hold out not only the run but every run with its seed's whole configuration. Would the band rise or fall? Reason first; then look at how `joining_table` chooses its columns.

# %% tags=["solution"]
knobs = ["optimizer", "batch_size", "learning_rate", "weight_decay", "augmentation"]
configuration = atlas.runs.groupby(knobs, dropna=False).ngroup()
n_alike = configuration[atlas.runs.grid == "main"].value_counts()
# Fewer candidates: the least distance can only grow, so the band rises.
n_alike.describe()[["min", "max"]]

# %% tags=["check"]
assert n_alike.sum() == (atlas.runs.grid == "main").sum()

# %% [markdown]
# ## What next
#
# Chapter 48 puts train and test predictions into one picture. Chapter 52 repeats the question of starts on data whose spectrum we choose.
#
# **References.** Mao et al., PNAS 2024, appendix on initialisation (E.1). Zhang et al., *Understanding deep learning requires rethinking generalization*, 2017, for fitting random labels. Efron and Tibshirani, *An introduction to the bootstrap*, 1993.
