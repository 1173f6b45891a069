# %% [markdown]
# # How fast is the package, and how long would the paper's full size take on this machine?
#
# **What.** The package compared with the usual implementation, in one run: distances, eigenpairs, landmarks, progress and training.
# **Figure of the paper.** None; but its 151,407 points need fast code.
# **Answer.** The tables below were measured on the machine that ran this chapter; only the last section reads a report, and it says where that was measured.
#
# | | |
# |---|---|
# | Goals | judge a kernel by the machine's own limit; fit how time and memory grow; predict a large run from small ones |
# | Prerequisites | chapters 20, 30 and 31 (essential) |
# | Minutes | 1.5 on two cores at the digits profile, 0.5 at smoke |
# | Inputs, outputs | predictions/, points.parquet (for landmarks); figures, results/90.json |

# %%
import inspect
import tempfile
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import zarr

from manifold_utils import claims, distances, geometry, plots, training, workers
from manifold_utils.atlas import Atlas
from manifold_utils.inpca import InPCA, landmarks
from manifold_utils.scale import reports
from manifold_utils.studies import timing, usual_ways

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
facts = workers.machine()
print(
    f"{'quick' if quick else 'full'} measurements on "
    f"{facts['processor']}, {facts['cores']} cores, numpy {facts['numpy']}"
)

# %% [markdown]
# ## What do we measure with?
#
# Timings on a shared machine vary. So the candidates run in turns (a, b, a, b) and are compared within a turn; we report medians over turns, with the smallest and the largest ratio. The inputs are synthetic: points from ignorance to confident predictions, like those of networks.

# %%
points = 200 if quick else 600
samples = 250 if quick else 500
log_probs, labels = timing.predictions(points, samples, 10, rng)
largest = np.exp(log_probs.max(axis=2)).mean(axis=1)
print(f"{log_probs.shape}: mean confidence from {largest[0]:.2f} to {largest[-1]:.3f}")
assert np.isclose(largest[0], 0.1, atol=0.01) and np.allclose(
    np.exp(log_probs.astype(float)).sum(axis=2), 1, atol=1e-5
)

# %% [markdown]
# The limit is the rate at which this machine multiplies float32 matrices. The coefficients of all pairs need $2NC\,m^2/2$ multiplications and additions, so a method that computes them by products can hardly be faster. The share of this rate says more about a kernel than a number of seconds. It can exceed 1, because the library's matrix product does not reach the processor's peak either.

# %%
side = 768 if quick else timing.SGEMM_SIDE
with workers.thread_limit(1):
    sgemm_one = timing.sgemm_rate(repeats, side)
sgemm_all = timing.sgemm_rate(repeats, side)
print(
    f"float32 matrix product: {sgemm_one / 1e9:.0f} Gflop/s "
    f"in one thread, {sgemm_all / 1e9:.0f} in {facts['cores']}"
)

# %% [markdown]
# ## What is the usual way?
#
# One batched matrix product for each chunk of samples gives all coefficients, followed by a logarithm of every entry. This takes a few lines, and most people would write it first. We use its best chunk size, found in the same run.

# %%
print(inspect.getsource(usual_ways.usual_pairwise))

# %%
chunk = usual_ways.best_chunk(log_probs)
usual = usual_ways.usual_pairwise(log_probs, chunk)
ours = distances.pairwise(log_probs)
print(
    f"best chunk here: {chunk} samples; largest difference "
    f"between the two: {np.abs(usual - ours).max():.1e} nats"
)
assert np.allclose(usual, ours, atol=1e-3), "on harmless input the two agree"

# %% [markdown]
# ## Are both right?
#
# Speed is worth nothing if the result is wrong. For confident predictions the coefficients fall below the smallest float32. We compare with the formula in float64, in logarithms, pair by pair.

# %%
sure = np.concatenate(
    [30 * rng.standard_normal((1, 60, 10)), 120 * rng.standard_normal((5, 60, 10))]
)
sure -= sure.max(axis=2, keepdims=True)
sure = (sure - np.log(np.exp(sure).sum(axis=2, keepdims=True))).astype(np.float32)
exact = -np.logaddexp.reduce(
    (sure[:, None].astype(float) + sure[None].astype(float)) / 2, axis=3
).mean(axis=2)

# %%
errors = {
    "usual": np.abs(usual_ways.usual_pairwise(sure, chunk) - exact).max(),
    "ours": np.abs(distances.pairwise(sure) - exact).max(),
}
print(
    {name: f"{value:.1e} nats" for name, value in errors.items()},
    f"of at most {exact.max():.0f} nats",
)

# %%
assert errors["ours"] < 1e-4 * exact.max()

# %% [markdown]
# ## How much faster are all distances, in one thread?
#
# We vary points $m$, samples $N$ and classes $C$ one at a time. `times` says how many times faster the package is, and `times, kept` the same for a usual way that keeps its work arrays from call to call, as the package does: without that, page faults would flatter the ratio. `roofline` is the package's rate divided by that of a matrix product that runs in the same turns. *Prediction:* for which $C$ is the advantage smallest?

# %%
cases = [(points // 2, samples, 10), (points, samples, 10)]
cases += [(points, samples // 4, 10), (points, samples // 4, 100)]
product, product_flops = timing.sgemm_task(side)

# %%
rows, single = [], {"precision": "single"}
for m, n, c in cases:
    with workers.thread_limit(1):
        made, _ = timing.predictions(m, n, c, rng)
        chunk_here = usual_ways.best_chunk(made, (1, 5, 25))
        ways = {"usual": partial(usual_ways.usual_pairwise, made, chunk_here)}
        ways["kept"] = partial(usual_ways.usual_pairwise, made, chunk_here, {})
        ways |= {"ours": partial(distances.pairwise, made, **single), "sgemm": product}
        turns = timing.interleaved(ways, repeats)
    row = timing.compare(turns, "usual").loc["ours"]
    sides = {"usual (s)": turns.usual.median(), "ours (s)": row.seconds}
    ratios = {"times": row.times, "low": row.times_low, "high": row.times_high}
    ratios["times, kept"] = (turns.kept / turns.ours).median()
    ratios["roofline"] = timing.roofline(turns, (m, n, c), product_flops).median()
    rows.append({"m": m, "N": n, "C": c} | sides | ratios)

# %%
pairs = pd.DataFrame(rows)
pairs.round(3)

# %% [markdown]
# With ten classes the logarithm of every entry costs more than the product, and the package saves this logarithm. With a hundred classes the product itself dominates, so the advantage shrinks towards a factor of two, which is due to symmetry.
#
# ## How do time and memory grow?

# %%
sizes = np.unique((points * np.array([0.25, 0.5, 1.0, 1.5])).astype(int))
growth_rows, half = [], samples // 2
for m in sizes:
    with workers.thread_limit(1):
        some, _ = timing.predictions(m, half, 10, rng)
        ways_of_m = {"usual": partial(usual_ways.usual_pairwise, some, chunk)}
        ways_of_m["ours"] = partial(distances.pairwise, some, **single)
        medians = timing.interleaved(ways_of_m, repeats).median()
        held = timing.peak_memory(ways_of_m["ours"])
    usual_bytes = 4 * (m * m * (2 * min(chunk, half) + 1) + some.size * 2)
    used = {"usual_bytes": usual_bytes, "ours_bytes": held}
    growth_rows.append({"m": m, **medians} | used)
grown = pd.DataFrame(growth_rows)

# %%
measured = ("usual", "ours", "usual_bytes", "ours_bytes")
exponents = {name: timing.growth(grown.m, grown[name])[0] for name in measured}
print({name: round(value, 2) for name, value in exponents.items()})

# %% [markdown]
# Both ways must take time in proportion to $m^2$. The memory need not grow so fast, but the usual way holds chunks of $m^2$ entries. We fit the exponents, in one thread, and the next figure shows the measurements. Python's tracer does not see the memory of torch, so for the usual way we count it from its arrays.

# %% tags=["hide-input"]
alt = (
    "Median seconds (left) and megabytes (right) against the number of points, for the "
    f"usual way (circles) and ours (squares); n = {repeats} turns, one thread."
)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
for k, name in enumerate(("usual", "ours")):
    colour, marker, dash = plots.FACTOR_STYLES[k]
    look = {"color": colour, "marker": marker, "ls": dash}
    seconds, megabytes = grown[name], grown[f"{name}_bytes"] / 1e6
    label = f"{name}: exponent {exponents[name]:.2f}"
    left.loglog(grown.m, seconds, label=label, **look)
    label = f"{name}: exponent {exponents[f'{name}_bytes']:.2f}"
    right.loglog(grown.m, megabytes, label=label, **look)
for ax, what in ((left, "time (s)"), (right, "memory beyond the input (MB)")):
    ax.set(xlabel="points m", title=what)
    plots.plain_log(ax.xaxis)
    plots.plain_log(ax.yaxis)
    ax.legend()
plots.save_figure(fig, atlas.figure_path("90_growth.png"), alt=alt)

# %% [markdown]
# At small sizes, fixed costs hide the growth: an exponent well below two means that the sizes are too small to tell. Parallel lines mean equal growth, and the gap between them is the factor. The memory of this call includes its result of $8m^2$ bytes; if the result is written to disk in tiles, the memory does not grow with $m$.
#
# ## Is another thread worth having?
#
# Each thread has blocks of pairs of its own, and prepares the predictions that they need, a part of which the others prepare as well. This costs a little work, but no thread waits for another before the end. We try the shapes that the chapters use: all pairs, few samples, many classes, and few points against many, as for landmarks. *Prediction:* which shape gains least?

# %%
threads = sorted({1, facts["cores"]})
third = points // 3 if quick else 1000
shapes = {"all pairs": (third, samples, 10, None)}
shapes |= {"larger": (2 * third, samples, 10, None)}
shapes |= {"few samples": (third, 50, 10, None), "2 classes": (third, samples, 2, None)}
shapes |= {"100 classes": (third, samples // 4, 100, None)}
shapes |= {"1,000 classes": (third // 2, samples // 20, 1000, None)}
shapes |= {"few against many": (4 * third, samples, 10, 60)}

# %%
thread_rows = {}
for shape_name, shape in shapes.items():
    thread_turns = timing.with_threads(shape, threads, repeats, rng)
    by_threads = timing.compare(thread_turns, 1).loc[threads[-1]]
    gained = {"gain": by_threads.times, "lowest": by_threads.times_low}
    rate_of = timing.pair_flops(*shape) / by_threads.seconds
    limit = (thread_turns[1] / thread_turns.apart).median()
    gained |= {"highest": by_threads.times_high, "limit": limit}
    gained["Gflop/s"] = rate_of / 1e9
    thread_rows[shape_name] = gained
gains_of = pd.DataFrame(thread_rows).T
gains_of.round(2)

# %% [markdown]
# The column `gain` says how many times faster all threads are than one. Two threads can at best halve the time, and in fact less: `limit` is the gain of separate calls, one in each thread, which share nothing but the caches and the memory of the machine. Small shapes gain least, because starting a thread takes as long as a part of their work. Other work on the machine affects these numbers most, since the slower thread decides.
#
# ## How fast are fifty eigenpairs?
#
# LAPACK factorises a centred copy of the whole matrix, at a cost of $m^3$. A block Krylov method needs only a few products with $D$ and copies nothing, so $D$ can stay on disk. The matrices are synthetic, with a spectrum that falls like that of trained networks.

# %%
k, eigen_rows = 20 if quick else 50, []
eigen_sizes = [300, 600] if quick else [800, 1600, 3200]
scratch = tempfile.TemporaryDirectory(prefix="manifold-")
krylov = {name: InPCA(k, solver="krylov") for name in ("memory", "disk")}
lapack = InPCA(k, solver="dense")

# %%
for m in eigen_sizes:
    D, file = timing.distance_matrix(m, rng), f"{scratch.name}/D{m}.zarr"
    disk = zarr.create_array(store=file, data=D, chunks=(min(m, 512), m))
    fits = {"LAPACK": partial(lapack.fit, D)}
    fits["memory"] = partial(krylov["memory"].fit, D)
    fits["disk"] = partial(krylov["disk"].fit, disk)
    warm = m == eigen_sizes[0]
    solved = timing.interleaved(fits, min(repeats, 2), warm_up=warm)
    times = (solved.LAPACK / solved.memory).median()
    of_m = {"m": m, **solved.median(), "times": times}
    of_m["disk_over_memory"] = (solved.disk / solved.memory).median()
    eigen_rows.append(of_m | {"passes": krylov["disk"].n_passes_})
eigen = pd.DataFrame(eigen_rows)
eigen.round(3)

# %%
lapack_power, memory_power = (
    timing.growth(eigen.m, eigen.LAPACK),
    timing.growth(eigen.m, eigen["memory"]),
)
at_ten_thousand = (10_000 ** lapack_power[0] * lapack_power[1]) / (
    10_000 ** memory_power[0] * memory_power[1]
)
gap = np.abs(krylov["memory"].eigenvalues_ / lapack.eigenvalues_ - 1).max()

# %%
print(
    f"exponents: LAPACK {lapack_power[0]:.2f}, ours "
    f"{memory_power[0]:.2f}; extrapolated to m = 10,000: "
    f"{at_ten_thousand:.0f} times; largest relative gap of "
    f"eigenvalues {gap:.0e}"
)

# %% [markdown]
# The ratio at ten thousand points is extrapolated from small matrices with the two fitted exponents, so it is only a rough guide. `passes` counts how often the solver reads all of $D$; this number determines the cost of a large matrix on disk.
#
# ## How many landmarks are enough?
#
# Most pictures do not need all distances. We draw $l$ points that cover the cloud (each with a probability in proportion to its distance to those drawn before, in a first, small embedding), embed them, place the others by the formula for new points, and diagonalise once more over all points, so that the axes are those of the whole cloud. The mean distance of a point to the landmarks shows what it has off their axes; this is added to the diagonal. The code is short:

# %%
print(inspect.getsource(landmarks.LandmarkInPCA.fit).split('"""')[-1])

# %% [markdown]
# We try this on predictions of this atlas and compare the first three coordinates of all points and the stress of three axes with the exact ones. *Prediction:* how many landmarks give a picture that looks like the exact one?

# %%
real = atlas.table("main").query("loss_train < 4").index.to_numpy()
real = np.sort(rng.choice(real, min(len(real), 400 if quick else 4000), replace=False))
known = np.asarray(atlas.log_probs("train")[real])
full = InPCA(3).fit(distances.pairwise(known))

# %%
landmark_rows = []
for share in (100, 50, 20, 10, 5):
    n_landmarks = max(len(known) // share, 12)
    errors_of_share = timing.landmark_errors(known, full, n_landmarks, rng)
    landmark_rows.append({"m / l": share, "landmarks": n_landmarks} | errors_of_share)
of_landmarks = pd.DataFrame(landmark_rows).set_index("m / l")
of_landmarks.round(5)

# %% [markdown]
# Both errors are relative to the size of the cloud. The first formula keeps the axes of the landmarks alone; the second step rotates them to those of all points. The share of the distances that is computed is one over `m / l`.
#
# ## How fast is progress found?
#
# The usual way minimises the mean angle point by point with a scalar minimiser. The package solves for all points at once, using the slope. We give the minimiser a cheap objective that needs only three numbers for each sample.

# %%
minimiser = partial(usual_ways.usual_progress, log_probs, labels)
solver = partial(geometry.progress, log_probs, labels)
progress_turns = timing.interleaved({"one by one": minimiser, "ours": solver}, repeats)
clock = timing.compare(progress_turns, "one by one")
print(f"largest difference: {np.abs(minimiser() - solver()).max():.1e}")
clock.round(4)

# %% [markdown]
# ## How fast is training?
#
# The usual loop takes samples one by one through a `DataLoader`; the package keeps the data as one tensor, and a batch is an index. Networks, optimiser, schedule and checkpoints are the same, one thread each.

# %%
data, single_runs = usual_ways.digit_runs(quick)
training_rows = []
for config in single_runs:
    loops = {"usual": partial(usual_ways.train_run_usual, config, data)}
    loops["ours"] = partial(training.train_run, config, data)
    with workers.thread_limit(1):
        trained_in = timing.interleaved(loops, repeats)
    gain = timing.compare(trained_in, "usual").loc["ours"]
    rates = {"usual (runs/min)": 60 / trained_in.usual.median()}
    rates["ours (runs/min)"] = 60 / gain.seconds
    gains = {"times": gain.times, "low": gain.times_low, "high": gain.times_high}
    training_rows.append({"network": config.architecture} | rates | gains)
trained = pd.DataFrame(training_rows).set_index("network")
trained.round(1)

# %% [markdown]
# This compares single runs in one thread. A grid has many runs: the usual way trains them one after another, with all threads of the machine for one network, whereas the package gives each worker a run of its own. So the fair question is how many runs *this machine* finishes in a minute. Half of the runs are augmented, as in the paper's grid. Workers are started and the data are loaded before the measurement begins.

# %%
several = {"n_seeds": 1 if quick else 2, "augmentations": ("none", "simple")}
_, grid_runs = usual_ways.digit_runs(quick, **several)
one_by_one = partial(usual_ways.train_all_usual, grid_runs, data)

# %%
with workers.client() as cluster:
    usual_ways.warm_up(cluster, grid_runs[0])  # each worker loads the data
    side_by_side = partial(usual_ways.train_all_on, cluster, grid_runs)
    loops = {"usual": one_by_one, "ours": side_by_side}
    grid_turns = timing.interleaved(loops, 1 if quick else 2)
whole = timing.compare(grid_turns, "usual").loc["ours"]
print(f"{len(grid_runs)} runs: {whole.times:.1f} times the runs a minute")
print(f"({whole.times_low:.1f} to {whole.times_high:.1f})")

# %% [markdown]
# The gain of a grid combines two things: each run takes less work, and the workers train runs side by side.
#
# ## How long would the paper's full size take here?
#
# 151,407 points, ten classes, and 25,000 samples (every second, as the authors use) or all 50,000. The time follows from the rate measured above, in all threads of this machine:

# %%
rate = 1e9 * gains_of["Gflop/s"]["larger"]
# Threads are taken to help it as much as ours.
usual_over_ours = pairs["usual (s)"][1] / pairs["ours (s)"][1]
size = {n: timing.full_size(rate, 151_407, n, 10) for n in (25_000, 50_000)}
paper_size = pd.DataFrame(
    {
        n: {
            "ours (hours)": s["hours"],
            "usual way (hours)": s["hours"] * usual_over_ours,
            "matrix (GB)": s["bytes_matrix"] / 1e9,
            "predictions (GB)": s["bytes_predictions"] / 1e9,
        }
        for n, s in size.items()
    }
).rename_axis(columns="samples")

# %%
paper_size.round(1)

# %% [markdown]
# ## Can this machine embed the paper's 151,407 points?
#
# `make scale POINTS=151407` does it. Nothing is trained for it: recorded runs are mixed along geodesics, sample by sample, with noise of known size, until there are 2,296 runs of 66 checkpoints on 1,000 samples. Such a cloud is a load for the machine and no evidence about training. It is embedded rung by rung: through landmarks (a twentieth of the points), and exactly, as long as that is affordable.
#
# This chapter does not repeat the run. It reads a report: from this data folder if there is one, else the published one.

# %%
cpu, gpu = (reports.load(kind, data_dir) for kind in reports.KINDS)
ladder = reports.ladder(cpu, gpu)
for where, report in ((cpu["machine"]["processor"], cpu), (gpu["device"], gpu)):
    origin = "published" if report["published"] else "from this data folder"
    print(f"{where}, {report['date']}, {origin}")
busy = cpu["load"] / cpu["machine"]["cores"]
if busy > 1.5:
    print(f"Other work ran beside it ({busy:.0f} tasks a core): read upper bounds.")
ladder.round(5)

# %% [markdown]
# The next figure shows the seconds, and how far the landmarks' picture is from the exact one where that is known.

# %% tags=["hide-input"]
of_way = ladder.set_index(["way", "points"])
on_cores = ladder[ladder.way != "exact, one GPU"]
highest, held_most = cpu["points"], on_cores.gigabytes.max()
alt = (
    f"Left: seconds against points, up to {highest:,}, for each way. Right: error of "
    "the landmarks in three coordinates (circles) and in the stress of three axes "
    "(squares)."
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4))
plots.plot_ladder_seconds(axes[0], ladder)
plots.plot_ladder_errors(axes[1], ladder)
plots.save_figure(fig, atlas.figure_path("90_ladder.png"), alt=alt)

# %% [markdown]
# Errors fall along the ladder, because a larger cloud has more landmarks for the same few axes. How should landmarks be chosen? With a hundredth of the points, the exact answer for the whole cloud judges four ways:

# %%
whole_cloud = gpu["steps"][f"device-{gpu['points']}"]
choice_rows = {
    choice: {
        "coordinates": whole_cloud[f"{choice}_coordinates_100"],
        "stress of 3 axes": whole_cloud[f"{choice}_stress_3_100"],
    }
    for choice in ("uniform", "strata", "rounds", "sketch")
}
pd.DataFrame(choice_rows).T.round(5)

# %% [markdown]
# `uniform` draws all points alike, `strata` as many from each tenth of the runs, `rounds` is k-means++ on the distances in ten rounds, and `sketch` is k-means++ on the coordinates of a first, small embedding. With this many landmarks the four differ little. The package uses the sketch, because it needs the distances only once.

# %% [markdown]
# ## What we learned

# %%
main_row = pairs.iloc[1]
print(
    f"In one thread, the distances of {main_row.m:.0f} points are computed "
    f"{main_row.times:.0f} times as fast as in the usual way, at "
    f"{100 * main_row.roofline:.0f} % of the rate of a matrix product."
)
print(
    f"The paper's matrix would take {size[25_000]['hours']:.1f} hours here, in the "
    f"usual way {paper_size.loc['usual way (hours)', 25_000]:.0f}; at these sizes time "
    f"grows as m^{exponents['ours']:.2f}."
)

# %%
print(
    f"Training is {trained.times.min():.1f} to {trained.times.max():.1f} times as fast "
    f"in one thread, and this machine finishes {whole.times:.1f} times as many runs "
    f"per minute; progress is {clock.times['ours']:.0f} times as fast."
)
print(
    "With one point in twenty as a landmark, the first "
    "three coordinates are within "
    f"{100 * of_landmarks['second step'].loc[20]:.1f} % of the exact ones."
)

# %%
top_row, exact_row = (
    of_way.loc[(name, highest)] for name in ("landmarks", "exact, one GPU")
)
print(
    f"{highest:,} points were embedded through landmarks in "
    f"{top_row.seconds / 60:.0f} minutes and {top_row.gigabytes:.1f} GB of memory on "
    f"{cpu['machine']['cores']} cores. The first three coordinates are within "
    f"{100 * top_row.coordinates:.2f} % of the exact ones, which one "
    f"{gpu['device']} found in {exact_row.seconds:.0f} seconds."
)

# %%
print("The paper gives no timings to compare with.")


# %% tags=["hide-input", "lesson"]
def as_result(row, note=""):
    low, high = row["low"], row["high"]
    return claims.result(row["times"], low=low, high=high, n=repeats, note=note)


# %% tags=["hide-input"]
twentieth, last_eigen = of_landmarks.loc[20], eigen.iloc[-1]
one_thread, sgemm_note = "over the usual way, one thread, C = 10", "of the sgemm rate"
threads_note = f"{threads[-1]} threads over one"
eigen_note = "over LAPACK at the largest m measured"
of_clock = {"low": clock.times_low["ours"], "high": clock.times_high["ours"]}
of_training = {"low": trained.low.min(), "high": trained.high.max()}
paper_note = "151,407 points, 25,000 samples, this machine"

# %% tags=["hide-input"]
results = {"pairwise_times": as_result(main_row, one_thread)}
results["pairwise_times_100_classes"] = as_result(pairs.loc[3])
roofline, by_two = main_row.roofline, gains_of.gain["larger"]
results["roofline"] = claims.result(roofline, n=repeats, note=sgemm_note)
results["error_confident"] = claims.result(errors["ours"], unit="nats")
results["time_exponent"] = claims.result(exponents["ours"], n=len(grown))
results["threads_gain"] = claims.result(by_two, n=repeats, note=threads_note)
eigen_m, over = int(last_eigen.m), last_eigen.disk_over_memory
results["eigen_times"] = claims.result(last_eigen.times, n=eigen_m, note=eigen_note)
results["eigen_passes"] = claims.result(last_eigen.passes, unit="passes over D")
results["disk_over_memory"] = claims.result(over)

# %% tags=["hide-input"]
progress_gain, hours = clock.times["ours"], size[25_000]["hours"]
results["progress_times"] = claims.result(progress_gain, n=repeats, **of_clock)
middle_training = trained.times.median()
results["training_times"] = claims.result(middle_training, n=repeats, **of_training)
results["paper_hours"] = claims.result(hours, unit="hours", note=paper_note)

# %% tags=["hide-input"]
bounds = {"low": whole.times_low, "high": whole.times_high}
results["grid_times"] = claims.result(
    whole.times,
    **bounds,
    n=len(grid_runs),
    note="runs a minute of this machine, over the usual loop",
)
note = "m / l = 20, predictions of this atlas"

# %% tags=["hide-input"]
results["landmark_error"] = claims.result(
    twentieth["second step"],
    n=int(twentieth.landmarks),
    note=f"first three coordinates over the size of the cloud, {note}",
)
results["landmark_stress_error"] = claims.result(
    twentieth["stress error"], n=int(twentieth.landmarks), note=f"of three axes, {note}"
)

# %% tags=["hide-input"]
of_ladder = {"n": highest, "note": "make scale, read from its report"}
results["scale_minutes"] = claims.result(top_row.seconds / 60, **of_ladder)
results["scale_gigabytes"] = claims.result(held_most, **of_ladder)
results["scale_error"] = claims.result(top_row.coordinates, **of_ladder)
results["scale_stress_error"] = claims.result(top_row.stress, **of_ladder)
results["scale_gpu_seconds"] = claims.result(exact_row.seconds, **of_ladder)

# %% tags=["hide-input"]
claims.save_results(atlas, "90", results, seed=seed, started=started)

# %%
scratch.cleanup()

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. How many points can this machine compare in one hour, with 25,000 samples and ten classes? Define `in_an_hour`. Half of all pairs have to be computed; `rate` is in operations a second.

# %% tags=["stub"]
in_an_hour = ...  # a whole number

# %% tags=["solution"]
in_an_hour = int(np.sqrt(3600 * rate / (25_000 * 10)))
in_an_hour

# %% tags=["check"]
assert np.isscalar(in_an_hour) and in_an_hour > 1, (
    f"expected a number of points, found {in_an_hour!r}"
)

# %% tags=["check", "hidden"]
taken = timing.pair_flops(in_an_hour, 25_000, 10) / rate / 3600
assert abs(taken - 1) < 0.01, f"expected one hour, found {taken:.3f} hours"

# %% [markdown]
# 2. Which share of the usual way's time goes into the product, and which into the logarithm? Define `product_share`: the time of twice `pair_flops(points, samples, 10)` at the rate `sgemm_one`, over the usual way's seconds (the second entry of `pairs["usual (s)"]`).

# %% tags=["stub"]
product_share = ...  # a number above 0

# %% tags=["solution"]
both_halves = 2 * timing.pair_flops(points, samples, 10)
product_share = both_halves / sgemm_one / pairs["usual (s)"][1]
product_share

# %% tags=["check"]
assert np.isscalar(product_share) and product_share > 0, (
    f"expected a share above 0, found {product_share!r}"
)

# %% tags=["check", "hidden"]
seconds_of_product = timing.pair_flops(points, samples, 10) * 2 / sgemm_one
known_product = seconds_of_product / pairs["usual (s)"][1]
assert np.isclose(product_share, known_product), (
    f"expected {known_product:.4f}, found {product_share}"
)

# %% [markdown]
# 3. Do float64 products change the distances of this chapter's points? Define `difference`, the largest difference between `precision="single"` and `"double"` for the first hundred.

# %% tags=["stub"]
hundred = log_probs[:100]  # given
difference = ...  # a number, in nats

# %% tags=["solution"]
in_single = distances.pairwise(hundred, precision="single")
in_double = distances.pairwise(hundred, precision="double")
difference = np.abs(in_single - in_double).max()
difference

# %% tags=["check"]
assert np.isscalar(difference) and 0 <= difference < 1, (
    f"expected a small number of nats, found {difference!r}"
)

# %% tags=["check", "hidden"]
assert difference < 1e-6, f"expected less than 1e-6, found {difference}"

# %% [markdown]
# ### Quiz
#
# **1.** The number of points doubles. What happens to the time for all distances, and to their memory?
#
# <details><summary>Answer</summary>Both grow fourfold, since there are four times as many pairs. This is why large matrices are computed in tiles and kept on disk.</details>
#
# **2.** Why can sums of products be done in single precision here, although small distances matter?
#
# <details><summary>Answer</summary>The coefficients are sums of positive terms, so nothing cancels; the error stays a small part of the result. The chapter checks it against double precision.</details>

# %% [markdown]
# ## What next
#
# Chapter 99 judges the paper's claims.
#
# **References.**
#
# * [Williams2009] Williams, Waterman and Patterson, *Roofline: an insightful visual performance model for multicore architectures*, Communications of the ACM 52, 2009.
# * [Halko2011] Halko, Martinsson and Tropp, *Finding structure with randomness*, SIAM Review 53, 2011.
# * [Silva2004] de Silva and Tenenbaum, *Sparse multidimensional scaling using landmark points*, 2004.
