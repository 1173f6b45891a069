# %% [markdown]
# # In which directions do networks leave ignorance and arrive at truth?
#
# **What.** An embedding built from four points only, beside the ordinary one; and the tangent directions of all runs at both ends of the road.
# **Figure of the paper.** The figures on tangents (9 to 11): the "three bases", judged by L1 explained distance.
# **Answer.** Four well-chosen points go a long way, and the directions of different networks share a few common ones; both are measured against a null.
#
# | | |
# |---|---|
# | Goals | place points by their distances to four anchors; compute a log map; count directions against a null model |
# | Prerequisites | chapters 30, 31 and 40 (essential), tangent spaces (helpful) |
# | Minutes | 1 on CPU (reading: 15) |
# | Inputs, outputs | predictions/*, distances/*; figures, results/49.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.distances import pairwise
from manifold_utils.embedding import road, select
from manifold_utils.geometry import ignorance, truth
from manifold_utils.inpca import InPCA
from manifold_utils.reparametrise import resampled
from manifold_utils.tangents import cosines, direction_spectrum, explained_distance_l1, tangent_vectors, three_bases

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
plots.use_house_style()
table = atlas.table("main")
table = table[table.loss_train / 2 < 2].sample(frac=1, random_state=seed)
table = table.groupby(pd.cut(table.progress_train, 10), observed=True).head(max(10, n_points // 10)).sort_index()
print(f"{len(table)} points of {table.run.nunique()} runs, spread over progress; {n_null} draws of each null")

# %% [markdown]
# ## What do we load?

# %%
rows = table.index.to_numpy()
s = table.progress_train.to_numpy()
log_probs = np.asarray(atlas.log_probs("train")[rows])
labels, (n_samples, n_classes) = atlas.labels("train"), log_probs.shape[1:]
D = np.asarray(select(atlas.distances("train"), rows), dtype=float)
print(log_probs.shape, f"progress {s.min():.2f} to {s.max():.2f}")
assert np.abs(D[0] - pairwise(log_probs[:1], log_probs)[0]).max() < 1e-4

# %% [markdown]
# ## Can four points span the manifold?
#
# Ordinary InPCA looks at all distances between all points. Now we look at four points only: ignorance, truth, and the average of all models near progress .3 and near .7 of what the runs reach, with weights $\exp(-(s-l)^2 / (2 \cdot .05^2))$. Their InPCA has three axes. Every other point is placed by its *four* distances. *Prediction:* which share of all distances survives?
#
# First the known value: the four points themselves keep their distances exactly.

# %%
centres = (0.3 * s.max(), 0.7 * s.max())
bases, anchors = three_bases(lambda: [log_probs], labels, s, centres)
between = pairwise(anchors)
exact = explained_distance_l1(between, bases.embedding_, bases.signature_)
print(f"four points, three axes: explained distance {exact:.6f}; eigenvalues {bases.eigenvalues_.round(3)}")
assert np.isclose(exact, 1)

# %% [markdown]
# Now all points, in both embeddings. The measure is the L1 explained distance, $1 - \sum |D_k - D| / \sum D$: the share of all distances that the axes give back.

# %%
ordinary = InPCA(n_components=3).fit(D)
placed = bases.transform(pairwise(log_probs, anchors))
l1 = {"ordinary InPCA": explained_distance_l1(D, ordinary.embedding_, ordinary.signature_), "three bases": explained_distance_l1(D, placed, bases.signature_)}
print({name: round(value, 3) for name, value in l1.items()})


# %% [markdown]
# Is that because these four points are special? Any four points make three axes. We draw four networks at random, many times, and also keep ignorance and truth and draw the other two.

# %% tags=["lesson"]
def anchored(four):
    fit = InPCA(n_components=3).fit(pairwise(four))
    return explained_distance_l1(D, fit.transform(pairwise(log_probs, four)), fit.signature_)


# %%
any_four = [anchored(log_probs[rng.choice(len(rows), 4, replace=False)]) for _ in range(n_null)]
ends = np.concatenate([ignorance(n_samples, n_classes), truth(labels, n_classes)])
with_ends = [anchored(np.concatenate([ends, log_probs[rng.choice(len(rows), 2, replace=False)]])) for _ in range(n_null)]
nulls = {"any four networks": np.array(any_four), "the ends and any two": np.array(with_ends)}
pd.DataFrame({name: np.quantile(v, [0.05, 0.5, 0.95]) for name, v in nulls.items()}, index=["5 %", "median", "95 %"]).round(3)

# %% [markdown]
# The pictures beside each other, by architecture. *Prediction:* where will the four-point picture be most wrong?

# %%
_, straight = road(atlas, "train")
views = [(ordinary, ordinary.embedding_, log_probs, "ordinary InPCA"), (bases, placed, anchors, "three bases")]
fig, axes = plt.subplots(1, 2, figsize=(13, 4.8))
for ax, (fit, coordinates, known, title) in zip(axes, views, strict=True):
    plots.plot_embedding(ax, coordinates, table.architecture, size=8, legend=ax is axes[0])
    plots.plot_reference(ax, fit.transform(pairwise(straight, known)), names=False)
    plots.label_embedding(ax, fit.eigenvalues_)
    ax.set_title(f"{title}: {100 * l1[title]:.0f} % of the distances (L1)")
axes[1].plot(*bases.embedding_[2:, :2].T, "kD", ms=8, mfc="none", label="averages")
axes[1].legend(loc="best")
plots.save_figure(fig, atlas.figure_path("49_three_bases.png"), alt="Ordinary InPCA on the left, the embedding by distances to four anchors on the right, both coloured by architecture with the geodesic in black.")

# %% [markdown]
# Black diamonds are the two averages. If both pictures show the same bent sheet, then where a network is can be told from its distances to four points that belong to no network.
#
# The next table asks the same with other centres, since .3 and .7 are a choice.

# %%
choices = [(0.2, 0.8), (0.3, 0.7), (0.4, 0.6)]
by_centre = {}
for low, high in choices:
    fit_c, anchors_c = three_bases(lambda: [log_probs], labels, s, (low * s.max(), high * s.max()))
    by_centre[f"{low} and {high}"] = explained_distance_l1(D, fit_c.transform(pairwise(log_probs, anchors_c)), fit_c.signature_)
pd.Series(by_centre, name="explained distance (L1)").round(3)

# %% [markdown]
# ## Which way do networks go?
#
# A tangent vector says in which direction a network lies, seen from a fixed point: $v = \frac{\theta}{\sin\theta}(\sqrt q - \cos\theta \sqrt p)$, sample by sample. We take early points (progress .1) seen from ignorance, and late ones seen from truth. A known value first: the vector from ignorance to truth must have the length $\arccos(1/\sqrt C)$.

# %%
length = np.linalg.norm(tangent_vectors(truth(labels, n_classes), ignorance(n_samples, n_classes))[0])
print(f"length {length:.4f}, arccos(1/sqrt C) = {np.arccos(n_classes**-0.5):.4f} rad")
assert np.isclose(length, np.arccos(n_classes**-0.5), atol=1e-5)

# %%
reach = atlas.table("main").groupby("run", sort=False).agg(top=("progress_train", "max"), low=("progress_train", "first"), architecture=("architecture", "first"))
late_at = float(reach.top.quantile(0.25))  # three quarters of the runs get there
fit_for_both = reach[(reach.top >= late_at) & (reach.low <= 0.1)].sample(frac=1, random_state=seed)
per_architecture = max(2, n_runs // fit_for_both.architecture.nunique())
chosen = fit_for_both.groupby("architecture", sort=True).head(per_architecture).sort_values("architecture", kind="stable")
print(f"{len(chosen)} runs that reach s = {late_at:.2f}:", chosen.architecture.value_counts().to_dict())

# %%
early_and_late = resampled(atlas, "train", list(chosen.index), np.array([0.1, late_at]))
bases_at = {"ignorance": ignorance(n_samples, n_classes), "truth": truth(labels, n_classes)}
vectors = {name: tangent_vectors(early_and_late[:, k], base) for k, (name, base) in enumerate(bases_at.items())}
along = {"ignorance": tangent_vectors(bases_at["truth"], bases_at["ignorance"]), "truth": tangent_vectors(bases_at["ignorance"], bases_at["truth"])}
with_road = {name: cosines(np.concatenate([along[name], v]))[0, 1:] for name, v in vectors.items()}
print("median cosine with the geodesic:", {name: round(float(np.median(c)), 3) for name, c in with_road.items()})


# %% [markdown]
# The cosine with the straight road says how much of the step is "all samples learn alike". We take that part out: what remains is the choice of *which* samples and which wrong classes. Do networks share it? The null model answers: shuffle the samples within each class, for each run apart. Loss, progress and distance to both ends stay as they were; only the choice of samples is lost.

# %% tags=["lesson"]
def off_the_road(v, name):
    unit = along[name][0] / np.linalg.norm(along[name][0])
    return v - np.outer(v @ unit, unit)


# %% tags=["lesson"]
def shuffled(values):
    order = np.arange(n_samples)
    for c in range(n_classes):
        order[labels == c] = rng.permutation(order[labels == c])
    return values[order]


# %%
across = {name: off_the_road(v, name) for name, v in vectors.items()}
spectra = {name: direction_spectrum(v) for name, v in across.items()}
null_spectra = {name: [] for name in vectors}
for _ in range(min(n_null, 5)):
    copies = np.stack([[shuffled(point) for point in run] for run in early_and_late])
    for k, (name, base) in enumerate(bases_at.items()):
        null_spectra[name].append(direction_spectrum(off_the_road(tangent_vectors(copies[:, k], base), name)))
null_spectra = {name: np.array(v) for name, v in null_spectra.items()}

# %% [markdown]
# The figure shows which share of the squared length off the road lies in the best $k$ common directions. The dashed line is the null. *Prediction:* at which end do networks agree more?

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
for ax, (name, spectrum) in zip(axes, spectra.items(), strict=True):
    k = np.arange(1, len(spectrum) + 1)
    ax.plot(k, spectrum, color=plots.SPACE_LIKE, marker="o", ms=3, label=f"networks (n = {len(chosen)})")
    ax.plot(k, null_spectra[name].mean(axis=0), color="black", ls="--", label="samples shuffled within class")
    ax.set(xscale="log", xlabel="directions", title=f"tangents at {name}")
axes[0].set_ylabel("share of squared length off the road")
axes[0].legend()
plots.save_figure(fig, atlas.figure_path("49_directions.png"), alt="Share of the squared length of tangent vectors, geodesic taken out, in the best k directions, at ignorance and at truth, with the null of shuffled samples dashed.")

# %% [markdown]
# The distance between the lines is what networks share beyond the common pace. We can also ask *who* shares: cosines between the same vectors.

# %%
alike = chosen.architecture.to_numpy()[:, None] == chosen.architecture.to_numpy()
different_runs = ~np.eye(len(chosen), dtype=bool)
agreement = {name: {"same architecture": cosines(v)[alike & different_runs].mean(), "other architecture": cosines(v)[~alike].mean() if (~alike).any() else np.nan} for name, v in across.items()}
pd.DataFrame(agreement).round(3)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4.6))
for ax, (name, v) in zip(axes, across.items(), strict=True):
    picture = ax.imshow(cosines(v), cmap=plots.DIVERGING, vmin=-1, vmax=1)
    places = pd.Series(np.arange(len(chosen))).groupby(chosen.architecture.to_numpy()).mean()
    ax.set_xticks([])
    ax.set_yticks(places, places.index)
    ax.set_title(f"at {name}")
    ax.grid(visible=False)
fig.colorbar(picture, ax=axes, label="cosine, geodesic taken out")
plots.save_figure(fig, atlas.figure_path("49_cosines.png"), alt="Matrices of cosines between the tangent vectors of runs, ordered by architecture, at ignorance and at truth; blocks on the diagonal are architectures.")

# %% [markdown]
# Blocks on the diagonal mean that architectures have their own directions; red outside the blocks means that all share one.
#
# ## What we learned

# %%
shares = {name: (spectra[name][min(2, len(chosen) - 1)], null_spectra[name][:, min(2, len(chosen) - 1)].mean()) for name in vectors}
print(f"Four points place all networks with {100 * l1['three bases']:.0f} % of the distances (L1); ordinary InPCA with as many axes {100 * l1['ordinary InPCA']:.0f} %; any four networks {100 * np.median(any_four):.0f} % (median).")
for name, (share, null) in shares.items():
    print(f"At {name}, 3 directions hold {100 * share:.0f} % of the tangents' squared length off the road; shuffled within class {100 * null:.0f} %.")
print("The paper compares the two embeddings by explained distance in a figure; it gives no number in its text that we know of.")

# %%
results = {
    "l1_ordinary_3": claims.result(l1["ordinary InPCA"], n=len(rows)),
    "l1_three_bases": claims.result(l1["three bases"], low=min(by_centre.values()), high=max(by_centre.values()), n=len(rows), note="interval: other centres of the averages"),
    "l1_any_four": claims.result(np.median(any_four), low=np.quantile(any_four, 0.05), high=np.quantile(any_four, 0.95), n=n_null, note="null: four networks at random"),
}
for name, (share, null) in shares.items():
    results[f"directions_3_{name}"] = claims.result(share, n=len(chosen))
    results[f"directions_3_{name}_null"] = claims.result(null, n=len(null_spectra[name]), note="samples shuffled within class")
    results[f"cosine_same_{name}"] = claims.result(agreement[name]["same architecture"], n=len(chosen))
    results[f"cosine_other_{name}"] = claims.result(agreement[name]["other architecture"], n=len(chosen))
claims.save_results(atlas, "49", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Leave the averages out: InPCA of ignorance and truth alone has one axis. How much of the distances does it keep?

# %% tags=["solution"]
one_axis = InPCA(n_components=1).fit(pairwise(ends))
l1_one = explained_distance_l1(D, one_axis.transform(pairwise(log_probs, ends)), one_axis.signature_)
l1_one

# %% tags=["check"]
assert l1_one < 1

# %% [markdown]
# 2. Do the averages need models? Take as anchors the ends and two points of the *geodesic*. Does the picture still bend?

# %% tags=["solution"]
lambdas, whole_road = road(atlas, "train", n=11)
l1_road = anchored(np.concatenate([ends, whole_road[[3, 7]]]))
l1_road, l1["three bases"]

# %% tags=["check"]
assert np.isfinite(l1_road)

# %% [markdown]
# 3. At which progress do networks agree most about the direction? Repeat the share of 3 directions at ignorance for s = .05, .1, .2 and .4.

# %% tags=["solution"]
some_runs = list(chosen.index[:: max(1, len(chosen) // 20)])
later = resampled(atlas, "train", some_runs, np.array([0.05, 0.1, 0.2, 0.4]))
seen = [off_the_road(tangent_vectors(later[:, k], bases_at["ignorance"]), "ignorance") for k in range(4)]
share_3 = [direction_spectrum(v)[min(2, len(some_runs) - 1)] for v in seen]
share_3

# %% tags=["check"]
assert all(0 < share <= 1 for share in share_3)

# %% [markdown]
# ## What next
#
# Chapter 50 averages networks: where does the mean of many runs lie, and which mean is best?
#
# **References.** Mao et al., PNAS 2024, figures on tangents. Quinn et al., PNAS 2019, for InPCA. Pennec, *Intrinsic statistics on Riemannian manifolds*, 2006, for log maps.
