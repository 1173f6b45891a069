# %% [markdown]
# # How fast is all this, and what would the paper's full size take on this machine?
#
# **What.** The package beside an honest re-implementation of the usual way, in one run: distances, eigenpairs, landmarks, progress and training.
# **Figure of the paper.** None; this is what makes its 151,407 points affordable.
# **Answer.** The tables below, measured on the machine that ran this chapter; nothing is copied from elsewhere.
#
# | | |
# |---|---|
# | Goals | judge a kernel by the machine's own limit; fit how time and memory grow; predict a large run from small ones |
# | Prerequisites | chapters 20, 30 and 31 (essential) |
# | Minutes | 1.5 on two cores at the digits profile, 0.5 at smoke |
# | Inputs, outputs | predictions/*, points.parquet (for landmarks); figures, results/90.json |

# %%
import inspect
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import zarr
from scipy.optimize import minimize_scalar

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.landmarks import LandmarkInPCA, draw_landmarks
from manifold_utils.profiles import DatasetConfig, RunConfig
from manifold_utils.studies import timing, usual_ways
from manifold_utils.studies.timing import compare, growth, interleaved, pair_flops, peak_memory, predictions
from manifold_utils.training import train_run
from manifold_utils.workers import client as local_client
from manifold_utils.workers import machine, thread_limit

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/
effort = "auto"  # "quick", "full" or "auto": quick at the smoke profile, else full
repeats = 3  # turns of every measurement; medians are reported
seed = 0  # of the made-up inputs

# %% tags=["hide-input"]
started = time.time()
rng = np.random.default_rng(seed)
atlas = Atlas.open(profile, data_dir)
plots.use_house_style()
assert effort in ("quick", "full", "auto"), "effort is quick, full or auto"
quick = effort == "quick" or (effort == "auto" and profile == "smoke")
facts = machine()
print(f"{'quick' if quick else 'full'} measurements on {facts['processor']}, {facts['cores']} cores, numpy {facts['numpy']}")

# %% [markdown]
# ## What do we measure with?
#
# Timings of a shared machine wander. So the candidates run in turns, a, b, a, b, and are compared within a turn; medians over turns are reported, with the smallest and the largest ratio. The inputs are made up: points that spread from ignorance to confident predictions, as those of networks do.

# %%
points = 200 if quick else 600
samples = 250 if quick else 500
log_probs, labels = predictions(points, samples, 10, rng)
largest = np.exp(log_probs.max(axis=2)).mean(axis=1)
print(f"{log_probs.shape}: mean confidence from {largest[0]:.2f} to {largest[-1]:.3f}")
assert np.isclose(largest[0], 0.1, atol=0.01) and np.allclose(np.exp(log_probs.astype(float)).sum(axis=2), 1, atol=1e-5)

# %% [markdown]
# And the limit: the rate at which this machine multiplies float32 matrices. The coefficients of all pairs need $2NC\,m^2/2$ multiplications and additions, so no method that computes them by products can beat this rate.

# %%
side = 768 if quick else timing.SGEMM_SIDE
with thread_limit(1):
    sgemm_one = timing.sgemm_rate(repeats, side)
sgemm_all = timing.sgemm_rate(repeats, side)
print(f"float32 matrix product: {sgemm_one / 1e9:.0f} Gflop/s in one thread, {sgemm_all / 1e9:.0f} in {facts['cores']}")

# %% [markdown]
# ## What is the usual way?
#
# One batched matrix product a chunk of samples gives all coefficients, then a logarithm of every entry. It needs a few lines, and it is what one writes first. We give it its best chunk size, found in the same run.

# %%
print(inspect.getsource(usual_ways.usual_pairwise))

# %%
chunk = usual_ways.best_chunk(log_probs)
usual = usual_ways.usual_pairwise(log_probs, chunk)
ours = pairwise(log_probs)
print(f"best chunk here: {chunk} samples; largest difference between the two: {np.abs(usual - ours).max():.1e} nats")
assert np.allclose(usual, ours, atol=1e-3), "on harmless input the two agree"

# %% [markdown]
# ## Are both right?
#
# Speed is worth nothing without that. On confident predictions, coefficients fall below the smallest float32. The judge is the formula in float64, in logarithms, pair by pair.

# %%
sure = np.concatenate([30 * rng.standard_normal((1, 60, 10)), 120 * rng.standard_normal((5, 60, 10))])
sure -= sure.max(axis=2, keepdims=True)
sure = (sure - np.log(np.exp(sure).sum(axis=2, keepdims=True))).astype(np.float32)
exact = -np.logaddexp.reduce((sure[:, None].astype(float) + sure[None].astype(float)) / 2, axis=3).mean(axis=2)
errors = {"usual": np.abs(usual_ways.usual_pairwise(sure, chunk) - exact).max(), "ours": np.abs(pairwise(sure) - exact).max()}
print({name: f"{value:.1e} nats" for name, value in errors.items()}, f"of at most {exact.max():.0f} nats")
assert errors["ours"] < 1e-4 * exact.max()

# %% [markdown]
# ## Side by side, in one thread
#
# Points $m$, samples $N$ and classes $C$ are varied one at a time. `times` says how many times faster ours is; `roofline` is our rate over that of a matrix product that runs in the same turns. *Prediction:* for which $C$ is the advantage smallest?

# %%
cases = [(points // 2, samples, 10), (points, samples, 10), (points, samples // 4, 10), (points, samples // 4, 100)]
rows = []
product, product_flops = timing.sgemm_task(side)
with thread_limit(1):
    for m, n, c in cases:
        pair_input, _ = predictions(m, n, c, rng)
        best = usual_ways.best_chunk(pair_input, (1, 5, 25))
        pair_turns = interleaved({"usual": lambda: usual_ways.usual_pairwise(pair_input, best), "ours": lambda: pairwise(pair_input, precision="single"), "sgemm": product}, repeats)  # noqa: B023
        pair_row = compare(pair_turns, "usual").loc["ours"]
        rows.append({"m": m, "N": n, "C": c, "usual (s)": pair_turns.usual.median(), "ours (s)": pair_row.seconds, "times": pair_row.times, "low": pair_row.times_low, "high": pair_row.times_high, "roofline": (pair_flops(m, n, c) / pair_turns.ours / (product_flops / pair_turns.sgemm)).median()})
pairs = pd.DataFrame(rows)
pairs.round(3)

# %% [markdown]
# With ten classes the logarithm of every entry costs more than the product, and that is what is saved. With a hundred classes the product itself dominates, so the advantage must shrink towards the half that symmetry saves.
#
# ## How do time and memory grow?
#
# Both ways must take time in proportion to $m^2$. Memory need not: the usual way holds chunks of $m^2$ entries. We fit the exponents, in one thread. Memory of torch is not seen by Python's tracer, so for the usual way it is counted from its arrays.

# %%
sizes = np.unique((points * np.array([0.25, 0.5, 1.0, 1.5])).astype(int))
growth_rows = []
with thread_limit(1):
    for m in sizes:
        growth_input, _ = predictions(m, samples // 2, 10, rng)
        growth_turns = interleaved({"usual": lambda: usual_ways.usual_pairwise(growth_input, chunk), "ours": lambda: pairwise(growth_input, precision="single")}, repeats)  # noqa: B023
        held = peak_memory(lambda: pairwise(growth_input, precision="single"))  # noqa: B023
        growth_rows.append({"m": m, "usual": growth_turns.usual.median(), "ours": growth_turns.ours.median(), "usual_bytes": 4 * (m * m * (2 * min(chunk, samples // 2) + 1) + growth_input.size * 2), "ours_bytes": held})
grown = pd.DataFrame(growth_rows)
exponents = {name: growth(grown.m, grown[name])[0] for name in ("usual", "ours", "usual_bytes", "ours_bytes")}
print({name: round(value, 2) for name, value in exponents.items()})

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4))
for k, name in enumerate(("usual", "ours")):
    colour, marker, dash = plots.FACTOR_STYLES[k]
    axes[0].loglog(grown.m, grown[name], color=colour, marker=marker, ls=dash, label=f"{name}: exponent {exponents[name]:.2f}")
    axes[1].loglog(grown.m, grown[f"{name}_bytes"] / 1e6, color=colour, marker=marker, ls=dash, label=f"{name}: exponent {exponents[f'{name}_bytes']:.2f}")
axes[0].set(xlabel="points m", ylabel="seconds (median)")
axes[1].set(xlabel="points m", ylabel="memory beyond the input (MB)")
for ax in axes:
    ax.legend()
plots.save_figure(fig, atlas.figure_path("90_growth.png"), alt="Seconds and megabytes against the number of points, for the usual way and ours, on logarithmic axes with the fitted exponents.")

# %% [markdown]
# At small sizes, fixed costs hide the law: an exponent well below two says that the sizes are too small to tell, not that the method is better than it can be. Parallel lines mean equal growth, and the gap between them is the factor. The memory that this in-memory call needs includes its result, which is $8m^2$ bytes; on disk, tiles bound it whatever $m$ is.
#
# ## Is another thread worth having?
#
# Threads share the blocks of pairs, and wait for each other at the end of every chunk of samples. That costs nothing only if there is enough to do, so we take a larger problem.

# %%
threads = sorted({1, facts["cores"]})
many, _ = predictions(*((points, samples, 10) if quick else (2000, 1000, 10)), rng)


# %% tags=["lesson"]
def with_threads(n):
    with thread_limit(n):
        pairwise(many, precision="single")


# %%
thread_turns = interleaved({n: lambda n=n: with_threads(n) for n in threads}, repeats)
by_threads = compare(thread_turns, 1)
by_threads.round(3)

# %% [markdown]
# The column `times` is the gain over one thread. Two threads can at best halve the time; other work on the machine shows up here first, since the slower thread decides.
#
# ## Fifty eigenpairs
#
# LAPACK factorises a centred copy of the whole matrix, at a cost of $m^3$. A block Krylov method asks for a few products with $D$ and copies nothing, so $D$ may as well stay on disk. Matrices are made up, with a spectrum that falls as trained networks' does.

# %%
k = 20 if quick else 50
eigen_sizes = [300, 600] if quick else [800, 1600, 3200]
scratch = tempfile.TemporaryDirectory(prefix="manifold-")
eigen_rows = []
for m in eigen_sizes:
    D = timing.distance_matrix(m, rng)
    disk = zarr.create_array(store=str(Path(scratch.name) / f"D{m}.zarr"), data=D, chunks=(min(m, 512), m))
    fits = {"memory": InPCA(k, solver="krylov"), "disk": InPCA(k, solver="krylov")}
    eigen_turns = interleaved({"LAPACK": lambda: InPCA(k, solver="dense").fit(D), "memory": lambda: fits["memory"].fit(D), "disk": lambda: fits["disk"].fit(disk)}, min(repeats, 2), warm_up=m == eigen_sizes[0])  # noqa: B023
    eigen_rows.append({"m": m, **eigen_turns.median(), "times": (eigen_turns.LAPACK / eigen_turns.memory).median(), "disk_over_memory": (eigen_turns.disk / eigen_turns.memory).median(), "passes": fits["disk"].n_passes_})
eigen = pd.DataFrame(eigen_rows)
eigen.round(3)

# %%
lapack_power, memory_power = growth(eigen.m, eigen.LAPACK), growth(eigen.m, eigen["memory"])
at_ten_thousand = (10_000 ** lapack_power[0] * lapack_power[1]) / (10_000 ** memory_power[0] * memory_power[1])
gap = np.abs(fits["memory"].eigenvalues_ / InPCA(k, solver="dense").fit(D).eigenvalues_ - 1).max()
print(f"exponents: LAPACK {lapack_power[0]:.2f}, ours {memory_power[0]:.2f}; extrapolated to m = 10,000: {at_ten_thousand:.0f} times; largest relative gap of eigenvalues {gap:.0e}")

# %% [markdown]
# The ratio at ten thousand points is an extrapolation from small matrices by the two fitted exponents, and should be read as such. `passes` counts how often the solver went through $D$; on disk each pass is one reading of all tiles, so this number decides what a large matrix costs.
#
# ## Landmarks
#
# For most pictures one need not know all distances. Draw $l$ points that cover the cloud (each with a chance in proportion to its distance to those drawn before), embed them, place the others by the formula for new points, and diagonalise once more over all of them: the axes then are those of the whole cloud. A few lines of algebra do it.

# %%
print(inspect.getsource(LandmarkInPCA.fit).split('"""')[-1])

# %% [markdown]
# We try it on predictions of this atlas, not on made-up ones, and judge the first three coordinates of all points and the stress of three axes. *Prediction:* how many landmarks give a picture that no eye can tell from the exact one?

# %%
real = atlas.table("main").query("loss_train < 4").index.to_numpy()
real = np.sort(rng.choice(real, min(len(real), 400 if quick else 4000), replace=False))
known = np.asarray(atlas.log_probs("train")[real])
full = InPCA(3).fit(pairwise(known))
size_of_cloud = np.linalg.norm(full.embedding_)

# %%
landmark_rows = []
for share in (100, 50, 20, 10, 5):
    few, to_few = draw_landmarks(lambda rows: pairwise(known, known[rows]), len(known), max(len(known) // share, 12), rng)
    fitted = LandmarkInPCA(3).fit(to_few, few)
    placed = fitted.raw_.transform(to_few)[:, :3]
    both = {"raw formula": placed - placed.mean(axis=0), "second step": fitted.embedding_}
    error = {n: np.linalg.norm(x * np.sign((x * full.embedding_).sum(axis=0)) - full.embedding_) / size_of_cloud for n, x in both.items()}
    stress_error = abs(fitted.explained_stress_[2] - full.explained_stress_[2])
    landmark_rows.append({"m / l": share, "landmarks": len(few), **error, "stress error": stress_error})
landmarks = pd.DataFrame(landmark_rows).set_index("m / l")
landmarks.round(5)


# %% [markdown]
# Both errors are relative to the size of the cloud. The raw formula keeps the axes of the landmarks alone; the second step turns them to those of all points. The share of distances that had to be computed is one over `m / l`.
#
# ## Progress
#
# The usual way minimises the mean angle point by point with a scalar minimiser. Ours solves for all points at once, by the slope. We give the minimiser a cheap objective that needs only three numbers a sample.

# %% tags=["lesson"]
def one_by_one(values, labels):
    right_angle, found, every = np.arccos(values.shape[2] ** -0.5), [], np.arange(len(labels))
    for point in values:
        root = np.exp(point.astype(float) / 2)
        own, mean = root[every, labels], root.sum(axis=1) / np.sqrt(values.shape[2])

        def angle(s, own=own, mean=mean):
            bc = (np.sin((1 - s) * right_angle) * mean + np.sin(s * right_angle) * own) / np.sin(right_angle)
            return np.arccos(np.minimum(bc, 1)).mean()

        found.append(minimize_scalar(angle, bounds=(0, 1), method="bounded", options={"xatol": 1e-6}).x)
    return np.array(found)


# %%
progress_turns = interleaved({"one by one": lambda: one_by_one(log_probs, labels), "ours": lambda: progress(log_probs, labels)}, repeats)
clock = compare(progress_turns, "one by one")
apart = np.abs(one_by_one(log_probs, labels) - progress(log_probs, labels)).max()
print(f"largest difference: {apart:.1e}")
clock.round(4)

# %% [markdown]
# ## Training
#
# The usual loop takes samples one by one through a `DataLoader`; ours keeps the data as one tensor and a batch is an index. Networks, optimiser, schedule and checkpoints are the same, one thread each.

# %%
digits = DatasetConfig(name="digits", n_train=200 if quick else 1000, n_test=100 if quick else 500)
data = load_dataset(digits)
epochs = 2 if quick else 4
training_rows = []
with thread_limit(1):
    for architecture in ("fc", "allcnn"):
        config = RunConfig(dataset=digits, architecture=architecture, scale=0.25, batch_size=50, epochs=epochs)
        training_turns = interleaved({"usual": lambda: usual_ways.train_run_usual(config, data), "ours": lambda: train_run(config, data)}, repeats)  # noqa: B023
        training_row = compare(training_turns, "usual").loc["ours"]
        training_rows.append({"network": architecture, "usual (runs/min)": 60 / training_turns.usual.median(), "ours (runs/min)": 60 / training_row.seconds, "times": training_row.times, "low": training_row.times_low, "high": training_row.times_high})
trained = pd.DataFrame(training_rows).set_index("network")
trained.round(1)

# %% [markdown]
# This is one thread against one thread, and single runs. A grid has many: the usual way trains them one after another, with all threads of the machine for one network; ours gives each worker a run of its own. So the fair question is how many runs *this machine* finishes in a minute. Half of the runs are augmented, as in the paper's grid. Workers are started, and the data loaded, before the clock runs.

# %%
grid_runs = [
    RunConfig(dataset=digits, architecture=a, scale=0.25, batch_size=50, epochs=epochs, seed=s, augmentation=g)
    for s in range(1 if quick else 2)
    for g in ("none", "simple")
    for a in ("fc", "allcnn")
]

# %%
with local_client() as workers:
    every = list(workers.nthreads())
    workers.gather([workers.submit(usual_ways.train_only, grid_runs[0], workers=[w], pure=False) for w in every])
    grid_turns = interleaved(
        {
            "usual": lambda: [usual_ways.train_run_usual(c, data) for c in grid_runs],
            "ours": lambda: workers.gather(workers.map(usual_ways.train_only, grid_runs, pure=False)),
        },
        1 if quick else 2,
    )
whole_machine = compare(grid_turns, "usual").loc["ours"]
print(f"{len(grid_runs)} runs: {whole_machine.times:.1f} times the runs a minute ({whole_machine.times_low:.1f} to {whole_machine.times_high:.1f})")

# %% [markdown]
# That is what a grid gains: less work for each run, times the workers side by side.
#
# ## What would the paper's full size take here?
#
# 151,407 points, ten classes, and 25,000 samples (every second, as the authors use) or all 50,000. From the rate measured above, in all threads of this machine:

# %%
fastest = by_threads.seconds.min()
rate = pair_flops(len(many), many.shape[1], 10) / fastest
usual_over_ours = pairs["usual (s)"][1] / pairs["ours (s)"][1]  # threads are taken to help it as much as ours
size = {n: timing.full_size(rate, 151_407, n, 10) for n in (25_000, 50_000)}
paper_size = pd.DataFrame({n: {"ours (hours)": s["hours"], "usual way (hours)": s["hours"] * usual_over_ours, "matrix (GB)": s["bytes_matrix"] / 1e9, "predictions (GB)": s["bytes_predictions"] / 1e9} for n, s in size.items()}).rename_axis(columns="samples")
paper_size.round(1)

# %% [markdown]
# ## What we learned

# %%
main_row = pairs.iloc[1]
print(f"d_B at m = {main_row.m:.0f}, C = 10, one thread: {main_row.times:.0f} times the usual way, {100 * main_row.roofline:.0f} % of the matrix product's rate.")
print(f"Time grows as m^{exponents['ours']:.2f}; the paper's matrix would take {size[25_000]['hours']:.1f} hours here, the usual way {paper_size.loc['usual way (hours)', 25_000]:.0f}.")
print(f"Training: {trained.times.min():.1f} to {trained.times.max():.1f} times in one thread, {whole_machine.times:.1f} times the runs a minute of this machine; progress: {clock.times['ours']:.0f} times.")
print(f"With one point in twenty as a landmark, the first three coordinates are within {100 * landmarks['second step'].loc[20]:.1f} % of the exact ones.")
print("The paper gives no timings to stand beside these.")

# %%
twentieth = landmarks.loc[20]
results = {
    "pairwise_times": claims.result(main_row.times, low=main_row.low, high=main_row.high, n=repeats, note="over the usual way, one thread, C = 10"),
    "pairwise_times_100_classes": claims.result(pairs.times[3], low=pairs.low[3], high=pairs.high[3], n=repeats),
    "roofline": claims.result(main_row.roofline, n=repeats, note="of the sgemm rate"),
    "error_confident": claims.result(errors["ours"], unit="nats"),
    "time_exponent": claims.result(exponents["ours"], n=len(grown)),
    "threads_gain": claims.result(by_threads.times.iloc[-1], n=repeats, note=f"{threads[-1]} threads over one"),
    "eigen_times": claims.result(eigen.times.iloc[-1], n=int(eigen.m.iloc[-1]), note="over LAPACK at the largest m measured"),
    "eigen_passes": claims.result(eigen.passes.iloc[-1], unit="passes over D"),
    "disk_over_memory": claims.result(eigen.disk_over_memory.iloc[-1]),
    "progress_times": claims.result(clock.times["ours"], low=clock.times_low["ours"], high=clock.times_high["ours"], n=repeats),
    "training_times": claims.result(trained.times.median(), low=trained.low.min(), high=trained.high.max(), n=repeats),
    "paper_hours": claims.result(size[25_000]["hours"], unit="hours", note="151,407 points, 25,000 samples, this machine"),
}

# %%
bounds = {"low": whole_machine.times_low, "high": whole_machine.times_high}
results["grid_times"] = claims.result(whole_machine.times, **bounds, n=len(grid_runs), note="runs a minute of this machine, over the usual loop")
note = "m / l = 20, predictions of this atlas"
results["landmark_error"] = claims.result(twentieth["second step"], n=int(twentieth.landmarks), note=f"first three coordinates over the size of the cloud, {note}")
results["landmark_stress_error"] = claims.result(twentieth["stress error"], n=int(twentieth.landmarks), note=f"of three axes, {note}")
claims.save_results(atlas, "90", results, seed=seed, started=started)

# %%
scratch.cleanup()

# %% [markdown]
# ## Exercises
#
# 1. How many points can this machine compare in one hour, with 25,000 samples and ten classes?

# %% tags=["solution"]
in_an_hour = int(np.sqrt(3600 * rate / (25_000 * 10)))
in_an_hour

# %% tags=["check"]
assert abs(pair_flops(in_an_hour, 25_000, 10) / rate / 3600 - 1) < 0.01

# %% [markdown]
# 2. Which share of the usual way's time goes into the product, and which into the logarithm? Estimate it from the roofline.

# %% tags=["solution"]
product_share = 2 * pair_flops(points, samples, 10) / sgemm_one / pairs["usual (s)"][1]
product_share

# %% tags=["check"]
assert product_share > 0

# %% [markdown]
# 3. Do float64 products change the distances of this chapter's points? Compare `precision="single"` with `"double"`.

# %% tags=["solution"]
single, double = (pairwise(log_probs[:100], precision=p) for p in ("single", "double"))
difference = np.abs(single - double).max()
difference

# %% tags=["check"]
assert difference < 1e-6

# %% [markdown]
# ## What next
#
# Chapter 99 judges the paper's claims.
#
# **References.** Williams, Waterman and Patterson, *Roofline*, 2009. Halko, Martinsson and Tropp, *Finding structure with randomness*, 2011. de Silva and Tenenbaum, *Sparse multidimensional scaling using landmark points*, 2004.
