# %% [markdown]
# # Which of the paper's claims hold on this atlas?
#
# **What.** Every claim of the paper with the number of this atlas, its interval, and a verdict by a rule that was fixed beforehand.
# **Figure of the paper.** All of them, as one table.
# **Answer.** The table below says for each claim whether the number agrees with the paper's, and whether the conclusion holds beyond what a world without the effect would give.
#
# | | |
# |---|---|
# | Goals | read a scorecard; tell a number from a conclusion; know what a conclusion rests on |
# | Prerequisites | the chapters named in the table (helpful) |
# | Minutes | 1 on CPU (reading: 10) |
# | Inputs, outputs | results/; results/99.json, scorecard.csv |

# %%
import time

import matplotlib.pyplot as plt
import pandas as pd

from manifold_utils import claims, plots
from manifold_utils.atlas import Atlas
from manifold_utils.files import atomic_path
from manifold_utils.profiles import RECORDED

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
# The chapters saved their results as named numbers. Here are the chapters that have run, and how many numbers each has saved. One number we know: a matrix of distances over $m$ points has $m$ rows.

# %%
found = claims.load_results(atlas.results_folders)
print(
    pd.Series([name.split(".")[0] for name in found])
    .value_counts()
    .sort_index()
    .to_dict()
)
assert found["20.n_points"]["value"] == len(atlas.points)

# %% [markdown]
# A notebook that you run by hand saves its results in the same place as the book's runner. If you changed a parameter, the results answer another question than the rules below were written for, so the scorecard does not judge them. Running the chapter with `python -m manifold_utils run` replaces them. Set `$MANIFOLD_OUT` to keep your results in a folder of their own.

# %%
by_hand = claims.by_hand(atlas.results_folders)
changed = claims.with_other_parameters(atlas.results_folders)
for chapter in by_hand:
    how = f"with {changed[chapter]}: not judged" if chapter in changed else "judged"
    print(f"chapter {chapter} was run by hand, {how}")
print(f"{len(by_hand)} chapters have results that are not from the book's own run")
judged = claims.load_results(atlas.results_folders, judged=True)

# %% [markdown]
# ## The rules, before the numbers
#
# A rule that is written after seeing the numbers proves nothing. These rules are in `notebooks/claims.yaml`, under version control, and were committed before the runs that they judge.
#
# Every claim gets two answers. The *number* column says whether our value is the paper's: *same* within the stated tolerance, *different*, or *other data*, because the paper's numbers are about CIFAR-10. The *conclusion* column is about the statement itself: does it hold here, and would a world without the effect have given the same? A conclusion *holds beyond the null* only if the whole interval satisfies the bound. *The null does as well* means that the effect asked for is excluded while the null's value is not.

# %%
rules = pd.DataFrame([c.model_dump() for c in claims.load_claims()]).set_index("id")
rules[["statement", "data", "rule"]]

# %% [markdown]
# ## The scorecard
#
# *Prediction:* which claims hold on easy data simply because networks learn, and which need real images?

# %%
card = claims.scorecard(atlas.results_folders)
with atomic_path(atlas.folder("results") / "scorecard.csv") as temporary:
    card.to_csv(temporary, index=False)
shown = ["claim", "statement", "paper", "ours", "low", "high", "number", "conclusion"]

# %%
card[shown].round(3)

# %% [markdown]
# A claim that is *not computed* needs a grid, a factor or a split that this atlas does not have. The claims are about the paper's networks and its factors, so an atlas of other runs can be judged only on those for which it has numbers:

# %%
number_alone = card.conclusion == ""
answer_to = card.conclusion.where(~number_alone, card.number)
asked = card.claim[~answer_to.isin([claims.ABSENT, claims.OTHER])]
unasked = card.claim[answer_to == claims.ABSENT]
print(f"{len(asked)} of {len(card)} claims have a number on this atlas:", *asked)
if len(unasked):
    print("Not computed, because their numbers are missing:", ", ".join(unasked) + ".")

# %%
elsewhere = ", ".join(card.claim[answer_to == claims.OTHER])
if elsewhere:
    print(f"About data that this atlas does not hold: {elsewhere}.")

# %%
if atlas.profile.kind == RECORDED:
    print(
        "These runs were recorded elsewhere: the statements are about "
        f"{plots.factor_name(atlas.family)} and their other factors, not about the "
        "paper's networks."
    )

# %% [markdown]
# The evidence for each conclusion, result by result, with its bound:

# %%
card.set_index("claim")[["evidence"]]

# %% [markdown]
# ## All data sets side by side
#
# We compare this atlas with the published reference runs. The next figure has a column for each; read along a row to see whether a conclusion depends on the data.

# %% tags=["hide-input"]
cards = {f"{atlas.profile.name}\n(this atlas)": card}
for name, other in claims.reference_cards().items():
    if name != atlas.profile.name:
        cards[f"{name}\n(published)"] = other
fig, ax = plt.subplots(figsize=(min(9, 4.6 + 2 * len(cards)), 0.62 * len(card) + 0.8))
plots.plot_scorecard(ax, cards)
alt = (
    f"{len(card)} claims down, {len(cards)} data sets across: our number and its "
    "conclusion in each cell, as a word and a colour."
)
plots.save_figure(fig, atlas.figure_path("99_scorecard.png"), alt=alt)

# %% [markdown]
# The number in a cell is our value for that data set, and the colour is the conclusion. Blue and pink cells are claims about a number only. *Different* compares the two numbers and nothing else: networks that end nearer to truth than the paper's have another number, although they keep the sentence of the claim.
#
# ## How much stress do the first axes explain?
#
# These are the most quoted numbers of the paper, for both splits and at several depths, as chapter 42 computed them. The null is that of chapter 32: the runs that reach every value of progress there, with the samples of each shuffled within their classes.

# %%
prefix = f"42.{atlas.splits[0]}_stress_"
tails = [name.removeprefix(prefix) for name in judged if name.startswith(prefix)]
depths = sorted(int(tail) for tail in tails if tail.isdigit())
kinds = {"value": "", "low": "", "high": "", "null": "_null"}
stress = {
    (split, kind): {
        k: judged[f"42.{split}_stress_{k}{end}"]["value" if end else kind]
        for k in depths
        if f"42.{split}_stress_{k}{end}" in judged
    }
    for split in atlas.splits
    for kind, end in kinds.items()
}

# %%
stress = pd.DataFrame(stress).rename_axis("axes")
in_paper = "42.train_stress_"
quoted = rules[rules.result.fillna("").str.startswith(in_paper)]
at = quoted.result.str.removeprefix(in_paper).astype(int)
paper = pd.Series(quoted.paper.to_numpy(float), index=at)
stress["train", "paper"] = paper.reindex(depths)
stress.sort_index(axis=1, level=0, ascending=False, sort_remaining=False).round(3)

# %% [markdown]
# ## What we learned

# %%
counts = card.conclusion[card.conclusion != ""].value_counts()
print(
    f"{counts.sum()} of {len(card)} claims have a conclusion on {atlas.profile.name} "
    "(the others are about a number only): "
    + ", ".join(f"{conclusion} ({n})" for conclusion, n in counts.items())
    + "."
)
for conclusion in claims.CONCLUSIONS[::-1]:
    which = ", ".join(card.claim[card.conclusion == conclusion]) or "none"
    if which != "none":
        print(f"{conclusion.capitalize()}: {which}.")

# %%
for row in card[card.conclusion == claims.CONTRADICTED].itertuples():
    print(f"Contradicted here: {row.claim}. {row.statement} ({row.evidence}).")

# %%
for answer in ("same", "different"):
    which = ", ".join(card.claim[card.number == answer]) or "none"
    print(f"The paper's number, {answer}: {which}.")
for split in atlas.splits:
    top = ", ".join(
        f"{k}: {100 * stress.loc[k, (split, 'value')]:.0f} %" for k in depths
    )
    told = top or "not computed: chapter 42 has not run here"
    print(f"Explained {split} stress of the first axes, {told}.")

# %% tags=["hide-input"]
results = {
    f"conclusions_{conclusion.replace(' ', '_')}": claims.result(
        n, n=counts.sum(), unit="claims"
    )
    for conclusion, n in counts.items()
}
claims.save_results(atlas, "99", results, started=started)

# %% [markdown]
# ## Exercises
#
# Replace each `...`, then run the check below it: it says what was expected and what was found. A solution and a stricter check are folded.
#
# 1. Which evidence is nearest to its bound, relative to the width of its interval? Define `nearest`, the name of its result (`None` if no evidence has an interval). Would its conclusion survive a bound that is ten per cent stricter?

# %% tags=["stub"]
nearest = ...  # the name of a result in `found`

# %% tags=["solution"]
margins = {}
for claim in claims.load_claims():
    for e in claim.evidence:
        low, high = claims.interval_of(found.get(e.result)) or (0, 0)
        if high > low:
            gap = min(abs(low - e.holds), abs(high - e.holds))
            margins[e.result] = gap / (high - low)
nearest = min(margins, key=margins.get) if margins else None
nearest

# %% tags=["check"]
assert nearest is None or nearest in list(found), (
    f"expected a name of a result, or None, found {nearest!r}"
)

# %% tags=["check", "hidden"]
evidence = [e for claim in claims.load_claims() for e in claim.evidence]
spans = [(e, claims.interval_of(found.get(e.result))) for e in evidence]
relative = {
    e.result: min(abs(end - e.holds) for end in span) / (span[1] - span[0])
    for e, span in spans
    if span and span[1] > span[0]
}
known_nearest = min(relative, key=relative.get, default=None)
assert nearest == known_nearest, f"expected {known_nearest}, found {nearest}"

# %% [markdown]
# 2. Write a rule for a claim of your own: test predictions need more axes than train predictions, because 3 axes explain less of their stress. Define `my_claim`, a `claims.Claim` with the evidence `42.test_stress_3`, at most the train value.

# %% tags=["stub"]
my_claim = ...  # claims.Claim(...)

# %% tags=["solution"]
reference = found.get("42.train_stress_3", claims.result(0.5))
bound = reference["value"]
my_claim = claims.Claim(
    id="mine",
    statement="3 axes explain less of the test stress than of the train stress",
    source="exercise",
    evidence=[
        claims.Evidence(result="42.test_stress_3", direction="at_most", holds=bound)
    ],
    rule="at most the train value",
)

# %% tags=["check"]
assert isinstance(my_claim, claims.Claim), f"expected a claim, found {my_claim!r}"

# %% tags=["check", "hidden"]
named = {e.result: e.direction for e in my_claim.evidence}
assert named == {"42.test_stress_3": "at_most"}, (
    f"expected 42.test_stress_3, at most, found {named}"
)
my_conclusion = claims.scorecard(atlas.results_folders, [my_claim]).conclusion.iloc[0]
assert my_conclusion in claims.CONCLUSIONS, f"expected one, found {my_conclusion}"

# %% [markdown]
# 3. Run the book at another profile and compare the scorecards. Which verdicts change? Define `profiles_here`, the sorted list of the names of the atlases beside this one that have a `results/scorecard.csv`, this one included.

# %% tags=["stub"]
profiles_here = ...  # a list of names

# %% tags=["solution"]
others = atlas.path.parent.glob("*/results/scorecard.csv")
profiles_here = sorted({atlas.path.name, *(p.parent.parent.name for p in others)})
profiles_here

# %% tags=["check"]
assert isinstance(profiles_here, list) and atlas.path.name in profiles_here, (
    f"expected a list with {atlas.path.name}, found {profiles_here!r}"
)

# %% tags=["check", "hidden"]
beside = {path.name for path in atlas.path.parent.iterdir()}
assert set(profiles_here) <= beside and profiles_here == sorted(profiles_here), (
    f"expected sorted names of atlases, found {profiles_here}"
)

# %% [markdown]
# ### Quiz
#
# **1.** A claim is judged *not decided*. What would decide it?
#
# <details><summary>Answer</summary>An interval that lies on one side of the bound: more runs or more seeds make it narrower. Such a claim is neither confirmed nor refuted.</details>
#
# **2.** Why are the bounds of the rules written down before the numbers are computed?
#
# <details><summary>Answer</summary>A bound that is chosen after the number is known can always be chosen so that the claim holds. A rule that stands first can fail.</details>

# %% [markdown]
# ## What next
#
# Run a larger profile: `fashion` on a CPU in an evening, `cifar10` on one GPU, `paper` on a cluster.
#
# **References.**
#
# * [Mao2024] Mao et al., *The training process of many deep networks explores the same low-dimensional manifold*, PNAS 121(12), 2024. The rules are ours.
