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
# Each exercise names what to define; the check says what was expected and what was found.
#
# 1. Define `n_runs`, the number of networks in `table`.

# %% tags=["solution"]
n_runs = table.run.nunique()

# %% tags=["check"]
assert n_runs == len(set(table.run)), f"{n_runs} is not the number of networks"

# %% [markdown]
# 2. Define `last`, the last row of each network.

# %% tags=["solution"]
last = table.groupby("run").tail(1)

# %% tags=["check"]
assert len(last) == table.run.nunique(), f"{len(last)} rows: one for each network"

# %% [markdown]
# 3. Define `farthest`, the largest progress of any point.

# %% tags=["solution"]
farthest = table.progress_train.max()

# %% tags=["check"]
assert (table.progress_train <= farthest).all(), f"a point is beyond {farthest}"

# %% [markdown]
# ## What next
#
# Chapter 99 judges the paper's claims by such numbers.
#
# **References.** Mao et al., PNAS 2024.
