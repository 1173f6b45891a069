# %% [markdown]
# # When must training be low-dimensional?
#
# **What.** Linear models, where the trajectory of every run is a formula and the spectrum of all trajectories follows without training anything.
# **Figure of the paper.** None; the question is that of its appendix on synthetic data, and of Mao et al. 2025 (arXiv 2505.08915).
# **Answer.** A phase diagram: what three axes explain, against the decay of the inputs' spectrum, the size of the targets beside the first outputs, and the number of steps. It says which of the three decides, and where.
#
# | | |
# |---|---|
# | Goals | derive the spectrum of trajectories from that of the inputs; check a formula by really running it; read a phase diagram; know what it says about networks |
# | Prerequisites | chapter 30 and eigenvectors (essential), 52 (helpful) |
# | Minutes | 0.3 on CPU (reading: 25) |
# | Inputs, outputs | made-up inputs, the recorded predictions of chapter 52's networks if the profile has them; figures, results/61.json |

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

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

# %%
pd.DataFrame(
    {
        f"c = {c:g}": {
            "inputs": n_inputs,
            "largest variance": v[0],
            "sum": v.sum(),
            "modes with 90 %": 1 + np.searchsorted(np.cumsum(v) / v.sum(), 0.9),
        }
        for c, v in variances.items()
    }
)

# %% [markdown]
# A known value: the variances are a geometric series, so their sum is $50\,c\,(1-e^{-cd})/(1-e^{-c})/d$. The drawn inputs must have it, within their error.

# %%
for c, v in variances.items():
    total = 50 * c * (1 - np.exp(-c * n_inputs)) / (1 - np.exp(-c)) / n_inputs
    error = np.sqrt(2 * np.sum(v**2) / n_samples)
    assert (
        np.isclose(v.sum(), total)
        and abs(np.square(X[c]).sum() / n_samples - total) < 5 * error
    )

# %% [markdown]
# ## How does a linear model learn?
#
# The loss is $|Xw-y|^2/2n$, its gradient $H(w-w_*)$ with $H = X^\top X/n$. One step of gradient descent is $w - w_* \to (1-\eta H)(w-w_*)$, and $k$ steps are the $k$-th power. In the eigenbasis of $H$ nothing mixes: each *mode* $i$ forgets its start by itself,
#
# $$ w_i(k) = g_i\,w_i(0) + (1-g_i)\,w_{*i}, \qquad g_i = (1-\eta h_i)^k, \quad\text{or } e^{-h_i t} \text{ in continuous time.} $$
#
# With $X = \sqrt n\,U\,\mathrm{diag}(\sqrt h)\,V^\top$ the predictions $f = Xw$ have the coordinates $a_i = \sqrt{h_i}\,w_i$ along $\sqrt n\,U_i$. The squared distance of two points $a$ is the mean squared difference of their predictions.
#
# That is a claim about a computer program, so we run the program. First the checkpoints, the starts and the learning rate:

# %%
steps = np.unique(np.round(np.r_[0, np.geomspace(1, n_steps, n_checkpoints)])).astype(
    int
)
starts = rng.standard_normal((n_runs, n_inputs))
h, V = ({c: linear.modes(X[c])[part] for c in X} for part in (1, 2))
target, rate = {c: w_star @ V[c] for c in X}, {c: step_size / h[c][0] for c in X}

# %% [markdown]
# `h` has the curvatures of the drawn inputs; only the learning rate is taken from them now. $50\,c\,e^{-ci}/d$ is their mean for ever more samples. Now the loop:

# %%
really = {}
for c in X:
    weights, really[c] = starts.T.copy(), []
    for k in range(n_steps + 1):
        if k in steps:
            really[c].append(X[c] @ weights)
        weights -= rate[c] * X[c].T @ (X[c] @ weights - y[c][:, None]) / n_samples

# %% [markdown]
# And the formula, for the same starts and checkpoints:

# %%
by_formula = {c: linear.predictions(X[c], starts, y[c], steps, rate[c]) for c in X}
gap = {c: np.abs(np.transpose(really[c], (2, 0, 1)) - by_formula[c]).max() for c in X}

# %%
print(
    {
        f"c = {c:g}": (
            f"largest difference {g:.0e}, outputs "
            f"up to {np.abs(by_formula[c]).max():.1f}"
        )
        for c, g in gap.items()
    }
)
assert max(gap.values()) < 1e-10

# %% [markdown]
# Continuous time is the limit of small steps. Half the step must give half the difference:

# %%
few = np.array([0, 1, 4, 16])
to_flow = {}
for part in (50, 100):
    small = linear.predictions(
        X[steep], starts, y[steep], part * few, rate[steep] / part
    )
    to_flow[part] = np.abs(
        small - linear.predictions(X[steep], starts, y[steep], rate[steep] * few)
    ).max()

# %%
print(
    {
        f"1/{part} of the step": f"{difference:.1e}"
        for part, difference in to_flow.items()
    }
)
assert 0.4 < to_flow[100] / to_flow[50] < 0.6

# %% [markdown]
# Which modes have learned after $k$ steps? The next figure shows the memory $g_i$ of every mode. *Prediction:* for the sloppy inputs, how many more modes learn when $k$ grows tenfold?

# %% tags=["hide-input"]
looked = np.unique(np.geomspace(1, n_steps, 4).round()).astype(int)
modes = np.arange(1, n_inputs + 1)
kept = {c: linear.memory(variances[c], looked, step_size / variances[c][0]) for c in X}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for ax, c in zip(axes, X, strict=True):
    for k, g, style in zip(looked, kept[c], plots.FACTOR_STYLES, strict=False):
        ax.plot(modes, g, color=style[0], ls=style[2], label=f"{k}")
    ax.set(xlabel="mode, by variance of the inputs", title=f"c = {c:g}")
    ax.set(xscale="log", ylim=(-0.03, 1.03))
    plots.plain_log(ax.xaxis)
axes[0].set_ylabel("memory of the start, $g_i$")
plots.figure_legend(fig, axes[0], ncols=4, title="steps")
alt = "Memory of the start by mode and step: a slow front if sloppy, one fall if flat."
plots.save_figure(fig, atlas.figure_path("61_memory.png"), alt=alt)

# %% [markdown]
# On sloppy inputs a front moves through the modes. It stands where $\eta h_i k \approx 1$, so it moves by $\ln 10/c$ modes for ten times as many steps. On flat inputs all modes have one clock.

# %%
moves = {c: np.log(10) / c for c in X}
print(
    ", ".join(f"c = {c:g}: {moves[c]:.3g} modes for ten times the steps" for c in X),
    f"(there are {n_inputs})",
)

# %% [markdown]
# ## Which spectrum do all runs have, without training?
#
# Many runs start at $w(0)\sim N(0,\sigma_w^2)$ and share their targets. The points are all runs at all checkpoints. Write $\langle\cdot\rangle$ for a mean over checkpoints. The start has mean zero and independent entries, so the mean point is $\sqrt{h_i}\,(1-\langle g_i\rangle)\,w_{*i}$, and the covariance of the points is
#
# $$ C_{ij} = \sqrt{h_ih_j}\,\Big[\sigma_w^2\,\langle g_i^2\rangle\,\delta_{ij} \;+\; w_{*i}w_{*j}\,\big(\langle g_ig_j\rangle-\langle g_i\rangle\langle g_j\rangle\big)\Big]. $$
#
# The first term is the *cloud*: what the starts spread and the runs still remember. It is diagonal in the eigenbasis of the inputs. The second is the *road* that the mean run travels. It is the same for all, has at most one dimension fewer than there are checkpoints, and is not diagonal: a curve bends through many modes. (Averaged over targets of random sign it would be diagonal, but then each target has its own road.) InPCA of squared distances is ordinary PCA, with eigenvalues $m$ times those of $C$ for $m$ points. So the matrix above is an oracle.
#
# Is it right? Only two moments of the starts enter. Starts at $\pm\sigma_w\sqrt d$ along each mode have *exactly* these moments. InPCA of those few runs must give the oracle to rounding:

# %%
h_few, target_few = linear.sloppy_curvatures(0.1, 10), rng.standard_normal(10)
corners = np.sqrt(10) * np.concatenate([np.eye(10), -np.eye(10)])
exact_points = linear.coordinates(
    h_few, corners, target_few, steps, step_size / h_few[0]
).reshape(-1, 10)

# %%
squared = np.square(exact_points[:, None] - exact_points).sum(axis=2)
fit = InPCA(n_components=10).fit(squared)
oracle_few = linear.expected_eigenvalues(
    h_few, target_few, 1.0, steps, step_size / h_few[0]
)

# %%
exactness = (
    np.abs(fit.eigenvalues_ / len(exact_points) - oracle_few).max() / oracle_few[0]
)
print(
    f"{len(exact_points)} points, largest difference "
    f"{exactness:.0e} of the first eigenvalue"
)
assert exactness < 1e-10


# %% [markdown]
# With random starts it is right on average. We take the runs that were really trained above, and for an error bar as many ensembles of the same size, from the formula. The next figure compares their spectra. *Prediction:* on which inputs will a few dozen runs miss the oracle most?

# %% tags=["lesson"]
def spectrum_of(points):
    centred = points.reshape(-1, points.shape[-1]) - points.mean(
        axis=tuple(range(points.ndim - 1))
    )
    smaller = (
        centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    )
    return np.maximum(np.linalg.eigvalsh(smaller / len(centred))[::-1], 0)


# %%
oracle, ensembles, trained = {}, {}, {}

# %%
for c in X:
    sets = rng.standard_normal((n_runs, n_runs, n_inputs))
    ensembles[c] = np.array(
        [
            spectrum_of(linear.coordinates(h[c], s, target[c], steps, rate[c]))
            for s in sets
        ]
    )
    oracle[c] = linear.expected_eigenvalues(h[c], target[c], 1.0, steps, rate[c])
    trained[c] = spectrum_of(np.transpose(really[c], (2, 0, 1)) / np.sqrt(n_samples))

# %% [markdown]
# The shortcut by a covariance must be what the book's estimator says of the trained runs' matrix of distances:

# %%
flat_points = np.transpose(really[steep], (2, 0, 1)).reshape(-1, n_samples) / np.sqrt(
    n_samples
)
squares = np.square(flat_points).sum(axis=1)
D = np.maximum(squares[:, None] + squares - 2 * flat_points @ flat_points.T, 0)
np.fill_diagonal(D, 0)
fitted = InPCA(n_components=depth).fit((D + D.T) / 2)
assert np.allclose(fitted.eigenvalues_ / len(D), trained[steep][:depth], rtol=1e-8)
assert np.allclose(
    fitted.explained_stress_, linear.explained(trained[steep])[:depth], atol=1e-6
)

# %%
place, band = np.arange(1, 31), f"95 % of ensembles of {n_runs} runs"
blue, orange = plots.FACTOR_STYLES[0][0], plots.FACTOR_STYLES[1][0]

# %% [markdown]
# Now the figure: the eigenvalues of the trained runs, of the other ensembles, and of the oracle.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
for ax, c in zip(axes, X, strict=True):
    low, high = statistics.interval(ensembles[c][:, :30])
    ax.fill_between(place, low, high, color=orange, alpha=0.4, lw=0, label=band)
    ax.plot(place, trained[c][:30], "o", color=blue, ms=5, label="trained, InPCA")
    ax.plot(place, oracle[c][:30], color="black", label="oracle, no training")
    ax.set(yscale="log", xlabel="component", title=f"c = {c:g}")
axes[0].set_ylabel("eigenvalue / number of points")
plots.figure_legend(fig, axes[0])
alt = "Eigenvalues of trained linear models, the range over ensembles, and the oracle."
plots.save_figure(fig, atlas.figure_path("61_oracle.png"), alt=alt)

# %% [markdown]
# The oracle speaks of infinitely many runs. A few runs in many equally wide directions span only some of them, and these look too wide, while the rest is missing: that is the tilt of the dots where the oracle is flat. It must go as runs are added. The total variance has no such bias (about the known mean), so there the agreement can be tested sharply.

# %%
agreement, origin = [], np.zeros((1, n_inputs))

# %%
for c, size in [(c, n_runs * many) for c in X for many in (1, 3, 9)]:
    centre = linear.coordinates(h[c], origin, target[c], steps, rate[c])
    centre, drawn = centre.mean(axis=(0, 1)), []
    for _ in range(8):
        begin = rng.standard_normal((size, n_inputs))
        cloud = linear.coordinates(h[c], begin, target[c], steps, rate[c]) - centre
        width = np.square(cloud).sum(axis=2).mean() / oracle[c].sum()
        drawn.append((width, linear.explained(spectrum_of(cloud))[depth - 1]))
    widths, stresses = np.array(drawn).T
    about = {"c": c, "runs": size, "oracle": linear.explained(oracle[c])[depth - 1]}
    about |= {"sampled": stresses.mean(), "spread": stresses.std(ddof=1)}
    errors = (widths.mean() - 1) / widths.std(ddof=1) * np.sqrt(8)
    about |= {"variance over oracle": widths.mean(), "standard errors": errors}
    agreement.append(about)

# %%
agreement = pd.DataFrame(agreement)
assert agreement["standard errors"].abs().max() < 6
agreement.round(4)

# %% [markdown]
# And the bias of the stress must shrink as runs are added, unless it is lost in the spread from the start:

# %%
for _, rows in agreement.groupby("c"):
    bias = (rows.sampled - rows.oracle).abs().to_numpy()
    assert bias[-1] < max(0.5 * bias[0], 3 * rows.spread.iloc[-1])


# %% [markdown]
# `oracle` and `sampled` are the explained stress of the top axes. The oracle costs a few milliseconds and no training. So we can ask it thousands of questions.
#
# ## Where is training low-dimensional?
#
# Three numbers are left: the decay $c$; the size of the targets against the first outputs, $\rho = \sigma_*/\sigma_w$, which is the ratio of their root mean squares; and the number of steps. The learning rate stays at the same share of the largest stable one, and every target weight has the size $\sigma_*$ (its sign does not matter: it drops out of the eigenvalues).

# %% tags=["lesson"]
def stress_at(c, ratio, k, measure="stress"):
    v = linear.sloppy_curvatures(c, n_inputs)
    times = np.unique(np.round(np.r_[0, np.geomspace(1, k, n_checkpoints)]))
    values = linear.expected_eigenvalues(
        v, np.full(n_inputs, ratio), 1.0, times, step_size / v[0]
    )
    return linear.explained(values, measure)[depth - 1]


# %%
decays = np.geomspace(0.001, 1, n_cells)
ratios = np.geomspace(0.03, 30, n_cells)
lengths = np.round(np.geomspace(1, 10_000, 7)).astype(int)

# %%
asked = time.perf_counter()
with thread_limit(1):  # matrices of this size gain nothing from more
    diagram = np.array(
        [[[stress_at(c, r, k) for k in lengths] for c in decays] for r in ratios]
    )
print(
    f"{diagram.size} ensembles in {time.perf_counter() - asked:.1f} s; "
    f"explained stress from {diagram.min():.2f} to {diagram.max():.3f}"
)

# %% [markdown]
# Two limits can be read off the formula, and give the borders that the diagram should have.
#
# *Targets small.* Only the cloud is left. As long as nobody has forgotten anything its eigenvalues are $\propto h_i = e^{-ci}$, and the stress of $k$ axes is $1-e^{-kc}$: one half at $c = \ln 2/k$. *Inputs flat.* All modes have one clock, the road is straight, and it has the eigenvalue $d\,\sigma_*^2\,\mathrm{var}(g)$ beside a cloud of $d$ equal ones, $\sigma_w^2\langle g^2\rangle$. For $k$ axes the stress is one half where

# %%
last = linear.memory(
    [1.0],
    np.unique(np.round(np.r_[0, np.geomspace(1, lengths[-1], n_checkpoints)])),
    step_size,
)
border_c = np.log(2) / depth
# The road's eigenvalue over one of the cloud's.
odds = np.sqrt(4 * (n_inputs - depth) - (n_inputs - 1)) - 1
border_ratio = float(np.sqrt(odds * np.mean(last**2) / (n_inputs * last.var())))

# %%
print(
    "one half of the stress: small targets, few steps: c = "
    f"{border_c:.3f}; flat inputs, many steps: ratio = {border_ratio:.3f}"
)
no_step = linear.expected_eigenvalues(
    linear.sloppy_curvatures(border_c, n_inputs), np.zeros(n_inputs), 1.0, [0]
)
assert abs(linear.explained(no_step)[depth - 1] - 0.5) < 1e-6
assert abs(stress_at(1e-9, border_ratio, lengths[-1]) - 0.5) < 1e-4

# %% [markdown]
# The next figure is the phase diagram at three numbers of steps, with the two borders as dashed lines. *Prediction:* training longer moves runs further. Does it make the whole more or less low-dimensional?

# %% tags=["hide-input"]
chosen = [0, len(lengths) // 2, len(lengths) - 1]
lines = {"levels": [0.5, 0.9], "colors": ["white", "black"], "linewidths": 2}
scales = {"xscale": "log", "yscale": "log"}
x_label, y_label = "decay of the inputs, c", "size of targets / first outputs"

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.8), sharey=True)
for ax, k in zip(axes, chosen, strict=True):
    layer, shade = diagram[:, :, k], {"vmin": 0, "vmax": 1, "shading": "gouraud"}
    picture = ax.pcolormesh(decays, ratios, layer, **shade)
    contour = ax.contour(decays, ratios, layer, **lines)
    ax.clabel(contour, fmt="%.1f", fontsize=9)
    ax.axvline(border_c, color="white", ls="--", lw=1)
    ax.axhline(border_ratio, color="white", ls="--", lw=1)
    ax.set(xlabel=x_label, title=f"steps: {lengths[k]}", **scales)
    ax.grid(False)
axes[0].set_ylabel(y_label)
fig.colorbar(picture, ax=axes, label=f"explained stress of {depth} axes")
alt = "Explained stress over decay and target size at three numbers of steps."
plots.save_figure(fig, atlas.figure_path("61_phase_diagram.png"), alt=alt)

# %% [markdown]
# White is the contour of one half, black that of nine tenths. There are two ways to be low-dimensional, and one corner in which neither is open. Above, the targets are large: all runs travel far along one road, wherever they came from. On the right, the inputs are sloppy: the cloud itself is thin. At the lower left, many directions are equally wide and nothing gathers the runs. And longer training?

# %%
longer = diagram[:, :, -1] - diagram[:, :, 0]
print(
    f"from {lengths[0]} step to {lengths[-1]}: the stress "
    f"rises in {np.mean(longer > settled):.0%} of the cells, "
    f"by {longer.max():.2f} at most, and falls in "
    f"{np.mean(longer < -settled):.0%}, by {-longer.min():.2f} at most"
)

# %%
for gain, (i, j) in (
    (longer.max(), np.unravel_index(longer.argmax(), longer.shape)),
    (longer.min(), np.unravel_index(longer.argmin(), longer.shape)),
):
    print(f"{gain:+.2f} at c = {decays[j]:.2g}, ratio {ratios[i]:.2g}")

# %% [markdown]
# It can go either way. Training draws the road out and forgets the cloud: good where the road is straight. But it forgets the widest directions of the cloud first, and what is left of a sloppy cloud is rounder than it was. That is why the border of small targets moves to the right of its dashed line.
#
# Along a row in the middle something less expected can happen. Sloppiness gives each mode its own clock, so it *bends* the road, and the road then needs more axes. Where targets and first outputs are alike, do sloppier inputs lower the stress?

# %%
middle = np.argmin(np.abs(np.log(ratios)))
row = diagram[middle, :, -1]
dip = row.argmin()
bend = row[0] - row[dip]

# %%
print(
    f"ratio {ratios[middle]:.2g}, {lengths[-1]} steps: stress "
    f"{row[0]:.2f} at c = {decays[0]:g}, lowest {row[dip]:.2f} "
    f"at c = {decays[dip]:.2g}, {row[-1]:.2f} at c = {decays[-1]:g}"
)
print(
    "Sloppy inputs can make it worse before they make it better."
    if dip > 0 and bend > settled
    else "No dip here."
)

# %% [markdown]
# Does the picture hang on the measure? Explained *variance* sums eigenvalues, the stress their squares, so the second is kinder to one long axis. The contour of one half moves, the order of the cells hardly:

# %%
variance = np.array(
    [[stress_at(c, r, lengths[-1], "variance") for c in decays] for r in ratios]
)
rank_agreement = pd.Series(variance.ravel()).corr(
    pd.Series(diagram[:, :, -1].ravel()), method="spearman"
)
print(
    f"cells above one half: {np.mean(diagram[:, :, -1] > 0.5):.0%} "
    f"by stress, {np.mean(variance > 0.5):.0%} by variance; "
    f"rank correlation {rank_agreement:.2f}"
)

# %% [markdown]
# ## Which of the three decides, and where?
#
# Change one of the three by a factor of two. By how much does the stress change? In each cell the largest change names the one that decides; where all three change it by less than `settled`, nothing does any more.

# %%
factors = ["decay of the inputs", "size of the targets", "number of steps"]
by_ratio, by_decay, by_steps = np.gradient(
    diagram, np.log2(ratios), np.log2(decays), np.log2(lengths)
)
change = np.abs([by_decay, by_ratio, by_steps])
decider = np.where(change.max(axis=0) < settled, len(factors), change.argmax(axis=0))
share = {
    name: np.mean(decider == k, axis=(0, 1))
    for k, name in enumerate([*factors, "nothing"])
}
pd.DataFrame(share, index=pd.Index(lengths, name="steps")).round(2)

# %% [markdown]
# The table has the share of cells that each decides. The next figure maps them. *Prediction:* where would the number of steps come first?

# %% tags=["hide-input"]
palette = [plots.FACTOR_STYLES[k][0] for k in (0, 1, 2)] + ["0.9"]
entries = zip(palette, [*factors, f"nothing (below {settled:g})"], strict=True)
keys = [Patch(color=colour, label=name) for colour, name in entries]
flat_tiles = {"vmin": -0.5, "vmax": 3.5, "shading": "nearest"}
flat_tiles["cmap"] = plots.colour_map(palette)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(9, 3.8), sharey=True)
for ax, k in zip(axes, chosen, strict=True):
    ax.pcolormesh(decays, ratios, decider[:, :, k], **flat_tiles)
    ax.contour(decays, ratios, diagram[:, :, k], **lines)
    ax.set(xlabel=x_label, title=f"steps: {lengths[k]}", **scales)
    ax.grid(False)
axes[0].set_ylabel(y_label)
fig.legend(handles=keys, loc="outside lower center", ncols=2)
alt = "Which of three factors changes the explained stress most, over decay and size."
plots.save_figure(fig, atlas.figure_path("61_deciders.png"), alt=alt)

# %% [markdown]
# The contours are those of the phase diagram. Where each factor decides, in words:

# %%
where = {}

# %%
for number, name in enumerate(factors):
    row_of, column_of, length_of = np.nonzero(decider == number)
    if len(row_of):
        where[name] = (
            f"at ratios of {ratios[row_of.min()]:.2g} to "
            f"{ratios[row_of.max()]:.2g}, decays of {decays[column_of.min()]:.2g} "
            f"to {decays[column_of.max()]:.2g}, {lengths[length_of.min()]} to "
            f"{lengths[length_of.max()]} steps"
        )
        print(
            f"{name}: {where[name]}; median ratio {np.median(ratios[row_of]):.2g}, "
            f"median decay {np.median(decays[column_of]):.2g}"
        )

# %% [markdown]
# Next, the third direction by itself: the stress against the number of steps, for flat and sloppy inputs and three sizes of target. *Prediction:* which curves end where they began?

# %% tags=["hide-input"]
along = np.unique(np.round(np.geomspace(1, lengths[-1], 25))).astype(int)
sizes = (0.1, 1.0, 10.0)
several = [(c, r) for c in (steep, flat) for r in sizes]
curves = {(c, r): np.array([stress_at(c, r, k) for k in along]) for c, r in several}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for ax, c in zip(axes, (steep, flat), strict=True):
    for r, (colour, marker, dash) in zip(sizes, plots.FACTOR_STYLES, strict=False):
        look = {"color": colour, "marker": marker, "ls": dash, "ms": 4}
        ax.plot(along, curves[c, r], label=f"{r:g}", **look)
    ax.set(xscale="log", xlabel="steps", title=f"c = {c:g}", ylim=(0, 1.03))
axes[0].set_ylabel(f"explained stress of {depth} axes")
plots.figure_legend(fig, axes[0], title="targets / first outputs")
alt = "Explained stress against steps for three sizes of the targets, sloppy and flat."
plots.save_figure(fig, atlas.figure_path("61_steps.png"), alt=alt)

# %% [markdown]
# Steps matter most while the leading modes are on their way. Afterwards nothing is left to learn on flat inputs. On sloppy ones the front goes on, by equal numbers of modes for equal factors of steps, and the curves drift slowly. In numbers:

# %%
moved = {case: curve.max() - curve.min() for case, curve in curves.items()}
late = {case: np.ptp(curve[along >= 100]) for case, curve in curves.items()}
pd.DataFrame({"range over all steps": moved, "from step 100 on": late}).rename_axis(
    ["c", "ratio"]
).round(3)


# %% [markdown]
# ## Does a second layer change the picture?
#
# A network $f = XW_1W_2$ computes nothing but linear functions, yet its training is not linear: the layers multiply, and no formula above holds. We train it by gradient descent, from first weights that give the same size of outputs, and with a step that is safe at its start and near its end. The gradient by $W_1W_2$ is $G = H(W_1W_2-w_*)$, so that of $W_1$ is the outer product $GW_2^\top$ and that of $W_2$ is $W_1^\top G$.

# %% tags=["lesson"]
def two_layers_at_start(ratio):
    # outputs: n_hidden size^4 = 1 / ratio^2
    size = np.sqrt(1 / (ratio * np.sqrt(n_hidden)))
    first = size * rng.standard_normal((n_runs, n_inputs, n_hidden))
    return size, first, size * rng.standard_normal((n_runs, n_hidden, 1))


# %% tags=["lesson"]
def train_two_layers(c, ratio):
    size, W1, W2 = two_layers_at_start(ratio)
    H, seen = X[c].T @ X[c] / n_samples, []
    first = size**2 * (n_hidden + (np.sqrt(n_inputs) + np.sqrt(n_hidden)) ** 2)
    step = rate[c] / (first + 2 * np.linalg.norm(w_star))
    for k in range(n_steps + 1):
        product = (W1 @ W2)[:, :, 0]
        if k in steps:
            seen.append(product)
        G = ((product - w_star) @ H)[:, :, None]
        new_W1 = W1 - (step * G) * W2.transpose(0, 2, 1)
        W2 = W2 - step * W1.transpose(0, 2, 1) @ G
        W1 = new_W1
    return np.stack(seen, axis=1)


# %%
with thread_limit(1):
    pairs_of_weights = {(c, r): train_two_layers(c, r) @ V[c] for c in X for r in sizes}
assert all(np.isfinite(w).all() for w in pairs_of_weights.values())


# %% [markdown]
# The two kinds of model have different clocks: the speed of a product depends on the size of its factors. So each pair of layers is compared with one layer that has the *same error at the end*. We find its length of time from the formula for continuous time.

# %% tags=["lesson"]
def error_left(c, weights):
    return np.sqrt(
        np.sum(h[c] * (weights - target[c]) ** 2, axis=-1).mean(axis=0)
        / np.sum(h[c] * target[c] ** 2)
    )


# %%
compared = {}

# %%
for (c, r), weights in pairs_of_weights.items():
    ends = np.geomspace(1e-2, 10 * n_steps * rate[c], 200)
    one_ends = linear.coordinates(h[c], starts / r, target[c], ends) / np.sqrt(h[c])
    two_layers_end = np.log(error_left(c, weights[:, -1]) + 1e-12)
    gaps = np.abs(np.log(error_left(c, one_ends) + 1e-12) - two_layers_end)
    times = ends[gaps.argmin()] * steps / n_steps
    one = linear.coordinates(h[c], starts / r, target[c], times)
    spectra = {"oracle": linear.expected_eigenvalues(h[c], target[c], 1 / r, times)}
    spectra["one layer"] = spectrum_of(one)
    spectra["two layers"] = spectrum_of(np.sqrt(h[c]) * weights)
    found = {name: linear.explained(v)[depth - 1] for name, v in spectra.items()}
    found["error, one layer"] = error_left(c, one[:, -1] / np.sqrt(h[c]))
    compared[c, r] = found | {"error, two": error_left(c, weights[:, -1])}

# %% [markdown]
# The table has the stress, and the errors at the end (root mean square; the targets' own size is 1). One layer and two have equally many runs and checkpoints; the oracle stands for infinitely many runs.

# %%
two_layers = pd.DataFrame(compared).T.rename_axis(["c", "ratio"])
two_layers.round(3)

# %% [markdown]
# The figure shows the stress of the six cases, one mark a kind of model. *Prediction:* in which case will the second layer matter most?

# %% tags=["hide-input"]
marks = {"oracle": {"color": "black", "marker": "_", "ms": 20, "mew": 2}}
kinds = zip(("one layer", "two layers"), plots.FACTOR_STYLES, strict=False)
for name, (colour, marker, _) in kinds:
    marks[name] = {"color": colour, "marker": marker, "ms": 8}
under = [f"c = {c:g}\nratio {r:g}" for c, r in two_layers.index]

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8.5, 4))
for name, mark in marks.items():
    ax.plot(range(len(two_layers)), two_layers[name], ls="", label=name, **mark)
ax.set_xticks(range(len(two_layers)), under)
ax.set(ylabel=f"explained stress of {depth} axes", ylim=(0, 1.03))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
alt = "Explained stress of linear models with one and two layers, and of the oracle."
plots.save_figure(fig, atlas.figure_path("61_two_layers.png"), alt=alt)

# %% [markdown]
# The bar is the oracle. One layer misses it because its runs are few; what the second layer does is the distance between circle and square.

# %%
difference = two_layers["two layers"] - two_layers["one layer"]
worst = difference.abs().idxmax()
same_order = two_layers["two layers"].corr(two_layers["one layer"], method="spearman")
print(
    f"largest difference {difference[worst]:+.2f} at c = {worst[0]:g}, "
    f"ratio {worst[1]:g}; rank correlation of the six cases {same_order:.2f}"
)

# %% [markdown]
# Where the marks of one and two layers keep the same order, the phase diagram is a guide beyond its formula. Where they part, the layers that multiply have their say. The speed of a direction depends on the weights that it already has, so runs of different starts have different clocks, and the cloud is not forgotten mode by mode.
#
# ## What does this say about chapter 52?
#
# The networks of chapter 52 are not linear, have two or three layers with BatchNorm, and learn five classes by cross-entropy. They differ in two things: the decay $c$, and ordinary or far starts. Far starts should mean a smaller ratio $\rho$. Can we measure it? Logits are log-probabilities less their mean over classes; we compare their size at the end of a run with that at its start. This stands in for targets, which for cross-entropy lie at infinity.

# %%
data_of = {name: data for name, (data, _) in atlas.profile.spaces().items()}
declared = {n: data.sloppiness for n, data in data_of.items() if data.name == "sloppy"}
starts_of = [(name, kind) for name in declared for kind in ("ordinary", "offset")]

# %%
cases = []

# %%
for name, kind in starts_of:
    space = atlas.space(name)
    table = space.table()
    rows = np.flatnonzero(table.initialisation.str.startswith(kind))
    if len(rows) < embedding.MIN_POINTS:
        continue
    rows = rows[embedding.thinned(table.run.to_numpy()[rows], n_points)]
    points = np.asarray(space.log_probs("train")[rows], dtype=float)
    run_of_row, case = table.iloc[rows].run, {"c": declared[name], "start": kind}
    at = {end: ~run_of_row.duplicated(keep=end).to_numpy() for end in ("first", "last")}
    case |= {"runs": at["last"].sum(), "steps": table.step.max()}
    ratio = linear.growth_of_logits(points, at["first"], at["last"])
    cases.append(case | {"ratio": ratio, "points": points, "at": at})

# %% [markdown]
# Now the oracle's stress at the measured ratio, beside the networks' own stress, in the book's distance $d_B$ and with squared differences of probabilities, which are nearest to what a linear model knows.

# %%
for case in cases:
    points, at = case.pop("points"), case.pop("at")
    for end, name in (("first", "starts apart"), ("last", "ends apart")):
        among = pairwise(points[at[end]])
        case[name] = among.sum() / max(1, len(among) * (len(among) - 1))
    case["oracle"] = stress_at(case["c"], case["ratio"], case["steps"])
    case["networks"] = embedding.spectrum(pairwise(points)).explained_stress_[depth - 1]
    probabilities = np.exp(points).reshape(len(points), -1)
    case["networks, squared"] = linear.explained(spectrum_of(probabilities))[depth - 1]

# %%
beside = pd.DataFrame(
    cases,
    columns=[
        "c",
        "start",
        "runs",
        "steps",
        "ratio",
        "oracle",
        "networks",
        "networks, squared",
        "starts apart",
        "ends apart",
    ],
)

# %%
beside.round(3)

# %% [markdown]
# `starts apart` and `ends apart` are the mean $d_B$ (nats) between the first and the last points of two runs. All linear models with the same inputs and targets end at one place, once every mode is learned. Do these networks?
#
# How many pairs of cases does the oracle order as the networks do?

# %%
pairs = [(a, b) for a in range(len(beside)) for b in range(a)]
agree = sum(
    (beside.oracle[a] - beside.oracle[b]) * (beside.networks[a] - beside.networks[b])
    > 0
    for a, b in pairs
)
print(
    f"{agree} of {len(pairs)} pairs in the same order"
    if pairs
    else "this profile has no synthetic data"
)

# %%
for a, b in pairs:
    if (beside.oracle[a] - beside.oracle[b]) * (
        beside.networks[a] - beside.networks[b]
    ) <= 0:
        print(
            "not in the same order:",
            *(f"{beside.start[i]} starts at c = {beside.c[i]:g}" for i in (a, b)),
            sep="  ",
        )

# %%
apart = beside.pivot(index="c", columns="start", values="ends apart").dropna()
for c, end in apart.iterrows():
    print(
        f"c = {c:g}: runs from far starts end {end.offset / end.ordinary:.1f} "
        "times as far from one another as ordinary ones"
    )

# %% [markdown]
# Even where its order is right, its numbers need not be. Where runs from far starts end much farther apart than ordinary ones, they have *not* met: each has fitted samples and kept opinions of its start, as a network with more weights than samples can. The oracle gathers its runs at one place, and faster on flat inputs than on sloppy ones, so there it promises too much. Predictions also live on a bounded space, and a softmax squeezes what logits spread.
#
# What the oracle does give is a reason. Where the measured ratio is large, the cloud is nothing beside the road, and the inputs hardly matter. Where it is not, the cloud counts, and with it whether it is forgotten.
#
# ## What we learned

# %%
print(
    "Gradient descent, really run, differs from its "
    f"closed form by {max(gap.values()):.0e} at most; "
    f"the oracle from an exact ensemble by {exactness:.0e}."
)

# %%
for c in X:
    largest = agreement[agreement.c == c].iloc[-1]
    print(
        f"c = {c:g}: {depth} axes explain {largest.oracle:.3f} of "
        f"the stress by the oracle, {largest.sampled:.3f} +- "
        f"{largest.spread:.3f} in ensembles of {largest.runs:.0f} runs."
    )

# %%
above = ratios[(diagram > 0.9).all(axis=(1, 2))]
right = decays[(diagram[0] > 0.5).all(axis=1)]
print(
    "At "
    f"{f'ratios of {above[0]:.2g} and more' if len(above) else 'no ratio'}, "
    f"{depth} axes explain over 90 % at every decay and every "
    "number of steps of the diagram."
)

# %%
print(
    (
        "At the smallest ratio it takes a decay of "
        f"{right[0]:.2g} for one half at every number of steps."
    )
    if len(right)
    else "At the smallest ratio no decay gives one half at every number of steps."
)

# %%
for name in factors:
    print(
        f"The {name} decides in {share[name].mean():.0%} "
        f"of the cells ({share[name][0]:.0%} at {lengths[0]} "
        f"step, {share[name][-1]:.0%} at {lengths[-1]})",
        where.get(name, "nowhere"),
    )

# %%
print(f"Two layers differ from one by {difference.abs().max():.2f} in stress at most.")
if pairs:
    print(
        f"Networks of chapter 52: {agree} of "
        f"{len(pairs)} pairs ordered as the oracle says."
    )
print(
    "The paper gives no number for this; Mao "
    "et al. 2025 name the same three quantities."
)

# %% tags=["hide-input"]
results = {
    "closed_form_gap": claims.result(
        max(gap.values()),
        n=n_runs,
        note="largest difference to gradient descent really run",
    )
}
results["oracle_gap"] = claims.result(
    exactness, note="share of the first eigenvalue, ensemble with the same two moments"
)

# %% tags=["hide-input"]
for item in agreement[agreement.runs == agreement.runs.max()].itertuples():
    name = "sloppy" if item.c == steep else "flat"
    results[f"stress_{depth}_oracle_{name}"] = claims.result(item.oracle)
    results[f"stress_{depth}_sampled_{name}"] = claims.result(
        item.sampled,
        low=item.sampled - 2 * item.spread,
        high=item.sampled + 2 * item.spread,
        n=item.runs,
        note="two standard deviations over ensembles",
    )

# %% tags=["hide-input"]
for name in (*factors, "nothing"):
    results[f"decides_{name.split()[0]}"] = claims.result(
        share[name].mean(),
        n=diagram.size,
        note=(
            "share of cells where it changes the stress most; below `settled`: nothing"
        ),
    )

# %% tags=["hide-input"]
results["border_decay"] = claims.result(border_c, note="small targets, no step")
results["border_ratio"] = claims.result(border_ratio, note="flat inputs, many steps")
results["dip"] = claims.result(
    bend, note="stress lost to sloppiness at the middle ratio"
)
results["two_layers_gap"] = claims.result(
    difference.abs().max(), n=len(two_layers), note="stress, two layers against one"
)
results["two_layers_rank_correlation"] = claims.result(same_order, n=len(two_layers))
if pairs:
    results["pairs_ordered_like_chapter_52"] = claims.result(
        agree / len(pairs), n=len(pairs)
    )
claims.save_results(atlas, "61", results, seed=seed, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Checkpoints evenly spaced in steps put most points at the end. Compute the oracle's stress for sloppy inputs at ratio 1 with them.

# %% tags=["solution"]
even = np.arange(0, n_steps + 1, n_steps // n_checkpoints)
v_steep = variances[steep]
evenly = linear.explained(
    linear.expected_eigenvalues(
        v_steep, np.ones(n_inputs), 1.0, even, step_size / v_steep[0]
    )
)[depth - 1]
evenly, stress_at(steep, 1.0, n_steps)

# %% tags=["check"]
assert 0 < evenly < 1

# %% [markdown]
# 2. One run alone is a road without a cloud. How many dimensions can it have, and how many does it need for 99 % of the variance?

# %% tags=["solution"]
lone = linear.expected_eigenvalues(
    v_steep, np.ones(n_inputs), 0.0, steps, step_size / v_steep[0]
)
n_needed = int(np.searchsorted(linear.explained(lone, "variance"), 0.99)) + 1
n_needed, len(steps) - 1

# %% tags=["check"]
assert n_needed < len(steps) - 1 and lone[len(steps) :].max() < 1e-9 * lone[0]

# %% [markdown]
# 3. The ratio at which flat inputs give half of the stress: how does it change with $d$? Use the formula for 50, 200 and 800 inputs.

# %% tags=["solution"]
d = np.array([50, 200, 800])
by_d = np.sqrt(
    (np.sqrt(4 * (d - depth) - (d - 1)) - 1) * np.mean(last**2) / (d * last.var())
)
by_d

# %% tags=["check"]
assert np.allclose(by_d[1:] / by_d[:-1], 4**-0.25, atol=0.08), (
    "about the fourth root of 1/d"
)

# %% [markdown]
# 4. Let every run have targets of its own, $w_*\sim N(0,\sigma_*^2)$. Then $C$ *is* diagonal. Write its eigenvalues down and compare the stress on flat inputs at a large ratio with that of common targets: was it size that gathered the runs, or that they went to the same place?

# %% tags=["solution"]
v_flat = variances[flat]
g_flat = linear.memory(v_flat, steps, step_size / v_flat[0])
own = np.sort(v_flat * np.mean(g_flat**2 + (10 * (1 - g_flat)) ** 2, axis=0))[::-1]
linear.explained(own)[depth - 1], stress_at(flat, 10.0, n_steps)

# %% tags=["check"]
assert linear.explained(own)[depth - 1] < 0.2 < stress_at(flat, 10.0, n_steps)

# %% [markdown]
# ## What next
#
# Chapter 62 asks how the low dimension bears on generalisation.
#
# **References.** Mao et al., *An analytical characterization of sloppiness in neural networks: insights from linear models*, 2025, arXiv 2505.08915. Mao et al., PNAS 2024, appendix, synthetic data. Saxe, McClelland and Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks*, 2014. Marchenko and Pastur, *Distribution of eigenvalues for some sets of random matrices*, 1967.
