# %% [markdown]
# # In which directions do networks leave ignorance and arrive at truth?
#
# **What.** An embedding that is built from four points only, compared with the ordinary one; and the tangent directions of all runs at both ends of the geodesic.
# **Figure of the paper.** The figures on tangents (9 to 11): the "three bases", judged by L1 explained distance.
# **Answer.** The chapter compares how much of all distances four points and their three axes reproduce with what one axis of ordinary InPCA and four other points reproduce. It also counts the directions that networks share, and compares this with networks that learn their samples each in an order of their own.
#
# | | |
# |---|---|
# | Goals | place points by their distances to four anchors; compute a log map; count directions against a null model |
# | Prerequisites | chapters 30, 31 and 40 (essential), tangent spaces (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions/, distances/; figures, results/49.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.geometry import ignorance, truth
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.studies import tangents
from manifold_utils.trajectories.of_atlas import resampled

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
n_points = 800  # points that are embedded and averaged
n_runs = 60  # runs whose tangents are compared
n_null = 20  # random choices of four anchors, and shuffled copies of the tangents
seed = 0  # of all draws

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style(atlas.levels)
family_factor, family_name = atlas.family, plots.factor_name(atlas.family)
table, first_split = atlas.table("main"), atlas.splits[0]
clock, limit = f"progress_{first_split}", embedding.outlier_limit(atlas.n_classes)
near = embedding.to_truth(atlas, table) < limit
table = table[near].sample(frac=1, random_state=seed)
table = (
    table.groupby(pd.cut(table[clock], 10), observed=True)
    .head(max(10, n_points // 10))
    .sort_index()
)

# %% tags=["hide-input"]
print(
    f"{len(table)} points of {table.run.nunique()} runs, "
    f"spread over progress; {n_null} draws of each null"
)

# %% [markdown]
# ## What do we load?
#
# Points of the main grid without outliers, about equally many from each tenth of progress, and the distances between them from chapter 20.

# %%
rows = table.index.to_numpy()
s = table[clock].to_numpy()
log_probs = np.asarray(atlas.log_probs(first_split)[rows])
labels, (n_samples, n_classes) = atlas.labels(first_split), log_probs.shape[1:]
D = np.asarray(embedding.select(atlas.distances(first_split), rows), dtype=float)
print(log_probs.shape, f"progress {s.min():.2f} to {s.max():.2f}")
assert np.abs(D[0] - pairwise(log_probs[:1], log_probs)[0]).max() < 1e-4

# %% [markdown]
# ## Can four points span the manifold?
#
# Ordinary InPCA looks at all distances between all points. Now we look at four points only: ignorance, truth, and the average of all models near progress .3 and near .7 of what the runs reach, with weights $\exp(-(s-l)^2 / (2 \cdot .05^2))$. Their InPCA has three axes, which the paper calls the *three bases*. Every other point is placed by its *four* distances. *Prediction:* which share of all distances survives?
#
# First the known value: the four points themselves keep their distances exactly.

# %%
centres = (0.3 * s.max(), 0.7 * s.max())
bases, anchors = tangents.three_bases(lambda: [log_probs], labels, s, centres)
between = pairwise(anchors)
exact = tangents.explained_distance_l1(between, bases.embedding_, bases.signature_)
print(
    "four points, three axes: explained distance "
    f"{exact:.6f}; eigenvalues {bases.eigenvalues_.round(3)}"
)
assert np.isclose(exact, 1)

# %% [markdown]
# This must be so, because three axes can represent any four points; it says nothing about networks. Now we do the same for all points, in both embeddings, where nothing is guaranteed. The measure is the L1 explained distance, $1 - \sum |D_k - D| / \sum D$: the share of all distances that the axes reproduce.

# %%
ordinary = InPCA(n_components=3).fit(D)
placed = bases.transform(pairwise(log_probs, anchors))
l1 = {
    "ordinary InPCA": tangents.explained_distance_l1(
        D, ordinary.embedding_, ordinary.signature_
    ),
    "three bases": tangents.explained_distance_l1(D, placed, bases.signature_),
}

# %%
l1_axis = tangents.explained_distance_l1(
    D, ordinary.embedding_[:, :1], ordinary.signature_[:1]
)
print({name: round(value, 3) for name, value in l1.items()})
print(f"one axis of ordinary InPCA: {l1_axis:.3f}")


# %% [markdown]
# We have to compare three axes with one: if the first axis of ordinary InPCA reproduces as much, the two averages add nothing to a straight line.
#
# Does it matter which four points we choose? Any four points give three axes. As nulls, we draw four networks at random, many times; we keep ignorance and truth and draw the other two; and we leave out the averages, so that one axis remains, from ignorance to truth.

# %% tags=["lesson"]
def anchored(four):
    fit = InPCA(n_components=3).fit(pairwise(four))
    return tangents.explained_distance_l1(
        D, fit.transform(pairwise(log_probs, four)), fit.signature_
    )


# %%
any_four = [
    anchored(log_probs[rng.choice(len(rows), 4, replace=False)]) for _ in range(n_null)
]
ends = np.concatenate([ignorance(n_samples, n_classes), truth(labels, n_classes)])
two_drawn = [log_probs[rng.choice(len(rows), 2, replace=False)] for _ in range(n_null)]
with_ends = [anchored(np.concatenate([ends, two])) for two in two_drawn]

# %%
one_axis = InPCA(n_components=1).fit(pairwise(ends))
l1_one = tangents.explained_distance_l1(
    D, one_axis.transform(pairwise(log_probs, ends)), one_axis.signature_
)
nulls = {
    "any four networks": any_four,
    "the ends and any two": with_ends,
    "the ends alone, one axis": [l1_one],
}
levels = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}
pd.DataFrame(
    {name: np.quantile(v, list(levels.values())) for name, v in nulls.items()},
    index=levels,
).round(3)

# %% [markdown]
# Very low values have a reason: if two anchors are near each other, an axis has hardly any length, and dividing by it magnifies every error. How special is our choice of points?

# %%
rank = np.mean(np.array(any_four) < l1["three bases"])
print(f"The three bases beat {100 * rank:.0f} % of the random fours,")
print(f"  and reach {l1['three bases'] / l1_one:.2f} times what the ends alone give.")
print(
    "So the choice of the points matters."
    if rank > 0.9
    else "So the low dimension of the manifold makes it work, not the choice of points."
)

# %% [markdown]
# Do both embeddings put the points in the same order along their axes? The table shows the absolute correlations:

# %%
along_axes = np.corrcoef(ordinary.embedding_.T, placed.T)[:3, 3:]
names = [f"axis {k}" for k in (1, 2, 3)]
pd.DataFrame(np.abs(along_axes), index=names, columns=names).rename_axis(
    "ordinary \\ three bases"
).round(2)

# %% [markdown]
# The next figure shows both embeddings, by family. *Prediction:* where will the four-point picture be most wrong?

# %% tags=["hide-input"]
_, straight = embedding.road(atlas, first_split)
views = [
    (ordinary, ordinary.embedding_, log_probs, "ordinary InPCA"),
    (bases, placed, anchors, "three bases"),
]
mark = {"ms": 9, "mfc": "white", "mew": 2, "ls": "", "label": "averages (anchors)"}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax, (fit, coordinates, known, title) in zip(axes, views, strict=True):
    plots.plot_embedding(ax, coordinates, table[family_factor], size=12, legend=False)
    plots.plot_reference(ax, fit.transform(pairwise(straight, known)), names=False)
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
    ax.set_title(f"{title}: {100 * l1[title]:.0f} % of the distances")
axes[1].plot(*bases.embedding_[2:, :2].T, "kD", **mark)
plots.figure_legend(fig, axes[1], ncols=4)
alt = (
    f"Ordinary InPCA of {len(table)} points and their embedding by four anchors, by "
    f"{family_name}; open diamonds are the averages, black is the geodesic."
)
plots.save_figure(fig, atlas.figure_path("49_three_bases.png"), alt=alt)

# %% [markdown]
# Open diamonds are the two averages; square and star are the other two anchors. The sign of an axis is arbitrary, so a picture may be upside down. A row of the table with one large entry means that both pictures show the same axis; a row without one means that the distances to these four points do not determine that axis. The first axis is the way from ignorance to truth in both, so look at the others.
#
# The next table asks the same with other centres, since .3 and .7 are a choice.

# %%
choices = [(0.2, 0.8), (0.3, 0.7), (0.4, 0.6)]
by_centre = {}
for low, high in choices:
    fit_c, anchors_c = tangents.three_bases(
        lambda: [log_probs], labels, s, (low * s.max(), high * s.max())
    )
    placed_c = fit_c.transform(pairwise(log_probs, anchors_c))
    by_centre[f"{low} and {high}"] = tangents.explained_distance_l1(
        D, placed_c, fit_c.signature_
    )
pd.Series(by_centre, name="explained distance (L1)").round(3)

# %% [markdown]
# ## Which way do networks go?
#
# A tangent vector says in which direction a network lies, seen from a fixed point: $v = \frac{\theta}{\sin\theta}(\sqrt q - \cos\theta \sqrt p)$, sample by sample. We take early points (progress .1, where runs start below it) seen from ignorance, and late ones seen from truth. A known value first: the vector from ignorance to truth must have the length $\arccos(1/\sqrt C)$.

# %%
both_ends = truth(labels, n_classes), ignorance(n_samples, n_classes)
length = np.linalg.norm(tangents.tangent_vectors(*both_ends)[0])
print(f"length {length:.4f}, arccos(1/sqrt C) = {np.arccos(n_classes**-0.5):.4f} rad")
assert np.isclose(length, np.arccos(n_classes**-0.5), atol=1e-5)

# %%
by_run = atlas.table("main").groupby("run", sort=False)
reach = by_run.agg(top=(clock, "max"), low=(clock, "first"))
reach = reach.join(atlas.runs[[family_factor]])
reach["same_seed"] = statistics.seeds_of(atlas.runs, atlas.design)[
    atlas.runs.index.get_indexer(reach.index)
]
late_at = float(reach.top.quantile(0.25))  # three quarters of the runs get there
early_at = min(max(0.1, float(reach.low.quantile(0.75))), late_at / 2)
for_both = reach[(reach.top >= late_at) & (reach.low <= early_at)].sample(
    frac=1, random_state=seed
)

# %%
per_family = max(2, n_runs // max(1, for_both[family_factor].nunique()))
chosen = for_both.groupby(family_factor, sort=True).head(per_family)
chosen = chosen.sort_values([family_factor, "same_seed"], kind="stable")
print(
    f"{len(chosen)} runs that reach s = {late_at:.2f}:",
    chosen[family_factor].value_counts().to_dict(),
)
if len(chosen) < 2:
    raise claims.NotEnough(
        f"{len(chosen)} of {len(reach)} runs pass s = {early_at:.2f} and "
        f"s = {late_at:.2f}; shared directions need 2: record earlier checkpoints"
    )

# %%
early_and_late = resampled(
    atlas, first_split, list(chosen.index), np.array([early_at, late_at])
)
bases_at = {
    "ignorance": ignorance(n_samples, n_classes),
    "truth": truth(labels, n_classes),
}

# %%
vectors = {
    name: tangents.tangent_vectors(early_and_late[:, k], base)
    for k, (name, base) in enumerate(bases_at.items())
}
along = {
    "ignorance": tangents.tangent_vectors(bases_at["truth"], bases_at["ignorance"]),
    "truth": tangents.tangent_vectors(bases_at["ignorance"], bases_at["truth"]),
}

# %%
with_road = {
    name: tangents.cosines(np.concatenate([along[name], v]))[0, 1:]
    for name, v in vectors.items()
}
print(
    "median cosine with the geodesic:",
    {name: round(float(np.median(c)), 3) for name, c in with_road.items()},
)

# %% [markdown]
# At ignorance we look at the first steps of learning, when a network hardly distinguishes the classes; at truth we look at the last samples that it still has to learn, which are few. So the two ends show different things: the first, which samples are *easy* for a network; the second, which are *hard*.
#
# The cosine with the geodesic says how much of the step is common to all samples. We remove that part; what remains is the choice of *which* samples and which wrong classes. Do networks share it? As the null model we shuffle the samples within each class, separately for each run. Loss, progress and the distances to both ends do not change; only the choice of samples is lost.

# %%
n_shuffles = min(n_null, 5)
null_options = {"n_null": n_shuffles, "rng": rng}
across, null_across = tangents.shared_directions(early_and_late, labels, **null_options)

# %%
spectra = {name: tangents.direction_spectrum(v) for name, v in across.items()}
null_spectra = {
    name: np.array([tangents.direction_spectrum(v) for v in draws])
    for name, draws in null_across.items()
}

# %% [markdown]
# The next figure shows how much of the squared length off the geodesic lies in the best $k$ common directions. The dashed line is the null. *Prediction:* at which end do networks agree more?

# %% tags=["hide-input"]
alt = (
    f"Share of the squared length of {len(chosen)} tangent vectors, geodesic taken "
    "out, in the best k directions, at ignorance and at truth; dashed: the null of "
    "shuffled samples."
)
k = np.arange(1, len(chosen) + 1)
ticks = [t for t in (1, 2, 3, 5, 10, 20, 50, 100) if t <= len(chosen)]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
n_networks, chance = f"networks (n = {len(chosen)})", "samples shuffled within class"
for ax, (name, spectrum) in zip(axes, spectra.items(), strict=True):
    ax.plot(k, spectrum, color=plots.SPACE_LIKE, lw=2.4, label=n_networks)
    null = null_spectra[name].mean(axis=0)
    ax.plot(k, null, color="black", ls="--", label=chance)
    ax.set(xscale="log", xlabel="directions", ylim=(0, 1.02))
    ax.set_title(f"tangents at {name}")
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
axes[0].set_ylabel("share of squared length off the geodesic")
axes[1].legend(loc="lower right")
plots.save_figure(fig, atlas.figure_path("49_directions.png"), alt=alt)


# %% [markdown]
# The distance between the lines is what networks share in the choice of samples. The null still contains something that is shared: the wrong classes for which a class is mistaken survive the shuffle.
#
# We can also ask *which* runs share directions, with the cosines between the same vectors. Runs of one seed and family begin as the very same network, so their first directions may agree for this reason alone; they are counted separately.

# %% tags=["lesson"]
def pairs_of_runs(table):
    families, seeds = table[family_factor].to_numpy(), table.same_seed.to_numpy()
    alike = families[:, None] == families
    other_seed = seeds[:, None] != seeds
    itself = np.eye(len(table), dtype=bool)
    return {
        f"same {family_name} and seed": alike & ~other_seed & ~itself,
        f"same {family_name}, other seed": alike & other_seed,
        f"other {family_name}": ~alike,
    }


# %% tags=["lesson"]
def agreement_of(real, null, pairs_of):
    rows = {}
    for name, v in real.items():
        own = tangents.cosines(v)
        by_chance = np.mean([tangents.cosines(draw) for draw in null[name]], axis=0)
        for kind, pairs in pairs_of.items():
            row = {"pairs": pairs.sum() // 2, "cosine": np.nan, "shuffled": np.nan}
            if pairs.any():
                row["cosine"] = own[pairs].mean()
                row["shuffled"] = by_chance[pairs].mean()
            rows[name, kind] = row
    return pd.DataFrame(rows).T.rename_axis(["at", "runs of"])


# %%
pairs_of = pairs_of_runs(chosen)
agreement = agreement_of(across, null_across, pairs_of)
agreement.round(3)

# %% [markdown]
# The next figure has all of these cosines, runs ordered by family and, within one, by seed.

# %% tags=["hide-input"]
alt = (
    f"Cosines between the tangent vectors of {len(chosen)} runs, ordered by "
    f"{family_name}, at ignorance and at truth; thin lines divide the families, "
    "red is alike, blue opposed."
)
order = pd.Series(np.arange(len(chosen)))
places = order.groupby(chosen[family_factor].to_numpy()).agg(["mean", "max"])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
for ax, (name, v) in zip(axes, across.items(), strict=True):
    picture = ax.imshow(tangents.cosines(v), cmap=plots.DIVERGING, vmin=-1, vmax=1)
    for edge in places["max"][:-1] + 0.5:
        ax.axhline(edge, color="black", lw=0.6)
        ax.axvline(edge, color="black", lw=0.6)
    ax.set(
        xticks=[], yticks=places["mean"], yticklabels=places.index, title=f"at {name}"
    )
    ax.grid(visible=False)
fig.colorbar(picture, ax=axes, label="cosine, geodesic taken out", shrink=0.85)
plots.save_figure(fig, atlas.figure_path("49_cosines.png"), alt=alt)

# %% [markdown]
# Squares on the diagonal that are darker than the rest mean that families have directions of their own. Small dark blocks within them are runs of one seed. Red outside the squares means that all runs share a direction. The table above says which of these differ from what the shuffled samples give.
#
# ## And on test predictions?
#
# We take the same runs on samples that they were not trained on: early and late points by *test* progress, seen from ignorance and from the truth of the test samples. *Prediction:* do networks share more or less of their directions there?

# %%
test_across, test_null, on_test, late_on_test = {}, {}, chosen[:0], np.nan
if "test" in atlas.splits:
    top_on_test = by_run.progress_test.max()[chosen.index]
    late_on_test = float(top_on_test.quantile(0.25))
    on_test = chosen[top_on_test >= late_on_test]
    ends_on_test = np.array([min(0.1, late_on_test / 2), late_on_test])

# %%
if len(on_test) > 1:
    early_and_late_test = resampled(atlas, "test", list(on_test.index), ends_on_test)
    labels_test = atlas.labels("test")
    test_across, test_null = tangents.shared_directions(
        early_and_late_test, labels_test, **null_options
    )

# %% tags=["hide-input"]
test_agreement = pd.DataFrame()
if test_across:
    test_agreement = agreement_of(test_across, test_null, pairs_of_runs(on_test))
several = max(0, min(2, len(on_test) - 1))
test_shares = {
    name: tangents.direction_spectrum(v)[several] for name, v in test_across.items()
}
test_chance = {
    name: np.array([tangents.direction_spectrum(v)[several] for v in draws])
    for name, draws in test_null.items()
}

# %% tags=["hide-input"]
print(
    f"{len(on_test)} runs that reach a test progress of {late_on_test:.2f}"
    if test_across
    else "fewer than two runs have test predictions that advance: nothing to compare"
)
test_agreement.round(3)

# %% [markdown]
# The rows mean the same as in the table for train predictions. The next section compares the two.
#
# ## What we learned

# %% tags=["hide-input"]
top = min(2, len(chosen) - 1)
shares = {name: (spectra[name][top], null_spectra[name][:, top]) for name in vectors}
verdict = (
    "better than nearly all of these"
    if rank > 0.95
    else "within what four random networks reach"
)
print(
    "Explained distance (L1): "
    + ", ".join(f"{name} {100 * value:.0f} %" for name, value in l1.items())
    + "."
)

# %% tags=["hide-input"]
compared = "more" if l1["three bases"] > l1_axis else "less"
always = (np.array(list(by_centre.values())) > l1_axis) == (l1["three bases"] > l1_axis)
centres_told = "this holds" if always.all() else "but this does not hold"
print(
    f"So the three bases explain {compared} of the distances than a single axis "
    f"of InPCA, which gives {100 * l1_axis:.0f} %;"
)
print(f"  {centres_told} for each of the {len(choices)} pairs of centres tried.")

# %%
print(
    f"Four networks at random reach {100 * np.median(any_four):.0f} "
    f"% (median): the three bases are {verdict}."
)
print(f"The two ends alone, with one axis, give {100 * l1_one:.0f} %.")

# %% tags=["hide-input"]
higher, lower = "more than in every shuffle", "no more than shuffled"
for name, (share, null) in shares.items():
    beyond = higher if share > null.max() else lower
    print(
        f"At {name}, 3 directions hold {100 * share:.1f} "
        "% of the squared length off the road,"
    )
    print(f"  {beyond} ({100 * null.min():.1f} to {100 * null.max():.1f} %).")
    row = agreement.loc[(name, f"other {family_name}")]
    cosine, shuffled_cosine = row["cosine"], row["shuffled"]
    if np.isfinite(cosine):
        print(
            f"  Cosine between levels of {family_name} {cosine:.2f}; "
            f"shuffled {shuffled_cosine:.2f}."
        )

# %% tags=["hide-input"]
for name, share in test_shares.items():
    low_share, high_share = test_chance[name].min(), test_chance[name].max()
    beyond = (
        "more than in every shuffle" if share > high_share else "no more than shuffled"
    )
    own, by_chance = test_agreement.loc[(name, f"other {family_name}")].iloc[1:]
    print(
        f"On test predictions at {name}, {several + 1} directions hold "
        f"{100 * share:.1f} %, {beyond} ({100 * low_share:.1f} to "
        f"{100 * high_share:.1f} %); cosine between families {own:.2f}, "
        f"shuffled {by_chance:.2f}."
    )

# %%
print(
    "The paper compares the two embeddings by explained "
    "distance in a figure; we know of no number in its text."
)

# %% tags=["hide-input"]
centred = {
    "low": min(by_centre.values()),
    "high": max(by_centre.values()),
    "note": "interval: other centres",
}
drawn = {
    "low": np.quantile(any_four, 0.05),
    "high": np.quantile(any_four, 0.95),
    "note": f"points; {n_null} draws of four networks at random",
}

# %% tags=["hide-input"]
results = {
    "l1_ordinary_3": claims.result(l1["ordinary InPCA"], n=len(rows)),
    "l1_three_bases": claims.result(l1["three bases"], n=len(rows), **centred),
    "l1_any_four": claims.result(np.median(any_four), n=len(rows), **drawn),
    "l1_one_axis": claims.result(l1_axis, n=len(rows), note="of ordinary InPCA"),
    "l1_ends_alone": claims.result(
        l1_one, n=len(rows), note="one axis, from ignorance to truth"
    ),
}
short = dict(zip(pairs_of, ("twins", "same", "other"), strict=True))

# %% tags=["hide-input"]
both_splits = {"": (shares, agreement, len(chosen))}
of_test = {name: (test_shares[name], test_chance[name]) for name in test_shares}
if of_test:
    both_splits["_test"] = of_test, test_agreement, len(on_test)
chance_note = f"runs; {n_shuffles} shuffles of samples within class"

# %% tags=["hide-input"]
for split, (of_ends, cosines_of, n_of) in both_splits.items():
    for name, (share, null) in of_ends.items():
        about = {"low": null.min(), "high": null.max(), "note": chance_note}
        key = f"directions_3_{name}"
        results[f"{key}{split}"] = claims.result(share, n=n_of)
        results[f"{key}_null{split}"] = claims.result(null.mean(), n=n_of, **about)
        for kind, tag in short.items():
            row = cosines_of.loc[name, kind]
            note = f"pairs of runs; samples shuffled within class: {row.shuffled:.3f}"
            key_of_pair = f"cosine_{tag}_{name}{split}"
            results[key_of_pair] = claims.result(row.cosine, n=row.pairs, note=note)

# %% tags=["hide-input"]
claims.save_results(atlas, "49", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Do three bases still work if the two averages lie at nearly the same progress? Guess first which axis suffers. Then define `near_fit` and `near_anchors`, what `tangents.three_bases` gives for averages at 0.48 and 0.52 of the largest progress.

# %% tags=["stub"]
near_fit = ...  # a fitted InPCA
near_anchors = ...  # array, four points

# %% tags=["solution"]
near_fit, near_anchors = tangents.three_bases(
    lambda: [log_probs], labels, s, (0.48 * s.max(), 0.52 * s.max())
)
l1_near = tangents.explained_distance_l1(
    D, near_fit.transform(pairwise(log_probs, near_anchors)), near_fit.signature_
)
near_fit.eigenvalues_.round(5), l1_near

# %% tags=["check"]
assert hasattr(near_fit, "eigenvalues_") and len(near_fit.eigenvalues_) == 3, (
    f"expected a fit with three axes, found {near_fit!r}"
)
assert np.ndim(near_anchors) == 3 and len(near_anchors) == 4, (
    f"expected four points, found {np.shape(near_anchors)}"
)

# %% tags=["check", "hidden"]
lengths = np.abs(near_fit.eigenvalues_)
assert lengths[-1] < lengths[0], (
    f"expected a last axis with hardly any length, found {near_fit.eigenvalues_}"
)
closeness = pairwise(near_anchors[2:])[0, 1]
usual = pairwise(tangents.three_bases(lambda: [log_probs], labels, s)[1][2:])[0, 1]
assert closeness < usual, (
    f"expected averages nearer than {usual:.4f} nats, found {closeness}"
)

# %% [markdown]
# 2. Do the averages need models? Take as anchors the `ends` and the points of the *geodesic* at $\lambda = 0.3$ and $0.7$. Define `l1_road`, the share of the distances that `anchored` gives then. Does the picture still bend?

# %% tags=["stub"]
l1_road = ...  # a share

# %% tags=["solution"]
lambdas, whole_road = embedding.road(atlas, first_split, n=11)
l1_road = anchored(np.concatenate([ends, whole_road[[3, 7]]]))
l1_road, l1["three bases"]

# %% tags=["check"]
assert np.isscalar(l1_road) and np.isfinite(l1_road), (
    f"expected a number, found {l1_road!r}"
)

# %% tags=["check", "hidden"]
at, points_of_road = embedding.road(atlas, first_split, n=11)
two_of_road = points_of_road[[np.argmin(np.abs(at - t)) for t in (0.3, 0.7)]]
known_l1 = anchored(np.concatenate([ends, two_of_road]))
assert np.isclose(l1_road, known_l1), f"expected {known_l1:.4f}, found {l1_road}"

# %% [markdown]
# 3. At which progress do networks agree most about the direction? Define `share_3`, a list with the share of squared length that 3 directions hold, for the tangents of the runs `some_runs` seen from ignorance, with the geodesic taken out (`tangents.off_the_road`), at the progress 0.05, 0.1, 0.2 and 0.4.

# %% tags=["stub"]
some_runs = list(chosen.index[:: max(1, len(chosen) // 20)])  # given
share_3 = ...  # a list of four shares

# %% tags=["solution"]
later = resampled(atlas, first_split, some_runs, np.array([0.05, 0.1, 0.2, 0.4]))
start = bases_at["ignorance"]
seen = [tangents.off_the_road(later[:, i], start, bases_at["truth"]) for i in range(4)]
share_3 = [tangents.direction_spectrum(v)[min(2, len(some_runs) - 1)] for v in seen]
share_3

# %% tags=["check"]
assert np.shape(share_3) == (4,) and all(0 <= share <= 1 for share in share_3), (
    f"expected four shares from 0 to 1, found {share_3!r}"
)

# %% tags=["check", "hidden"]
for at_s, share in zip((0.05, 0.4), (share_3[0], share_3[-1]), strict=True):
    there = resampled(atlas, first_split, some_runs, np.array([at_s]))[:, 0]
    off = tangents.off_the_road(there, bases_at["ignorance"], bases_at["truth"])
    known = tangents.direction_spectrum(off)[min(2, len(some_runs) - 1)]
    assert np.isclose(share, known, atol=1e-6), (
        f"expected {known:.4f} at progress {at_s}, found {share}"
    )

# %% [markdown]
# ### Quiz
#
# **1.** What is a tangent at ignorance?
#
# <details><summary>Answer</summary>The direction in which a network leaves ignorance: the straight start of its way in the space of square roots of probabilities. Networks with one direction first learn the same about the same samples.</details>
#
# **2.** Why is the direction of the geodesic taken out before directions are compared?
#
# <details><summary>Answer</summary>All networks go from ignorance to truth, so they share this direction by necessity. Only the rest of the direction can show what they share beyond it.</details>

# %% [markdown]
# ## What next
#
# Chapter 50 averages networks: where does the mean of many runs lie, and which mean is best?
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Figures on tangents.
# * [Quinn2019] Quinn et al., *Visualizing probabilistic models and data with intensive principal component analysis*, PNAS 116(28), 2019. For InPCA.
# * [Pennec2006] Pennec, *Intrinsic statistics on Riemannian manifolds*, Journal of Mathematical Imaging and Vision 25, 2006. For log maps.
