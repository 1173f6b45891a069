# %% [markdown]
# # When must training be low-dimensional?
#
# **What.** Linear models, where the trajectory of every run is a formula, and the spectrum of all trajectories follows without any training.
# **Figure of the paper.** None; the question is that of its appendix on synthetic data, and of Mao et al. 2025 (arXiv 2505.08915).
# **Answer.** A phase diagram: what three axes explain, against the decay of the inputs' spectrum, the size of the targets and the number of steps, and which of the three decides.
#
# | | |
# |---|---|
# | Goals | derive the spectrum of trajectories from that of the inputs; check a formula by running it; read a phase diagram; know what it says about networks |
# | Prerequisites | chapter 30 and eigenvectors (essential), 52 (helpful) |
# | Minutes | 0.3 on CPU (reading: 15) |
# | Inputs, outputs | made-up inputs, the recorded predictions of chapter 52's networks if the profile has them; figures, results/61.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, statistics
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import sloppy_samples
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA, embedding
from manifold_utils.studies import linear
from manifold_utils.workers import thread_limit

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile's atlas keeps the results
data_dir = ""  # folder that holds the atlases; empty: the project's data/
depth = 3  # axes whose explained stress is drawn
steep = 0.5  # decay of the inputs' spectrum, sloppy
flat = 0.001  # and nearly isotropic
n_samples = 400  # inputs, where a model is really trained
n_runs = 30  # of a really trained ensemble; as many ensembles give an error bar
n_steps = 500  # of gradient descent, where it is really run
step_size = 0.5  # learning rate times the largest curvature; below 2
n_checkpoints = 40  # a run at most: the start, then evenly in the logarithm of steps
n_cells = 13  # values of decay and of size in the phase diagram
n_hidden = 32  # units of the two-layer network
settled = 0.02  # change of stress by a factor of 2 below which nothing decides
n_points = 400  # points of each of chapter 52's cases
seed = 0  # of inputs, targets and starts

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
print(
    f"{n_runs} runs of {n_steps} steps on {n_samples} samples; a "
    f"phase diagram of {n_cells} x {n_cells} cells, from a formula"
)

# %% [markdown]
# ## What do we load?
#
# Nothing from disk yet: the inputs are made here, as in chapter 52. They are Gaussian in 200 dimensions with variances $h_i = 50\,c\,e^{-ci}/d$. A large $c$ makes them sloppy, a small one nearly isotropic. The targets are a linear function of the inputs, $y = Xw_*$ with $w_*\sim N(0, 1)$.

# %%
X = {c: sloppy_samples(n_samples, c, rng) for c in (steep, flat)}
n_inputs = X[steep].shape[1]
w_star = rng.standard_normal(n_inputs)
y = {c: X[c] @ w_star for c in X}
variances = {c: linear.sloppy_curvatures(c, n_inputs) for c in X}

# %% [markdown]
# A known value: the variances are a geometric series with the sum $50\,c\,(1-e^{-cd})/(1-e^{-c})/d$. The drawn inputs must have it, within their error.

# %%
for c, v in variances.items():
    total = 50 * c * (1 - np.exp(-c * n_inputs)) / (1 - np.exp(-c)) / n_inputs
    error, found = np.sqrt(2 * np.sum(v**2) / n_samples), np.square(X[c]).sum()
    assert np.isclose(v.sum(), total) and abs(found / n_samples - total) < 5 * error

# %% [markdown]
# ## How does a linear model learn?
#
# The loss is $|Xw-y|^2/2n$, its gradient $H(w-w_*)$ with $H = X^\top X/n$. One step of gradient descent is $w - w_* \to (1-\eta H)(w-w_*)$, and $k$ steps are the $k$-th power. In the eigenbasis of $H$ nothing mixes: each *mode* $i$ forgets its start by itself,
#
# $$ w_i(k) = g_i\,w_i(0) + (1-g_i)\,w_{*i}, \qquad g_i = (1-\eta h_i)^k, \quad\text{or } e^{-h_i t} \text{ in continuous time.} $$
#
# With $X = \sqrt n\,U\,\mathrm{diag}(\sqrt h)\,V^\top$ the predictions $f = Xw$ have the coordinates $a_i = \sqrt{h_i}\,w_i$ along $\sqrt n\,U_i$. The squared distance of two points $a$ is the mean squared difference of their predictions.
#
# That is a claim about a program, so we run the program.

# %%
when = np.r_[0, np.geomspace(1, n_steps, n_checkpoints)]
steps = np.unique(np.round(when)).astype(int)
starts = rng.standard_normal((n_runs, n_inputs))
h, V = ({c: linear.modes(X[c])[part] for c in X} for part in (1, 2))
target, rate = {c: w_star @ V[c] for c in X}, {c: step_size / h[c][0] for c in X}

# %%
really = {}
for c in X:
    weights, really[c] = starts.T.copy(), []
    for k in range(n_steps + 1):
        if k in steps:
            really[c].append(X[c] @ weights)
        weights -= rate[c] * X[c].T @ (X[c] @ weights - y[c][:, None]) / n_samples

# %% [markdown]
# The formula must give the same predictions for the same starts and checkpoints:

# %%
gap = {}
for c in X:
    by_formula = linear.predictions(X[c], starts, y[c], steps, rate[c])
    gap[c] = np.abs(np.transpose(really[c], (2, 0, 1)) - by_formula).max()
assert max(gap.values()) < 1e-10
gap

# %% [markdown]
# On sloppy inputs a front of learning moves through the modes. It stands where $\eta h_i k \approx 1$, so ten times as many steps move it by $\ln 10/c$ modes. On flat inputs all modes have the same clock.
#
# ## Which spectrum do all runs have, without training?
#
# Many runs start at $w(0)\sim N(0,\sigma_w^2)$ and share their targets. The points are all runs at all checkpoints. Write $\langle\cdot\rangle$ for a mean over checkpoints. The starts have mean zero and independent entries, so the mean point is $\sqrt{h_i}\,(1-\langle g_i\rangle)\,w_{*i}$, and the covariance of the points is
#
# $$ C_{ij} = \sqrt{h_ih_j}\,\Big[\sigma_w^2\,\langle g_i^2\rangle\,\delta_{ij} \;+\; w_{*i}w_{*j}\,\big(\langle g_ig_j\rangle-\langle g_i\rangle\langle g_j\rangle\big)\Big]. $$
#
# The first term is the *spread of the starts*, as far as the runs still remember it. The second is the *common trajectory*, which bends through many modes. InPCA of squared distances is ordinary PCA, with eigenvalues $m$ times those of $C$ for $m$ points. So this matrix gives the spectrum of all runs before any of them is trained; we call it the *oracle*.
#
# Only two moments of the starts enter. Starts at $\pm\sigma_w\sqrt d$ along each mode have *exactly* these moments, so InPCA of those few runs must give the oracle to rounding:

# %%
h_few, target_few = linear.sloppy_curvatures(0.1, 10), rng.standard_normal(10)
corners = np.sqrt(10) * np.concatenate([np.eye(10), -np.eye(10)])
at_few = target_few, steps, step_size / h_few[0]
exact_points = linear.coordinates(h_few, corners, *at_few).reshape(-1, 10)
squared = np.square(exact_points[:, None] - exact_points).sum(axis=2)
fit = InPCA(n_components=10).fit(squared)

# %%
oracle_few = linear.expected_eigenvalues(h_few, target_few, 1.0, *at_few[1:])
off = np.abs(fit.eigenvalues_ / len(exact_points) - oracle_few).max()
exactness = off / oracle_few[0]
assert exactness < 1e-10

# %% [markdown]
# With random starts the oracle is right on average. We take the runs that were really trained above and, for an error bar, as many ensembles of the same size from the formula. *Prediction:* in the next figure, on which inputs do a few dozen runs miss the oracle most?

# %%
oracle, ensembles, trained = {}, {}, {}
for c in X:
    at_c = target[c], steps, rate[c]
    sets = rng.standard_normal((n_runs, n_runs, n_inputs))
    of_sets = [linear.spectrum_of(linear.coordinates(h[c], s, *at_c)) for s in sets]
    ensembles[c], points = np.array(of_sets), np.transpose(really[c], (2, 0, 1))
    oracle[c] = linear.expected_eigenvalues(h[c], target[c], 1.0, steps, rate[c])
    trained[c] = linear.spectrum_of(points / np.sqrt(n_samples))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
place, band = np.arange(1, 31), f"95 % of ensembles of {n_runs} runs"
blue, orange = plots.FACTOR_STYLES[0][0], plots.FACTOR_STYLES[1][0]
for ax, c in zip(axes, X, strict=True):
    low, high = statistics.interval(ensembles[c][:, :30])
    ax.fill_between(place, low, high, color=orange, alpha=0.4, lw=0, label=band)
    ax.plot(place, trained[c][:30], "o", color=blue, ms=5, label="trained")
    ax.plot(place, oracle[c][:30], color="black", label="oracle, no training")
    ax.set(yscale="log", xlabel="component", title=f"c = {c:g}")
axes[0].set_ylabel("eigenvalue / number of points")
plots.figure_legend(fig, axes[0])
alt = "Eigenvalues of trained linear models, the range over ensembles, and the oracle."
plots.save_figure(fig, atlas.figure_path("61_oracle.png"), alt=alt)

# %% [markdown]
# The oracle is about infinitely many runs. A few runs in many equally wide directions span only some of them, so the dots tilt where the oracle is flat. This must shrink as runs are added; the total variance has no such bias, so it is tested sharply:

# %% tags=["hide-input"]
agreement, origin = [], np.zeros((1, n_inputs))
for c, size in [(c, n_runs * many) for c in X for many in (1, 3, 9)]:
    at_c, drawn = (target[c], steps, rate[c]), []
    centre = linear.coordinates(h[c], origin, *at_c).mean(axis=(0, 1))
    for _ in range(8):
        begin = rng.standard_normal((size, n_inputs))
        cloud = linear.coordinates(h[c], begin, *at_c) - centre
        width = np.square(cloud).sum(axis=2).mean() / oracle[c].sum()
        drawn.append((width, linear.explained(linear.spectrum_of(cloud))[depth - 1]))
    widths, stresses = np.array(drawn).T
    item = {"c": c, "runs": size, "oracle": linear.explained(oracle[c])[depth - 1]}
    item |= {"sampled": stresses.mean(), "spread": stresses.std(ddof=1)}
    errors = (widths.mean() - 1) / widths.std(ddof=1) * np.sqrt(8)
    agreement.append(item | {"standard errors of variance": errors})

# %%
agreement = pd.DataFrame(agreement)
assert agreement["standard errors of variance"].abs().max() < 6
for _, by_size in agreement.groupby("c"):
    bias = (by_size.sampled - by_size.oracle).abs().to_numpy()
    assert bias[-1] < max(0.5 * bias[0], 3 * by_size.spread.iloc[-1])
agreement.round(3)


# %% [markdown]
# ## Where is training low-dimensional?
#
# Three numbers are left: the decay $c$; the size of the targets over that of the first outputs, $\rho = \sigma_*/\sigma_w$; and the number of steps.

# %% tags=["lesson"]
def stress_at(c, ratio, k):
    v = linear.sloppy_curvatures(c, n_inputs)
    times = np.unique(np.round(np.r_[0, np.geomspace(1, k, n_checkpoints)]))
    of_size = np.full(n_inputs, ratio), 1.0, times, step_size / v[0]
    return linear.explained(linear.expected_eigenvalues(v, *of_size))[depth - 1]


# %%
decays, ratios = np.geomspace(0.001, 1, n_cells), np.geomspace(0.03, 30, n_cells)
lengths = np.round(np.geomspace(1, 10_000, 7)).astype(int)
with thread_limit(1):  # matrices of this size gain nothing from more
    diagram = np.array(
        [[[stress_at(c, r, k) for k in lengths] for c in decays] for r in ratios]
    )

# %% [markdown]
# Two limits can be read off the formula. They give the borders that the diagram should have.
#
# *Small targets.* Only the spread of the starts is left. As long as nothing is forgotten its eigenvalues are $\propto h_i = e^{-ci}$, and the stress of $k$ axes is $1-e^{-kc}$: one half at $c = \ln 2/k$. *Flat inputs.* All modes have one clock, so the common trajectory is straight and has the eigenvalue $d\,\sigma_*^2\,\mathrm{var}(g)$ beside $d$ equal ones, $\sigma_w^2\langle g^2\rangle$. We solve for the ratio at which $k$ axes have one half of the stress.

# %%
times = np.unique(np.round(np.r_[0, np.geomspace(1, lengths[-1], n_checkpoints)]))
last = linear.memory([1.0], times, step_size)
odds = np.sqrt(4 * (n_inputs - depth) - (n_inputs - 1)) - 1  # of the two eigenvalues
border_ratio = float(np.sqrt(odds * np.mean(last**2) / (n_inputs * last.var())))
border_c = np.log(2) / depth

# %%
v_border = linear.sloppy_curvatures(border_c, n_inputs)
no_step = linear.expected_eigenvalues(v_border, np.zeros(n_inputs), 1.0, [0])
assert abs(linear.explained(no_step)[depth - 1] - 0.5) < 1e-6
assert abs(stress_at(1e-9, border_ratio, lengths[-1]) - 0.5) < 1e-4
print(f"borders of one half: c = {border_c:.3f}, ratio = {border_ratio:.3f}")

# %% [markdown]
# The next figure is the phase diagram at three numbers of steps, with these borders as dotted lines and contours at a stress of .5 and .9. *Prediction:* training longer moves runs further. Does it make the whole more or less low-dimensional?

# %% tags=["hide-input"]
chosen = [0, len(lengths) // 2, len(lengths) - 1]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.8), sharey=True)
for ax, k in zip(axes, chosen, strict=True):
    borders = border_c, border_ratio
    picture = plots.plot_phase(ax, decays, ratios, diagram[:, :, k], borders)
    ax.set(xlabel="decay of the inputs, c", title=f"steps: {lengths[k]}")
axes[0].set_ylabel("size of targets / first outputs")
fig.colorbar(picture, ax=axes, label=f"explained stress of {depth} axes")
alt = "Explained stress over decay and target size at three numbers of steps."
plots.save_figure(fig, atlas.figure_path("61_phase_diagram.png"), alt=alt)

# %% [markdown]
# There are two ways to be low-dimensional. At the top the targets are large, and all runs travel far along one trajectory, wherever they came from. On the right the inputs are sloppy, and the spread of the starts is itself thin. At the lower left many directions are equally wide and nothing gathers the runs.
#
# Longer training draws out the common trajectory, but it also forgets the widest directions of the starts first, so that a sloppy spread gets rounder. In the middle, sloppiness gives each mode its own clock and *bends* the trajectory, which then needs more axes.

# %%
longer = diagram[:, :, -1] - diagram[:, :, 0]
middle = np.argmin(np.abs(np.log(ratios)))
row = diagram[middle, :, -1]
dip, bend = row.argmin(), row[0] - row.min()
print(
    f"from {lengths[0]} step to {lengths[-1]} the stress rises in "
    f"{np.mean(longer > settled):.0%} of the cells and falls in "
    f"{np.mean(longer < -settled):.0%}; at ratio {ratios[middle]:.2g} it goes from "
    f"{row[0]:.2f} at c = {decays[0]:g} to {row[dip]:.2f} at c = {decays[dip]:.2g}"
)

# %% [markdown]
# ## Which of the three decides, and where?
#
# Change one of the three by a factor of two. The largest change of the stress names the one that decides; where all three change it by less than `settled`, nothing does.

# %%
factors = ["decay of the inputs", "size of the targets", "number of steps"]
grid = np.log2(ratios), np.log2(decays), np.log2(lengths)
by_ratio, by_decay, by_steps = np.gradient(diagram, *grid)
change = np.abs([by_decay, by_ratio, by_steps])
decider = np.where(change.max(axis=0) < settled, len(factors), change.argmax(axis=0))
names = [*factors, "nothing"]
share = {name: np.mean(decider == k, axis=(0, 1)) for k, name in enumerate(names)}
pd.DataFrame(share, index=pd.Index(lengths, name="steps")).round(2)

# %% [markdown]
# The table has the share of the cells that each decides. The next figure maps them, with the contours of the phase diagram. *Prediction:* where does the number of steps come first?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.9), sharey=True)
for ax, k in zip(axes, chosen, strict=True):
    cells = decider[:, :, k], diagram[:, :, k], len(factors)
    plots.plot_deciders(ax, decays, ratios, *cells)
    ax.set(xlabel="decay of the inputs, c", title=f"steps: {lengths[k]}")
axes[0].set_ylabel("size of targets / first outputs")
plots.decider_legend(fig, [*factors, f"nothing (below {settled:g})"])
alt = "Which of three factors changes the explained stress most, over decay and size."
plots.save_figure(fig, atlas.figure_path("61_deciders.png"), alt=alt)


# %% [markdown]
# The size of the targets decides in a band around the contours, and the decay at small targets and sloppy inputs. Steps come first only while the leading modes are on their way.
#
# ## Does a second layer change the picture?
#
# A network $f = XW_1W_2$ computes only linear functions, but the layers multiply and no formula above holds. We train it from weights that give first outputs of the same size. The gradient by $W_1W_2$ is $G = H(W_1W_2-w_*)$, so that of $W_1$ is $GW_2^\top$ and that of $W_2$ is $W_1^\top G$.

# %% tags=["lesson"]
def train_two_layers(c, ratio):
    size = np.sqrt(1 / (ratio * np.sqrt(n_hidden)))  # n_hidden size^4 = 1 / ratio^2
    W1 = size * rng.standard_normal((n_runs, n_inputs, n_hidden))
    W2, H = size * rng.standard_normal((n_runs, n_hidden, 1)), X[c].T @ X[c] / n_samples
    first = size**2 * (n_hidden + (np.sqrt(n_inputs) + np.sqrt(n_hidden)) ** 2)
    step, seen = rate[c] / (first + 2 * np.linalg.norm(w_star)), []
    for k in range(n_steps + 1):
        product = (W1 @ W2)[:, :, 0]
        if k in steps:
            seen.append(product)
        G = ((product - w_star) @ H)[:, :, None]
        by_W2 = step * W1.transpose(0, 2, 1) @ G
        W1, W2 = W1 - (step * G) * W2.transpose(0, 2, 1), W2 - by_W2
    return np.stack(seen, axis=1)


# %%
sizes = (0.1, 1.0, 10.0)
with thread_limit(1):
    products = {(c, r): train_two_layers(c, r) @ V[c] for c in X for r in sizes}
assert all(np.isfinite(w).all() for w in products.values())


# %% [markdown]
# Each pair of layers is compared with one layer that has the *same error at the end*; the formula for continuous time tells how long that one must train.

# %% tags=["lesson"]
def error_left(c, weights):
    wrong = np.sum(h[c] * (weights - target[c]) ** 2, axis=-1).mean(axis=0)
    return np.sqrt(wrong / np.sum(h[c] * target[c] ** 2))


# %% tags=["hide-input"]
compared = {}
for (c, r), weights in products.items():
    ends = np.geomspace(1e-2, 10 * n_steps * rate[c], 200)
    one_ends = linear.coordinates(h[c], starts / r, target[c], ends) / np.sqrt(h[c])
    two_layers_end = np.log(error_left(c, weights[:, -1]) + 1e-12)
    gaps = np.abs(np.log(error_left(c, one_ends) + 1e-12) - two_layers_end)
    clock = ends[gaps.argmin()] * steps / n_steps
    one = linear.coordinates(h[c], starts / r, target[c], clock)
    spectra = {"oracle": linear.expected_eigenvalues(h[c], target[c], 1 / r, clock)}
    spectra["one layer"] = linear.spectrum_of(one)
    spectra["two layers"] = linear.spectrum_of(np.sqrt(h[c]) * weights)
    stress = {name: linear.explained(v)[depth - 1] for name, v in spectra.items()}
    compared[c, r] = stress
two_layers = pd.DataFrame(compared).T.rename_axis(["c", "ratio"])

# %% [markdown]
# The next figure has the stress of the six cases, one mark for each kind of model. *Prediction:* in which case does the second layer matter most?

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(9, 3.8))
looks = {"oracle": {"color": "black", "marker": "_", "ms": 20, "mew": 2}}
for name, style in zip(("one layer", "two layers"), plots.FACTOR_STYLES, strict=False):
    colour, marker, _ = style
    looks[name] = {"color": colour, "marker": marker, "ms": 8}
for name, look in looks.items():
    ax.plot(range(len(two_layers)), two_layers[name], ls="", label=name, **look)
under = [f"c = {c:g}\nratio {r:g}" for c, r in two_layers.index]
ax.set_xticks(range(len(two_layers)), under)
ax.set(ylabel=f"explained stress of {depth} axes", ylim=(0, 1.03))
plots.figure_legend(fig, ax)
alt = "Explained stress of linear models with one and two layers, and of the oracle."
plots.save_figure(fig, atlas.figure_path("61_two_layers.png"), alt=alt)

# %% [markdown]
# The bar is the oracle, for infinitely many runs; one layer misses it because its runs are few. The distance between circle and square is what the second layer does: the speed of a direction depends on the weights that it already has, so runs with different starts have different clocks.

# %%
difference = two_layers["two layers"] - two_layers["one layer"]
same_order = two_layers["two layers"].corr(two_layers["one layer"], method="spearman")

# %% [markdown]
# ## What does this say about chapter 52?
#
# The networks of chapter 52 are not linear. They differ in the decay $c$, and in ordinary or far starts, which should mean a smaller ratio $\rho$. We measure it by their logits: size at the end of a run over size at its start. The table is empty if this profile has no such networks.

# %% tags=["hide-input"]
data_of = {name: data for name, (data, _) in atlas.profile.spaces().items()}
declared = {n: data.sloppiness for n, data in data_of.items() if data.name == "sloppy"}
starts_of = [(name, kind) for name in declared for kind in ("ordinary", "offset")]
cases = []
for name, kind in starts_of:
    space = atlas.space(name)
    table = space.table()
    rows = np.flatnonzero(table.initialisation.str.startswith(kind))
    if len(rows) < embedding.MIN_POINTS:
        continue
    rows = rows[embedding.thinned(table.run.to_numpy()[rows], n_points)]
    logs = np.asarray(space.log_probs("train")[rows], dtype=float)
    case = {"c": declared[name], "start": kind, "steps": table.step.max()}
    cases.append(case | {"logs": logs, "run": table.iloc[rows].run})

# %% tags=["hide-input"]
for case in cases:
    logs, run = case.pop("logs"), case.pop("run")
    first, final = (~run.duplicated(keep=end).to_numpy() for end in ("first", "last"))
    case["ratio"] = linear.growth_of_logits(logs, first, final)
    among = pairwise(logs[final])
    case["ends apart"] = among.sum() / max(1, len(among) * (len(among) - 1))
    case["oracle"] = stress_at(case["c"], case["ratio"], case["steps"])
    case["networks"] = embedding.spectrum(pairwise(logs)).explained_stress_[depth - 1]
columns = ["c", "start", "steps", "ratio", "oracle", "networks", "ends apart"]
beside = pd.DataFrame(cases, columns=columns)

# %%
pairs = [(a, b) for a in range(len(beside)) for b in range(a)]
said, real = beside.oracle, beside.networks
agree = sum((said[a] - said[b]) * (real[a] - real[b]) > 0 for a, b in pairs)
beside.round(3)

# %% [markdown]
# `oracle` is its stress at the measured ratio, `networks` their own stress in $d_B$, and `ends apart` the mean $d_B$ (nats) between the last points of two runs. Linear models with the same inputs and targets end at one place; networks with more weights than samples can keep something of their starts, and then the oracle promises too much.
#
# What the oracle does give is a reason. Where the ratio is large, the initial spread is negligible next to the common trajectory, and the inputs hardly matter. Where it is small, the spread counts.
#
# ## What we learned

# %% tags=["hide-input"]
above = ratios[(diagram > 0.9).all(axis=(1, 2))]
right = decays[(diagram[0] > 0.5).all(axis=1)]
print(
    f"Training is low-dimensional wherever the targets are large: {depth} axes explain "
    "over 90 % at any decay and any number of steps once the targets are "
    f"{above[0]:.2g} times as large as the first outputs."
    if len(above)
    else "No size of the targets makes training low-dimensional at every decay."
)
print(
    f"With the smallest targets it takes sloppy inputs, a decay of {right[0]:.2g}, for "
    "one half of the stress at every number of steps."
    if len(right)
    else "With the smallest targets no decay gives one half at every number of steps."
)

# %% tags=["hide-input"]
most = max(factors, key=lambda name: share[name].mean())
print(f"The {most} decides most often, in {share[most].mean():.0%} of the cells.")
for c in X:
    many = agreement[agreement.c == c].iloc[-1]
    print(
        f"c = {c:g}: {depth} axes explain {many.oracle:.3f} of the stress by the "
        f"oracle and {many.sampled:.3f} in ensembles of {many.runs:.0f} runs."
    )
worse = "Sloppier inputs can lower the stress before they raise it"
bent = dip > 0 and bend > settled
print(f"{worse}: by {bend:.2f}." if bent else f"{worse}, but not here.")
print(f"Two layers differ from one by {difference.abs().max():.2f} in stress at most.")
if pairs:
    print(f"Networks of chapter 52: {agree} of {len(pairs)} pairs as the oracle says.")

# %% tags=["hide-input"]
note = "largest difference to gradient descent really run"
results = {"closed_form_gap": claims.result(max(gap.values()), n=n_runs, note=note)}
note = "share of the first eigenvalue, ensemble with the same two moments"
results["oracle_gap"] = claims.result(exactness, note=note)
for largest in agreement[agreement.runs == agreement.runs.max()].itertuples():
    name, of_c = "sloppy" if largest.c == steep else "flat", largest.sampled
    results[f"stress_{depth}_oracle_{name}"] = claims.result(largest.oracle)
    bar = {"low": of_c - 2 * largest.spread, "high": of_c + 2 * largest.spread}
    bar |= {"n": largest.runs, "note": "two standard deviations over ensembles"}
    results[f"stress_{depth}_sampled_{name}"] = claims.result(of_c, **bar)

# %% tags=["hide-input"]
about = {"n": diagram.size, "note": "share of cells where it changes the stress most"}
for name in names:
    key = f"decides_{name.split()[0]}"
    results[key] = claims.result(share[name].mean(), **about)
results["border_decay"] = claims.result(border_c, note="small targets, no step")
results["border_ratio"] = claims.result(border_ratio, note="flat inputs, many steps")
results["dip"] = claims.result(bend, note="lost to sloppiness at the middle ratio")
n_cases = {"n": len(two_layers), "note": "stress, two layers against one"}
results["two_layers_gap"] = claims.result(difference.abs().max(), **n_cases)
results["two_layers_rank_correlation"] = claims.result(same_order, **n_cases)
if pairs:
    ordered = claims.result(agree / len(pairs), n=len(pairs))
    results["pairs_ordered_like_chapter_52"] = ordered
claims.save_results(atlas, "61", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Checkpoints that are evenly spaced in steps lie mostly near the end of training. Define `evenly`, the oracle's stress of `depth` axes for sloppy inputs at ratio 1 with the checkpoints `even`. Is it above or below that of checkpoints even in the logarithm?

# %% tags=["stub"]
even = np.arange(0, n_steps + 1, max(1, n_steps // n_checkpoints))  # given
v_steep = variances[steep]  # given: h of the sloppy inputs
evenly = ...  # a number from 0 to 1

# %% tags=["solution"]
of_even = np.ones(n_inputs), 1.0, even, step_size / v_steep[0]
evenly = linear.explained(linear.expected_eigenvalues(v_steep, *of_even))[depth - 1]
evenly, stress_at(steep, 1.0, n_steps)

# %% tags=["check"]
assert np.isscalar(evenly) and 0 <= evenly <= 1, (
    f"expected a share from 0 to 1, found {evenly!r}"
)

# %% tags=["check", "hidden"]
g_even = (1 - step_size * v_steep / v_steep[0]) ** even[:, None]
C = np.cov(np.sqrt(v_steep) * (1 - g_even), rowvar=False, bias=True)
C += np.diag(v_steep * np.mean(g_even**2, axis=0))
squares = np.linalg.eigvalsh(C)[::-1] ** 2
known_evenly = 1 - np.sqrt(squares[depth:].sum() / squares.sum())
assert np.isclose(evenly, known_evenly, atol=1e-6), (
    f"expected {known_evenly:.6f}, found {evenly}"
)

# %% [markdown]
# 2. A single run that starts at zero is a trajectory without a spread of starts. Define `n_most`, how many dimensions its points at the checkpoints `steps` can span at most, and `n_needed`, how many axes 99 % of its variance needs on sloppy inputs, with all targets equal to 1.

# %% tags=["stub"]
n_most = ...  # a whole number
n_needed = ...  # a whole number

# %% tags=["solution"]
n_most = min(len(steps) - 1, n_inputs)  # the mean takes one dimension from the points
of_lone = np.ones(n_inputs), 0.0, steps, step_size / v_steep[0]
lone = linear.expected_eigenvalues(v_steep, *of_lone)
n_needed = int(np.searchsorted(linear.explained(lone, "variance"), 0.99)) + 1
n_most, n_needed

# %% tags=["check"]
assert np.isscalar(n_most) and 1 <= n_most <= len(steps), (
    f"expected a number from 1 to {len(steps)}, found {n_most!r}"
)
assert np.isscalar(n_needed) and 1 <= n_needed <= len(steps), (
    f"expected a number from 1 to {len(steps)}, found {n_needed!r}"
)

# %% tags=["check", "hidden"]
assert n_most == min(len(steps) - 1, n_inputs), (
    f"expected {len(steps)} points, centred, in {n_inputs} dimensions, found {n_most}"
)
of_one = np.ones(n_inputs), steps, step_size / v_steep[0]
way = linear.coordinates(v_steep, np.zeros((1, n_inputs)), *of_one)
widths_of_way = linear.spectrum_of(way)
covered = np.cumsum(widths_of_way) / widths_of_way.sum()
assert n_needed == np.sum(covered < 0.99) + 1, (
    f"expected {np.sum(covered < 0.99) + 1} axes, found {n_needed}"
)

# %% [markdown]
# 3. Let every run have targets of its own, $w_*\sim N(0,\sigma_*^2)$ with $\sigma_* = 10\,\sigma_w$. Then $C$ *is* diagonal. Define `own_stress`, the stress of `depth` axes on flat inputs at the checkpoints `steps`, and compare it with that of common targets. Does the size of the targets gather the runs, or that all runs go to the same place?

# %% tags=["stub"]
v_flat = variances[flat]  # given: h of the flat inputs
g_flat = linear.memory(v_flat, steps, step_size / v_flat[0])  # given: (steps, modes)
own_stress = ...  # a number from 0 to 1

# %% tags=["solution"]
own = np.sort(v_flat * np.mean(g_flat**2 + (10 * (1 - g_flat)) ** 2, axis=0))[::-1]
own_stress = linear.explained(own)[depth - 1]
own_stress, stress_at(flat, 10.0, n_steps)

# %% tags=["check"]
assert np.isscalar(own_stress) and 0 <= own_stress <= 1, (
    f"expected a share from 0 to 1, found {own_stress!r}"
)

# %% tags=["check", "hidden"]
kept = (1 - step_size * v_flat / v_flat[0]) ** steps[:, None]
diagonal = v_flat * np.mean(kept**2 + 100 * (1 - kept) ** 2, axis=0)
squares = np.sort(diagonal**2)[::-1]
known_own = 1 - np.sqrt(squares[depth:].sum() / squares.sum())
assert np.isclose(own_stress, known_own, atol=1e-6), (
    f"expected {known_own:.6f}, found {own_stress}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why can the spectrum of all trajectories be known here without training any network?
#
# <details><summary>Answer</summary>Each mode of a linear model learns by itself, so that the predictions at every step are a formula of the start. Their covariance needs only the mean and the variance of the starts.</details>
#
# **2.** Inputs are isotropic, and yet training is low-dimensional. How is this possible?
#
# <details><summary>Answer</summary>The targets are large compared with the first outputs. All runs then travel far along one common trajectory, and the spread of their starts is negligible next to it.</details>
#
# **3.** The oracle can promise fewer dimensions than the networks of chapter 52 have. Why?
#
# <details><summary>Answer</summary>Linear models with the same inputs and targets end at one place. A network with more weights than samples can keep something of its start, so that its runs end apart.</details>

# %% [markdown]
# ## What next
#
# Chapter 62 asks how the low dimension bears on generalisation.
#
# **References.**
#
# * [Mao2025] Mao et al., *An analytical characterization of sloppiness in neural networks: insights from linear models*, arXiv 2505.08915, 2025.
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Appendix, synthetic data.
# * [Saxe2014] Saxe, McClelland and Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks*, ICLR 2014.
# * [Marchenko1967] Marchenko and Pastur, *Distribution of eigenvalues for some sets of random matrices*, Mathematics of the USSR-Sbornik 1, 1967.
