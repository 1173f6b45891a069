"""The show chapters on tiny atlases of somebody's runs: no seeds, missing values, one split, a few runs.

Code cells run in this process, one name space a chapter, with small numbers of draws: what is tested is that every
chapter computes, or says in a sentence what it lacks. `test_whole_book` runs the same chapters through papermill.
"""

import contextlib
import io
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from manifold_utils import plots
from manifold_utils.atlas import Atlas
from manifold_utils.book.contents import NOTEBOOKS, declared_parameters, read_notebook, tags
from manifold_utils.claims import NotEnough
from manifold_utils.files import read_json

QUICK = {"n_permutations": 9, "n_null": 2, "n_resamples": 3, "n_shuffles": 9, "n_draws": 1, "n_pairs": 20}
QUICK |= {"n_matched": 2, "n_points": 40,  "n_held_out": 2, "n_made": 4}
MADE_FIRST = ("20", "30", "31", "32")


def logits_of(runs, labels, n_checkpoints, n_classes, top):
    """Learners that get sure of the true class, each family first of the samples that are easy for it."""
    found = {}
    for k, (run, family) in enumerate(runs.items()):
        rng, steps = np.random.default_rng(k), np.linspace(0.02, 1, n_checkpoints)
        of_family = np.random.default_rng(sum(map(ord, str(family))))
        easy = of_family.uniform(size=len(labels)) + 0.1 * rng.normal(size=len(labels))
        logits = 0.3 * steps[:, None, None] * rng.normal(size=(1, len(labels), n_classes))
        logits[:, np.arange(len(labels)), labels] += top * np.clip(1.6 * steps[:, None] - 0.6 * easy, 0, None)
        found[run] = logits.astype(np.float32)
    return found


def atlas_of(folder, name, rows, *, family, seed=None, splits=("train", "test"), n_classes=3, n_checkpoints=4, top=8.0):
    table = pd.DataFrame(rows)
    table.insert(0, "run", [f"run-{k}" for k in range(len(table))])
    labels = {split: np.arange(36 if split == "train" else 24) % n_classes for split in splits}
    families = dict(zip(table.run, table[family], strict=True))
    each = {s: logits_of(families, y, n_checkpoints, n_classes, top) for s, y in labels.items()}
    predictions = {run: {split: each[split][run] for split in splits} for run in table.run}
    factors = [c for c in table if c not in ("run", seed)]
    options = {"factors": factors, "family": family, "seed": seed, "trust": True, "data_dir": str(folder)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where nothing is learned, the import doubts the labels
        atlas = Atlas.from_runs(name, table, labels, predictions=predictions, **options)
    profile = atlas.path / "profile.yaml"  # fewer values of progress than a book would have
    text = profile.read_text().partition("\n")[2]  # without its checksum, as older ones are
    profile.write_text(re.sub("n_progress: .*", "n_progress: 20", text))
    return atlas


ATLASES = {
    # no seeds and no repeats; a factor that some learners do not have
    "six": {
        "rows": [{"model": m, "rate": r} for m, r in zip("aabbcc", (0.1, 0.01, 0.1, 0.01, None, 1.0), strict=True)],
        "family": "model",
    },
    # one split, two classes, a family that is a number and has many levels
    "numbers": {
        "rows": [{"depth": 2**k, "seed": s} for k in range(9) for s in (0, 1)],
        "family": "depth",
        "seed": "seed",
        "splits": ("test",),
        "n_classes": 2,
    },
    # nothing is learned: no run gets to s = .2
    "idle": {
        "rows": [{"model": m, "seed": s} for m in "ab" for s in (0, 1)],
        "family": "model",
        "seed": "seed",
        "top": 0.1,
    },
}
ASKED = {
    "six": ("43", "44", "46", "49", "50", "53", "60", "62", "71"),
    "numbers": ("41", "42", "44", "46"),
    "idle": ("44", "46", "60", "62", "71"),
}


def execute(chapter, atlas):
    """(what a chapter printed, RuntimeWarnings and empty legends) of its code cells, run here."""
    notebook = read_notebook(next(NOTEBOOKS.glob(f"{chapter}_*.ipynb")))
    names, said, scope = declared_parameters(notebook), io.StringIO(), {"__name__": "chapter"}
    given = {"profile": atlas.path.name, "data_dir": str(atlas.path.parents[1]), **QUICK}
    with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"chapter {chapter}", "exec"), scope)
                if "parameters" in tags(cell):
                    scope |= {name: value for name, value in given.items() if name in names}
    plt.close("all")
    bad = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning) or "No artists" in str(w.message)]
    return said.getvalue(), bad


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Atlases by name, each with the artefacts of chapters 20 to 32."""
    folder = tmp_path_factory.mktemp("recorded")
    atlases = {}

    def get(name):
        if name not in atlases:
            atlases[name] = atlas_of(folder, name, **ATLASES[name])
            for chapter in MADE_FIRST:
                execute(chapter, atlases[name])
        return atlases[name]

    yield get
    plots.use_house_style()


@pytest.mark.parametrize(("name", "chapter"), [(n, c) for n, chapters in ASKED.items() for c in chapters])
def test_a_chapter_computes_or_says_what_it_lacks(made, name, chapter):
    atlas = made(name)
    try:
        said, bad = execute(chapter, atlas)
    except NotEnough as error:
        assert re.search(r"\d|two", str(error)), "it says how much is there, and how much is needed"
        assert name == "idle" and chapter in ("60", "62", "71")
        return
    assert bad == [] and said
    results = read_json(atlas.path / "results" / f"{chapter}.json")["results"]
    assert results and not any("architecture" in key for key in results)


def test_effects_without_repeats_are_asked_for_in_a_sentence(made):
    said, _ = execute("44", made("six"))
    assert "Effects need repeats as their yardstick" in said
    results = read_json(made("six").path / "results" / "44.json")["results"]
    assert results["rand_model"]["value"] is not None and results["effect_model"]["value"] is None
