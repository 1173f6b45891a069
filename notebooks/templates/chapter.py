# %% [markdown]
# # What is the question?
#
# **What.** What the chapter measures, in one sentence. **Answer.** What it finds.
#
# | | |
# |---|---|
# | Goals | measure one thing; compare it with what chance gives |
# | Prerequisites | chapter 31 (essential) |
# | Minutes | 0.1 on CPU (reading: 10) |
# | Inputs, outputs | points.parquet; named results |

# %%
import time

from manifold_utils import claims
from manifold_utils.atlas import Atlas

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
print(f"{len(atlas.points)} points of {len(atlas.runs)} runs")

# %% [markdown]
# ## What do we load?
#
# One row of the table is one network at one checkpoint. A known value comes first: progress lies between 0, where a network knows nothing, and 1, where it knows every label.

# %%
table = atlas.table("main")
assert table.progress_train.between(0, 1).all()

# %% [markdown]
# ## What we learned
#
# Sentences are made from computed values.

# %%
found = {"n_points": claims.result(float(len(table)), n=len(table))}
print(f"The main grid has {len(table)} points.")
claims.save_results(atlas, "NN", found, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Define `n_runs`, the number of networks in `table`.

# %% tags=["stub"]
n_runs = ...  # a whole number

# %% tags=["solution"]
n_runs = table.run.nunique()

# %% tags=["check"]
assert isinstance(n_runs, int), f"expected a whole number, found {n_runs!r}"

# %% tags=["check", "hidden"]
known = len(set(table.run))
assert n_runs == known, f"expected {known}, found {n_runs}"

# %% [markdown]
# 2. Define `last`, the last row of each network.

# %% tags=["stub"]
last = ...  # a table, a row for each network

# %% tags=["solution"]
last = table.groupby("run").tail(1)

# %% tags=["check"]
assert hasattr(last, "run"), f"expected rows of the table, found {last!r}"

# %% tags=["check", "hidden"]
n_last = table.run.nunique()
assert len(last) == n_last, f"expected {n_last} rows, found {len(last)}"

# %% [markdown]
# 3. Define `farthest`, the largest progress of any point.

# %% tags=["stub"]
farthest = ...  # a number from 0 to 1

# %% tags=["solution"]
farthest = table.progress_train.max()

# %% tags=["check"]
assert isinstance(farthest, float), f"expected a number, found {farthest!r}"

# %% tags=["check", "hidden"]
top = sorted(table.progress_train)[-1]
assert farthest == top, f"expected {top}, found {farthest}"

# %% [markdown]
# ### Quiz
#
# **1.** What is one point of the table?
#
# <details><summary>Answer</summary>One network at one checkpoint: its predictions on all samples.</details>
#
# **2.** Why is progress a better clock than epochs?
#
# <details><summary>Answer</summary>An epoch means different things for different networks; progress says how far each has come.</details>

# %% [markdown]
# ## What next
#
# Chapter 99 judges the paper's claims by such numbers.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024.
