# %% [markdown]
# # Which of the paper's claims hold on this atlas?
#
# **What.** Every claim of the paper beside the number that this atlas gives, its interval, and a verdict from a rule stated in the open.
# **Figure of the paper.** All of them, as one table.
# **Answer.** The table below; at small scale some claims cannot be decided, and the table says which.
#
# | | |
# |---|---|
# | Goals | read a scorecard; know what a verdict rests on; see which claims need larger data |
# | Prerequisites | the chapters named in the table (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | results/; results/99.json, scorecard.csv |

# %%
import time
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.files import atomic_path

# %% [markdown]
# The parameters of the chapter:

# %% tags=["parameters"]
profile = "digits"  # which profile: notebooks/profiles/<name>.yaml
data_dir = ""  # folder that holds the atlases; empty: the project's data/

# %% tags=["hide-input"]
started = time.time()
atlas = Atlas.open(profile, data_dir)
pd.set_option("display.max_colwidth", None)  # rules are to be read whole
plots.use_house_style()
print(f"profile {atlas.profile.name}: {atlas.profile.description}")

# %% [markdown]
# ## What do we load?
#
# The chapters left their results as named numbers. Here are the chapters that have run, and how many numbers each gave. One number we know: a matrix of distances over $m$ points has $m$ rows.

# %%
found = claims.load_results(atlas.path / "results")
print(
    pd.Series([name.split(".")[0] for name in found])
    .value_counts()
    .sort_index()
    .to_dict()
)
assert found["20.n_points"]["value"] == len(atlas.points)

# %% [markdown]
# ## The rules, before the numbers
#
# A rule that is written after looking at the numbers judges nothing. These stand in `notebooks/claims.yaml`, under version control; a claim is *reproduced* or *contradicted* only if the whole interval is on one side.

# %%
rules = pd.DataFrame([c.model_dump() for c in claims.load_claims()]).set_index("id")
rules[["statement", "rule"]]

# %% [markdown]
# ## The scorecard
#
# *Prediction:* which claims can an atlas of this size not decide?

# %%
card = claims.scorecard(atlas.path / "results")
with atomic_path(atlas.path / "results" / "scorecard.csv") as temporary:
    card.to_csv(temporary, index=False)
card[["claim", "statement", "paper", "ours", "low", "high", "n", "verdict"]].round(3)

# %% [markdown]
# A claim that is *not computed* belongs to a data set that this profile does not have. The next figure shows the others on one scale: how far each interval lies beyond its rule's limit.

# %% tags=["hide-input"]
judged = card[card.ours.notna()].merge(
    rules[["direction", "reproduced"]], left_on="claim", right_index=True
)
judged["label"] = [
    f"{row.claim}. " + fill(row.statement.split(" (")[0], 64) + "\n"
    for row in judged.itertuples()
]
fig, ax = plt.subplots(figsize=(11, 0.52 * len(judged) + 1.2))
plots.plot_scorecard(ax, judged.assign(claim=judged.label))
alt = (
    "One line a claim: our interval relative to the limit "
    "of its rule; lines right of zero are reproduced."
)
plots.save_figure(fig, atlas.figure_path("99_scorecard.png"), alt=alt)

# %% [markdown]
# Right of the line a claim holds by its rule, left of it it does not; grey intervals lie on both sides or between the two limits. Values far from the limit are drawn at the edge of the frame. A bar that is hidden by its dot is an interval too short to see.
#
# ## How much stress do the first axes explain?
#
# The most quoted numbers of the paper, for both splits and at several depths, as chapter 42 computed them; `low` and `high` bound each. The paper's two numbers are those of the rules above.

# %%
depths = sorted(
    {
        int(name.rsplit("_", 1)[1])
        for name in found
        if name.startswith("42.train_stress_")
    }
)
stress = {
    (split, key): {k: found[f"42.{split}_stress_{k}"][key] for k in depths}
    for split in ("train", "test")
    for key in ("value", "low", "high")
}

# %%
stress = pd.DataFrame(stress).rename_axis("axes")
quoted = {
    int(r.rsplit("_", 1)[1]): p
    for r, p in zip(rules.result, rules.paper, strict=True)
    if r.startswith("42.")
}
stress["paper", "train"] = pd.Series(quoted, dtype=float).reindex(depths)
stress.round(3)

# %% [markdown]
# ## What we learned

# %%
counts = card.verdict.value_counts()
print(
    f"Of {len(card)} claims, on {atlas.profile.name}: "
    + ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    + "."
)
for verdict in ("reproduced", "contradicted", "not at this scale", "not computed"):
    print(
        f"{verdict.capitalize()}: "
        f"{', '.join(card.claim[card.verdict == verdict]) or 'none'}."
    )

# %%
for row in card[card.verdict == "contradicted"].itertuples():
    print(
        f"Contradicted here: {row.claim}. {row.statement} "
        f"(ours {row.ours:.3g}, paper {row.paper})."
    )
for split in ("train", "test"):
    top = ", ".join(
        f"{k}: {100 * stress.loc[k, (split, 'value')]:.0f} %" for k in depths
    )
    print(f"Explained {split} stress of the first axes, {top}.")

# %% tags=["hide-input"]
results = {
    f"verdicts_{verdict.replace(' ', '_')}": claims.result(
        n, n=len(card), unit="claims"
    )
    for verdict, n in counts.items()
}
claims.save_results(atlas, "99", results, started=started)

# %% [markdown]
# ## Exercises
#
# 1. Which claim is nearest to its limit? Would it survive a limit that is ten per cent stricter?

# %% tags=["solution"]
nearest = judged.claim.iloc[
    int(np.argmin(np.abs(judged.ours.astype(float) / judged.reproduced - 1)))
]
nearest

# %% tags=["check"]
assert nearest in set(card.claim)

# %% [markdown]
# 2. Write a rule for a claim of your own, such as: test predictions need more axes than train predictions for 90 % of the stress.

# %% tags=["solution"]
mine = claims.Claim(
    id="mine",
    statement="test stress of 3 axes is below the train stress",
    source="exercise",
    result="42.test_stress_3",
    direction="at_most",
    reproduced=found["42.train_stress_3"]["value"],
    contradicted=1.0,
    rule="below the train value",
)

# %% tags=["check"]
assert claims.scorecard(atlas.path / "results", [mine]).verdict.iloc[0] in {
    "reproduced",
    "not at this scale",
    "contradicted",
}

# %% [markdown]
# 3. Run the book at another profile and compare the scorecards. Which verdicts change?

# %% tags=["solution"]
profiles_here = sorted(
    p.parent.parent.name for p in atlas.path.parent.glob("*/results/scorecard.csv")
)
profiles_here

# %% tags=["check"]
assert atlas.profile.name in profiles_here

# %% [markdown]
# ## What next
#
# Run a larger profile: `fashion` on a CPU in an evening, `cifar10` on one GPU, `paper` on a cluster.
#
# **References.** Mao et al., PNAS 2024. The rules are ours.
