# %% [markdown]
# # How are hundreds of networks trained, and which of them fail?
#
# **What.** Every run of the profile's grids is trained, and its predictions on all samples are kept at many checkpoints.
# **Figure of the paper.** The set-up of all of them; its table of configurations.
# **Answer.** Runs are independent tasks. They are spread over workers, and you can interrupt them at any time: the next call resumes.
#
# | | |
# |---|---|
# | Goals | read a grid of runs; know when checkpoints are taken; judge from learning curves what has been trained well |
# | Prerequisites | chapter 10 (essential), stochastic gradient descent (essential) |
# | Minutes | 5 on two cores at the digits profile; nothing if the runs are there |
# | Inputs, outputs | the data set; runs.parquet, points.parquet, predictions/, results/11.json |

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots, training
from manifold_utils.atlas import Atlas
from manifold_utils.files import data_root
from manifold_utils.profiles import Profile
from manifold_utils.statistics import bootstrap_interval
from manifold_utils.training import grid, planning
from manifold_utils.workers import client as connect

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds data sets and atlases; empty: the project's data/
client = "local"  # Dask: "local" processes, or a scheduler such as tcp://host:8786
n_workers = 0  # local worker processes; 0: one a core

# %% tags=["hide-input"]
started = time.time()
settings = Profile.load(profile, data_dir)
atlas = Atlas.create(settings, data_root(data_dir) / "atlases")
plots.use_house_style()
todo = sum(
    atlas.space(s).run_status(c.run_id) is None
    for s, (_, g) in settings.spaces().items()
    for n in g
    for _, c in settings.configs(n)
)
print(
    f"profile {settings.name}: {len(settings.configs())} runs in "
    f"{len(settings.grids)} grids, {todo} of them still to train"
)

# %% [markdown]
# ## What will be trained?
#
# A grid is a product of factors: architecture, optimiser, batch size, learning rate, weight decay, augmentation, start and seed. Before anything runs, we ask for the plan: how many runs, how many numbers to store, how long.

# %%
outline = planning.plan(settings, data_dir=data_dir)
outline.in_words()

# %% [markdown]
# `main` is the grid of the paper's figures, at this profile's size. The other grids are for separate questions: other starts, other sizes, other data.
#
# The names of the paper's six families: `fc` is a fully connected network, `allcnn` has convolutions only, `wr-10-4-8` and `wr-16-4-64` are wide residual networks (depth, widening factor, channels of the first layer at full size), `convmixer` mixes patches by convolutions, and `vit` is a vision transformer. The column `scale` of the table of runs gives the width, as a part of the paper's.
#
# ## When are predictions recorded?
#
# Networks change most in the first epochs. The paper therefore records four times per epoch at first and less often later; a profile with fewer epochs uses the same schedule, scaled down.

# %%
config = settings.configs("main")[0][1]
n_train = len(atlas.labels("train")) * settings.dataset.record_every
n_batches = n_train // config.batch_size
steps = training.checkpoint_steps(config.epochs, n_batches)
print(
    f"{config.epochs} epochs of {n_batches} batches: {len(steps)} "
    f"checkpoints, the first at steps {list(steps[:6])}"
)
assert steps[0] == 0 and steps[-1] == config.epochs * n_batches

# %% [markdown]
# Step 0 is the network before any training. At the paper's 200 epochs of 250 batches the same function must give its 67 checkpoints.

# %%
paper_steps = training.checkpoint_steps(200, 250)
print(f"at the paper's settings: {len(paper_steps)} checkpoints")
assert len(paper_steps) == 67

# %% [markdown]
# ## What does a training loop look like?
#
# It fits on one page. The data are tensors on the device, a batch is an index, augmentation works on the whole batch, and predictions are made in evaluation mode on samples without augmentation.

# %% tags=["hide-output"]
print(inspect.getsource(training.train_run))

# %% [markdown]
# Now the training itself. A run that is already stored is not trained again, so this cell takes minutes the first time and a moment afterwards. A bar shows how far it is.

# %%
with connect(client, n_workers=n_workers or None) as workers:
    report = grid.train_grid(settings, atlas, client=workers, data_dir=data_dir)
report

# %% [markdown]
# A grid with its own data set has a prediction space of its own, because its samples are different. Its tables are in `spaces/`.
#
# ## What is in the store?
#
# One row for each run. The index is a readable name followed by ten digits of a hash of all settings, so a run with any other setting has another name.

# %%
runs = pd.concat([atlas.space(s).runs for s in settings.spaces()])
print(runs.shape)
runs[["grid", "optimizer", "final_error_train", "final_error_test", "status"]].head()

# %% [markdown]
# The predictions are arrays of natural logarithms (points, samples, classes). Their exponentials must sum to one. We check this for the first run.

# %%
first = atlas.points[atlas.points.run == atlas.points.run.iloc[0]]
log_probs = atlas.run_log_probs(first.run.iloc[0], "train")
print(
    "shape",
    log_probs.shape,
    "largest error of a sum of probabilities",
    f"{np.abs(np.exp(log_probs).sum(axis=2) - 1).max():.1e}",
)
assert np.allclose(np.exp(log_probs.astype(float)).sum(axis=2), 1, atol=1e-5)
assert (np.diff(first.step) > 0).all()

# %% [markdown]
# ## Who learns how fast?
#
# *Prediction:* which family will be the first to know the training data, and will the same one be best on the test data? In the next figure each thin line is a run of the main grid, and each thick line is the mean of a family.

# %% tags=["hide-input"]
table = atlas.table("main")
axis = np.linspace(0, table.epoch.max(), 60)
by_run = list(table.groupby("run", sort=False))
families = [rows.architecture.iloc[0] for _, rows in by_run]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
for split, ax in zip(("train", "test"), axes, strict=True):
    curves = [np.interp(axis, rows.epoch, rows[f"error_{split}"]) for _, rows in by_run]
    plots.plot_curves(ax, axis, curves, families)
    ax.set(xlabel="epoch", title=f"{split} error")
    ax.get_legend().remove()
axes[0].set_ylabel("fraction wrong")
plots.figure_legend(fig, axes[0])
alt = (
    f"Train and test error of {len(by_run)} runs against epochs: a thin line is a run, "
    "a thick dashed one the mean of an architecture (n in the legend)."
)
plots.save_figure(fig, atlas.figure_path("11_learning_curves.png"), alt=alt)

# %% [markdown]
# On the left, a thin line that stays high is a run that has not learned its samples by the last epoch; the last table of the next section names such runs. On the right, the thick lines end at the mean test errors of the families. This is the usual view, with one number for each network; the rest of the book uses all predictions instead.
#
# ## Where do the families end?

# %%
final = runs[(runs.grid == "main") & (runs.status == "finished")]
ends = final.groupby("architecture")[
    ["final_error_train", "final_error_test", "seconds", "n_parameters"]
].mean()
ends.assign(runs=final.groupby("architecture").size()).round(4)

# %% [markdown]
# The means hide runs that did not train well. Following the paper, a run whose final train error is above 10 % is called *untrained*; it stays in the atlas.

# %%
untrained = final[final.final_error_train > 0.1]
print(
    f"{len(untrained)} of {len(final)} runs of the main grid end above 10 % train error"
)
untrained[
    [
        "architecture",
        "optimizer",
        "batch_size",
        "learning_rate",
        "augmentation",
        "final_error_train",
    ]
].head(20)

# %% [markdown]
# ## Which runs failed, and why?
#
# A run whose loss is no longer a number is recorded as *diverged*, with the step, and left out of all distances. The next cell lists these runs, so that none is left out without notice.

# %%
diverged = runs[runs.status == "diverged"]
print(f"{len(diverged)} of {len(runs)} runs diverged")
diverged[
    [
        c
        for c in ("grid", "optimizer", "learning_rate", "diverged_step")
        if c in diverged
    ]
].head(10)

# %% [markdown]
# Files can be damaged on disk. Every stored run has checksums, so we can read all of them back and check them.

# %%
damaged = atlas.verify()
print(f"{len(damaged)} of {len(atlas.runs)} stored runs are damaged")
assert not damaged, damaged

# %% [markdown]
# ## What we learned

# %%
trained = final[final.final_error_train <= 0.1]
error_test = 100 * trained.final_error_test
low, high = bootstrap_interval(error_test) if len(trained) else (np.nan, np.nan)
best = trained.groupby("architecture").final_error_test.mean().sort_values()

# %%
print(
    f"{len(runs)} runs gave {len(atlas.points)} points of the main "
    f"space; {len(diverged)} diverged. Of the {len(final)} finished runs of the main "
    f"grid, {len(untrained)} stayed untrained."
)
print(
    f"Mean test error of the trained runs: {error_test.mean():.1f} "
    f"% ({low:.1f} to {high:.1f}); best family: {best.index[0]}."
    if len(trained)
    else "So no mean of trained runs can be given; the mean test error of all finished "
    f"runs is {100 * final.final_error_test.mean():.1f} %."
)

# %%
print("The paper trained 2,296 configurations and kept 151,407 points.")

# %% tags=["hide-input"]
results = {
    "n_runs": claims.result(len(runs), unit="runs"),
    "n_points": claims.result(len(atlas.points), unit="points"),
    "n_diverged": claims.result(len(diverged), n=len(runs), unit="runs"),
    "n_untrained": claims.result(len(untrained), n=len(final), unit="runs"),
    "test_error": claims.result(
        error_test.mean(),
        low=low,
        high=high,
        n=len(trained),
        unit="%",
        note="95 % bootstrap over trained runs",
    ),
}

# %% tags=["hide-input"]
results |= {
    f"test_error_{name}": claims.result(100 * value, unit="%")
    for name, value in best.items()
}
claims.save_results(atlas, "11", results, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `early_share`, the share of the checkpoints of a run of 20 epochs of 10 batches that lie in the first fifth of training (at most step 40).

# %% tags=["stub"]
early_share = ...  # a number between 0 and 1

# %% tags=["solution"]
short = np.asarray(training.checkpoint_steps(20, 10))
early_share = np.mean(short <= 40)
len(short), early_share

# %% tags=["check"]
assert np.isscalar(early_share) and 0 < early_share < 1, (
    f"expected a share between 0 and 1, found {early_share!r}"
)

# %% tags=["check", "hidden"]
planned = [step for step in training.checkpoint_steps(20, 10)]
known_share = sum(step <= 40 for step in planned) / len(planned)
assert np.isclose(early_share, known_share), (
    f"expected {known_share:.3f}, found {early_share}"
)

# %% [markdown]
# 2. Is the best family on train data also the best on test data? Define `best_train` and `best_test`, the names of the families with the least final error in the table `ends`.

# %% tags=["stub"]
best_train = ...  # a name in the index of `ends`
best_test = ...  # likewise

# %% tags=["solution"]
best_train, best_test = ends.final_error_train.idxmin(), ends.final_error_test.idxmin()
best_train, best_test

# %% tags=["check"]
assert best_train in list(ends.index) and best_test in list(ends.index), (
    f"expected two names of {list(ends.index)}, found {(best_train, best_test)}"
)

# %% tags=["check", "hidden"]
least = ends.final_error_train.min(), ends.final_error_test.min()
assert ends.final_error_train[best_train] == least[0], (
    f"expected the least train error, {least[0]:.4f}, found {best_train}"
)
assert ends.final_error_test[best_test] == least[1], (
    f"expected the least test error, {least[1]:.4f}, found {best_test}"
)

# %% [markdown]
# 3. Change the seed of one configuration and predict which columns of its row in `runs` change. Define `explained`, a dictionary that gives, for the architecture, the optimiser and the seed, the share of the variance of the final test error that lies between the means of its levels, over the runs in `final`. Which explains most?

# %% tags=["stub"]
explained = ...  # {"architecture": share, "optimizer": share, "seed": share}

# %% tags=["solution"]
explained = {
    f: final.groupby(f).final_error_test.transform("mean").var()
    / final.final_error_test.var()
    for f in ("architecture", "optimizer", "seed")
}
explained

# %% tags=["check"]
assert isinstance(explained, dict) and set(explained) == {
    "architecture",
    "optimizer",
    "seed",
}, f"expected a dictionary with a share for each of the three, found {explained!r}"

# %% tags=["check", "hidden"]
means = final.groupby("architecture").final_error_test.transform("mean")
left = ((final.final_error_test - means) ** 2).sum()
around = ((final.final_error_test - final.final_error_test.mean()) ** 2).sum()
known_share = 1 - left / around if around else np.nan
assert np.isclose(explained["architecture"], known_share, equal_nan=True), (
    f"expected {known_share:.4f} for the architecture, "
    f"found {explained['architecture']}"
)
assert not any(v < 0 or v > 1 + 1e-9 for v in explained.values()), (
    f"expected shares from 0 to 1, found {explained}"
)

# %% [markdown]
# ### Quiz
#
# **1.** Why are checkpoints denser at the beginning of training?
#
# <details><summary>Answer</summary>Predictions move fastest there: most of the way from ignorance is covered in a small part of the epochs. Evenly spaced checkpoints would leave gaps in the part where most happens.</details>
#
# **2.** A run diverges. Why does the book keep it in the table, instead of deleting it?
#
# <details><summary>Answer</summary>Which settings fail is a result. A table without them would show that everything trains, because whatever did not train was removed.</details>

# %% [markdown]
# ## What next
#
# Chapter 20 measures the distance between every two of these points.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. Section 4 and its supplement, for the grid.
# * [Jordan2024] Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024. For training loops that keep the data on the device.
