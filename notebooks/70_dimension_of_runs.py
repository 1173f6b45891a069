# %% [markdown]
# # Is a low dimension the sign of a network that generalises?
#
# **What.** Networks that learn random labels by heart beside networks that learn: how far they go from each other, and how many dimensions their training takes.
# **Figure of the paper.** None. The paper shows that training is low-dimensional, and asks what this means for generalisation.
# **Answer.** The dimension of a single run by kind of run, its rank correlation with the test error, and the dimension of several runs together.
#
# | | |
# |---|---|
# | Goals | compare runs on a clock of their own; tell a dimension from a number of checkpoints; find a counterexample |
# | Prerequisites | chapters 30 and 31 (essential), 52 and 60 (helpful) |
# | Minutes | 1 on CPU (reading: 12) |
# | Inputs, outputs | predictions, points.parquet, distances/; figures, results/70.json |

# %%
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, geometry, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.statistics import in_words
from manifold_utils.studies import by_heart
from manifold_utils.studies.generalisation import dimension
from manifold_utils.trajectories import of_atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
share = 0.75  # of the ordinary runs must reach the last station
n_ordinary = 200  # ordinary runs whose dimension is measured, at most
n_stations = 12  # points of a run from which its dimension is measured
span = 4.0  # last of these stations over the first
n_corners = 3  # checkpoints between first and last station, the same for every run
n_sets = 50  # sets of ordinary runs beside the runs on random labels
stress = 0.9  # share of the stress that counts as all
seed = 0  # of draws and the bootstrap

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
labels = {split: atlas.labels(split) for split in ("train", "test")}
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
stream = partial(statistics.stream, seed)  # a generator for each purpose

# %% [markdown]
# ## What do we load?
#
# Three kinds of runs. *Ordinary* runs come from the main grid. Runs on *random labels* have nothing to generalise to. Runs from unusual *starts* were first fitted to random labels or to a few samples, or moved away from ignorance, and learn the true labels in the end.

# %%
everyone = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
kind = by_heart.kinds(atlas.runs)
ordinary = kind.index[kind == by_heart.ORDINARY]
drawn = stream("ordinary").permutation(ordinary)[:n_ordinary]
kind = kind[kind.index.isin(drawn) | (kind != by_heart.ORDINARY)]
noise = list(kind.index[kind == by_heart.NOISE])
if not noise:
    raise claims.NotEnough("0 runs on random labels finished; 1 is needed")
kind.value_counts().to_dict()

# %% [markdown]
# The true labels are the wrong clock for a network that was fitted to others. So each run gets a clock of its *own*: progress and error on the labels that it was fitted to. Random labels are drawn again from the seed of the run; the last error must be the one that training recorded.

# %%
fitted = by_heart.fitted_labels(atlas, noise, data_dir)
clock = {run: of_atlas.own_clock(atlas, run, fitted.get(run)) for run in kind.index}
for run in noise:
    assert np.isclose(clock[run].error.iloc[-1], atlas.runs.fitted_error[run])

# %% [markdown]
# ## What does learning by heart look like?
#
# At equal error on its own labels, how far is a run from the nearest checkpoint of an ordinary run of another seed? We take the first checkpoint with at most that error, and the median over the runs of a kind. Some ordinary runs get the same number for comparison.

# %% tags=["hide-input"]
followed = [*kind.index[kind != by_heart.ORDINARY], *drawn[:24]]
ways = by_heart.way_past(atlas, followed, clock, everyone.index)
ways["kind"] = ways.run.map(kind)
at_error = {
    f"nats at error {e}": ways[ways.error <= e].groupby(["kind", "run"]).nearest.first()
    for e in (0.5, 0.2, 0.1, 0.05)
}

# %%
ends = pd.DataFrame({"kind": kind, "runs": 1})
ends["fitted error"] = [clock[run].error.iloc[-1] for run in kind.index]
ends["test error"] = atlas.runs.final_error_test[kind.index]
how = {"runs": "sum", "fitted error": "mean", "test error": "mean"}
medians = pd.DataFrame({e: far.groupby("kind").median() for e, far in at_error.items()})
ends.groupby("kind").agg(how).join(medians).round(3)

# %% [markdown]
# An empty field means that no run of that kind fits so well. The next figure shows the whole way. *Prediction:* which kinds of line come down to the grey ones, and which do not?

# %% tags=["hide-input"]
unusual = sorted(set(kind) - {by_heart.ORDINARY})
styles = dict(zip(unusual, plots.FACTOR_STYLES[1:], strict=False))
styles[by_heart.ORDINARY] = ("0.7", ".", "-")

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 4.8))
for name, of_kind in ways.groupby("kind"):
    look = dict(zip(("color", "marker", "ls"), styles[name], strict=True))
    look |= {"ms": 4, "lw": 1, "alpha": 0.8, "zorder": 1 + (name in unusual)}
    for _, way in of_kind.groupby("run", sort=False):
        label = f"{name} (n = {of_kind.run.nunique()})"
        ax.plot(1 - way.error, way.nearest, label=label, **look)
ax.set(xlabel="1 - error on the labels fitted to", yscale="log", xlim=(0, 1))
ax.set_ylabel("$d_B$ to the nearest\nordinary checkpoint (nats)")
plots.figure_legend(fig, ax)
alt = "Distance to the nearest ordinary checkpoint against fitted accuracy, by kind."
plots.save_figure(fig, atlas.figure_path("70_by_heart.png"), alt=alt)

# %% [markdown]
# It is no surprise that runs on random labels leave the others: the better they fit their labels, the less they can agree with runs that fit the true ones. Chapter 60 turns the space around for them. For the dimension of a single run no turning is needed, because it changes no distance within the run (exercise 1).
#
# ## How many dimensions has one run?
#
# We take the points of a run at equal stations of its own progress and embed them by themselves. The *participation ratio* $(\sum|\lambda|)^2/\sum\lambda^2$ counts the axes by their weight: it is 1 for a straight line and $k$ for $k$ equal axes. There is a trap: a run with few checkpoints is a polygon with few corners, and its dimension is low for that reason alone. So every run is cut down to equally many checkpoints between the stations, and runs with fewer are left out.
#
# A third contrast comes from chapter 52, with true labels, if this profile has its networks: small networks on *sloppy* inputs (decay $c$ of their spectrum) and on nearly isotropic ones.

# %%
where, kind_of = dict.fromkeys(kind.index, atlas), kind
declared = {name: data for name, (data, _) in atlas.profile.spaces().items()}
sloppy = [name for name, data in declared.items() if data.name == "sloppy"]

# %% tags=["hide-input"]
for name in sloppy:
    space, c = atlas.space(name), f"sloppy data, c = {declared[name].sloppiness:g}"
    done = (space.runs.status == "finished") & (space.runs.initialisation == "ordinary")
    plain = space.runs.index[done]
    where |= dict.fromkeys(plain, space)
    kind_of = pd.concat([kind_of, pd.Series(c, index=plain)])
    clock |= {run: of_atlas.own_clock(space, run) for run in plain}

# %% tags=["hide-input"]
options = {"share": share, "span": span, "n_stations": n_stations}
at = by_heart.common_stations(clock, drawn, noise, n_corners=n_corners, **options)
points = {}
for run, own in clock.items():
    points[run] = by_heart.points_at(where[run], run, own, at, fitted.get(run))
points = {run: values for run, values in points.items() if values is not None}
print(
    f"{n_stations} stations from {at.values[0]:.2f} to {at.values[-1]:.2f}, "
    f"{at.corners} checkpoints between them; {len(points)} of {len(kind_of)} runs "
    "have both"
)

# %%
each = [dimension(pairwise(values), stress) for values in points.values()]
sizes = pd.DataFrame(each, index=list(points), columns=["participation", "axes"])
sizes["kind"] = kind_of[sizes.index]
for column in (family_factor, "final_error_test"):
    sizes[column] = [where[run].runs[column][run] for run in sizes.index]

# %%
if by_heart.ORDINARY not in set(sizes.kind):
    raise claims.NotEnough("0 ordinary runs have enough checkpoints; 1 is needed")
by_kind = sizes.groupby("kind").agg(
    runs=("axes", "size"),
    median=("participation", "median"),
    low=("participation", "min"),
    high=("participation", "max"),
    axes=("axes", "median"),
    test_error=("final_error_test", "mean"),
)
by_kind.round(3)

# %% [markdown]
# `median`, `low` and `high` are about the participation ratio; `axes` counts those that 90 % of the stress need. A value to compare with: the geodesic itself, at the same stations.

# %%
n_classes = atlas.n_classes
start = geometry.ignorance(len(labels["test"]), n_classes)
end = geometry.truth(labels["test"], n_classes)
straight = dimension(pairwise(geometry.geodesic(start, end, at.values)), stress)
assert 1 <= straight[0] < 2
print(f"the geodesic: participation ratio {straight[0]:.2f}, {straight[1]} axes")

# %% [markdown]
# The next figure has a mark for each run: its participation ratio against its final test error (half a sample added). *Prediction:* if a low dimension were the sign of generalisation, where would the marks lie?

# %% tags=["hide-input"]
half = sizes.final_error_test + 0.5 / len(labels["test"])
is_plain = sizes.kind == by_heart.ORDINARY
everything = np.ones(len(sizes), dtype=bool)
panels = {"ordinary runs": (is_plain, family_factor)}
panels["all kinds"] = (everything, "kind")
of_sloppy = sorted(k for k in set(sizes.kind) if k.startswith("sloppy"))
styles |= dict(zip(of_sloppy, plots.FACTOR_STYLES[::-1], strict=False))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.8))
for ax, (title, (rows, level)) in zip(axes, panels.items(), strict=True):
    x, levels = sizes.participation[rows], sizes[level][rows].astype(str)
    plots.plot_marks(ax, x, half[rows], levels, counts=True, styles=styles)
    ax.set(xscale="log", yscale="log", title=title, ylabel="final test error")
    ax.set_xlabel("participation ratio of one run")
    plots.plain_log(ax.xaxis)
    plots.plain_log(ax.yaxis)
    plots.legend_below(ax, ncols=2, fontsize=8)
axes[1].set_ylabel("")
alt = "Final test error against the participation ratio of single runs, by kind."
plots.save_figure(fig, atlas.figure_path("70_dimension.png"), alt=alt)

# %% [markdown]
# Does the dimension of an ordinary run go with its test error? We ask once as it is, and once with the final train loss, the final train error and the family held fixed, since those are known anyway.

# %%
plain_sizes = sizes[is_plain]
of_plain = everyone.loc[plain_sizes.index]
known = of_plain[[family_factor]].assign(
    loss=of_plain.final_loss_train, error=of_plain.final_error_train
)
pair = plain_sizes.participation, plain_sizes.final_error_test
number = statistics.configurations(of_plain, atlas.design)[0]

# %% tags=["hide-input"]
with_error = {}
held_fixed = f"loss, error and {family_name} fixed"
for name, given in {"as they are": None, held_fixed: known}.items():
    drawing = {"given": given, "rng": stream("dimension and error")}
    with_error[name] = statistics.rank_association(*pair, number, **drawing)
with_error = pd.DataFrame(with_error, index=["rho", "low", "high"]).T
with_error.round(2)

# %% [markdown]
# ## How many dimensions have several runs together?
#
# The paper speaks of the dimension of *many* runs in one space. So we take as many ordinary runs of the same families as there are runs on random labels, many times, and count again. Runs on random labels come twice: as they are, each towards its own labels, and turned, all towards one truth as ordinary runs are.

# %%
of_noise = sizes[sizes.kind == by_heart.NOISE]
needed = of_noise[family_factor].value_counts()
alike = plain_sizes[plain_sizes[family_factor].isin(needed.index)]
members = {a: alike.index[alike[family_factor] == a] for a in needed.index}
can = len(of_noise) > 1 and all(len(members[a]) >= n for a, n in needed.items())
sets = {}

# %% tags=["hide-input"]
if can:
    facts = [(points[run], fitted[run], labels["train"]) for run in of_noise.index]
    as_it_was = [geometry.exchange_classes(*of_run) for of_run in facts]
    sets["random labels, as they are"] = [as_it_was]
    sets["random labels, turned"] = [[points[run] for run in of_noise.index]]
    choice, chosen = stream("sets of ordinary runs"), []
    for _ in range(n_sets):
        picked = [choice.permutation(members[a])[:n] for a, n in needed.items()]
        chosen.append([points[run] for run in np.concatenate(picked)])
    sets["ordinary, median of draws"] = chosen

# %% tags=["hide-input"]
together = {}
for name, drawn_sets in sets.items():
    counted = [dimension(pairwise(np.concatenate(s)), stress) for s in drawn_sets]
    fewest, most = statistics.interval(counted)
    ratio, n_axes = np.median(counted, axis=0)
    together[name] = (ratio, fewest[0], most[0], n_axes, fewest[1], most[1])
columns = ["participation", "low", "high", "axes", "fewest", "most"]
together = pd.DataFrame.from_dict(together, orient="index", columns=columns)
together.round(2) if can else "too few runs on random labels, or of their families"

# %% [markdown]
# `low` to `high` and `fewest` to `most` hold 95 % of the draws. "As they are" can look thin for a dull reason: two sets of labels are two truths, one long axis lies between them, and one long axis lowers any count. Once the runs are turned, that axis is gone. What remains is how differently the runs spread their certainty over the samples.
#
# ## What we learned

# %% tags=["hide-input"]
ratio_one = of_noise.participation.mean(), alike.participation.mean()
if len(of_noise) and len(alike):
    of_heart = by_kind.loc[by_heart.NOISE]
    more = of_heart.low > alike.participation.mean()
    print(
        f"Learning by heart {'takes' if more else 'does not clearly take'} more "
        "dimensions than learning: the participation ratio of one run is "
        f"{ratio_one[0]:.2f} on random labels (from {of_heart.low:.2f} to "
        f"{of_heart.high:.2f}) and {ratio_one[1]:.2f} for ordinary runs of the "
        f"same {family_name}."
    )

# %% tags=["hide-input"]
plainly, kept_fixed = with_error.to_numpy()
fixed_too = ""
if np.isfinite(kept_fixed[0]):
    fixed_too = f", and {in_words(*kept_fixed)} with {held_fixed}"
print(
    "Rank correlation of dimension and test error over ordinary runs: "
    f"{in_words(*plainly)}{fixed_too}."
)

# %% tags=["hide-input"]
usual = by_kind.loc[by_heart.ORDINARY]
for name in by_kind.index[by_kind.index.str.startswith("sloppy")]:
    row = by_kind.loc[name]
    if row["median"] <= usual["high"]:
        worse = row.test_error > 2 * usual.test_error
        so = "so a low dimension is no sign of generalisation"
        so = so if worse else "this is not much more than theirs"
        print(
            f"{name.capitalize()}: a ratio of {row['median']:.2f}, as low as that of "
            f"ordinary runs, at a test error of {row.test_error:.2f}; "
            f"{so}."
        )

# %% tags=["hide-input"]
for name, row in together.iterrows():
    print(
        f"{len(of_noise)} runs, {name}: participation ratio {row.participation:.2f}, "
        f"{row['axes']:.0f} axes for {stress:.0%} of the stress."
    )

# %% tags=["hide-input"]
about = {"low": "low", "high": "high", "n": "runs"}
about["note"] = "participation ratio of one run; median and range of runs"
results = claims.results_of(by_kind, "dimension_{}", "median", **about)
about |= {"n": len(of_noise), "note": "participation ratio of several runs"}
key = "dimension_together_{}"
results |= claims.results_of(together, key, "participation", **about)
about |= {"n": len(of_plain), "note": "Spearman; 95 %, configurations drawn again"}
results |= claims.results_of(with_error, "dimension_and_error_{}", "rho", **about)
claims.save_results(atlas, "70", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Turning the space around for a run on random labels changes no distance within the run. Turn `some_run`, such that the labels `drawn_labels` take the place of the true train labels: define `moved`, the turned run, and `largest_change`, the largest difference that this makes to a distance between two of its points.

# %% tags=["stub"]
some_run = of_atlas.own_road(atlas, noise[0])  # given
shape = some_run.shape  # given: (points, samples, classes)
drawn_labels = stream("labels").integers(shape[2], size=shape[1])  # given
moved = ...  # array of the same shape
largest_change = ...  # a number, in nats

# %% tags=["solution"]
moved = geometry.exchange_classes(some_run, drawn_labels, labels["train"])
largest_change = np.abs(pairwise(moved) - pairwise(some_run)).max()
largest_change

# %% tags=["check"]
assert np.shape(moved) == shape, (
    f"expected an array of shape {shape}, found {np.shape(moved)}"
)
assert np.isscalar(largest_change) and largest_change >= 0, (
    f"expected a difference in nats, found {largest_change!r}"
)

# %% tags=["check", "hidden"]
each_sample = np.arange(shape[1])
now, before = (
    np.exp(moved[:, each_sample, labels["train"]]),
    np.exp(some_run[:, each_sample, drawn_labels]),
)
assert np.allclose(now, before), (
    "expected drawn labels in the place of the true ones, "
    f"found probabilities that differ by {np.abs(now - before).max()}"
)
assert largest_change < 1e-5, f"expected no change, found {largest_change} nats"

# %% [markdown]
# 2. What does the participation ratio say of $k$ equal axes? A regular simplex of $n$ points, all at the same distance from each other, has $n-1$ of them. Define `ratios`, its participation ratio for each $n$ in `n_vertices` (see `dimension`).

# %% tags=["stub"]
n_vertices = range(3, 9)  # given
ratios = ...  # list, one ratio for each n

# %% tags=["solution"]
ratios = [dimension(2 * (1 - np.eye(n)), stress)[0] for n in n_vertices]
ratios

# %% tags=["check"]
assert np.shape(ratios) == (len(n_vertices),), (
    f"expected {len(n_vertices)} ratios, found {ratios!r}"
)

# %% tags=["check", "hidden"]
assert np.allclose(ratios, [n - 1 for n in n_vertices]), (
    f"expected {[n - 1 for n in n_vertices]}, found {ratios}"
)

# %% [markdown]
# 3. How strongly do few checkpoints lower the dimension? Take the run `longest`, which has the most checkpoints between the stations, and cut it down to each number of them in `n_left` (`by_heart.points_at` with `by_heart.Stations(at.values, n)`). Define `by_corners`, a dictionary from this number to the participation ratio.

# %% tags=["stub"]
low_end, high_end = at.values[[0, -1]]  # given
own_clocks = {r: clock[r].progress for r in points if where[r] is atlas}  # given
inside = {r: ((s > low_end) & (s < high_end)).sum() for r, s in own_clocks.items()}
longest = max(inside, key=inside.get)  # given
n_left = sorted({1, at.corners, int(inside[longest])})  # given
by_corners = ...  # {number: ratio}

# %% tags=["solution"]
by_corners = {}
for n in n_left:
    with_n = by_heart.Stations(at.values, n)
    whole = atlas, longest, clock[longest], with_n, fitted.get(longest)
    by_corners[n] = dimension(pairwise(by_heart.points_at(*whole)), stress)[0]
by_corners

# %% tags=["check"]
assert isinstance(by_corners, dict) and set(by_corners) == set(n_left), (
    f"expected a ratio for each of {n_left}, found {by_corners!r}"
)

# %% tags=["check", "hidden"]
as_above = sizes.participation[longest]
assert np.isclose(by_corners[at.corners], as_above), (
    f"expected {as_above:.4f}, as above, found {by_corners[at.corners]}"
)
with_one = by_heart.Stations(at.values, 1)
polygon = atlas, longest, clock[longest], with_one, fitted.get(longest)
known_one = dimension(pairwise(by_heart.points_at(*polygon)), stress)[0]
assert np.isclose(by_corners[1], known_one), (
    f"expected {known_one:.4f} with a single corner, found {by_corners[1]}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Suppose that networks on sloppy inputs have a low dimension and a high test error. What does one such example show?
#
# <details><summary>Answer</summary>A low dimension is not enough for a network to generalise. The example does not show that the two are unrelated among ordinary runs; the rank correlation is for that question.</details>
#
# **2.** Why are all runs cut down to equally many checkpoints before dimensions are compared?
#
# <details><summary>Answer</summary>A run with few checkpoints is a polygon with few corners, and has a low dimension for that reason alone. Otherwise the schedule of recording would be compared instead of the training.</details>
#
# **3.** Why do runs on random labels need a clock of their own?
#
# <details><summary>Answer</summary>Progress towards the true labels says nothing about how far a network is that was fitted to other labels. On its own labels, each run can be compared at equal progress.</details>

# %% [markdown]
# ## What next
#
# Chapter 71 asks whether networks that are equally far on the train samples know the same things.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. For the manifold.
# * [Zhang2017] Zhang et al., *Understanding deep learning requires rethinking generalization*, ICLR 2017. For networks on random labels.
