"""The open door: atlases of runs that were made anywhere, by array and by file, and what is refused with its cure."""

import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import zarr

from manifold_utils.__main__ import main
from manifold_utils.atlas import Atlas, doubts
from manifold_utils.atlas.checks import log_probs_of
from manifold_utils.book import Edition, book_status
from manifold_utils.book.contents import Book
from manifold_utils.book.holdings import Holdings
from manifold_utils.distances import pairwise
from manifold_utils.files import PROJECT
from manifold_utils.geometry import geodesic, ignorance, progress, truth
from manifold_utils.inpca import InPCA
from manifold_utils.profiles import Design, Profile, RecordedProfile
from manifold_utils.recording import log_probs_from_logits
from manifold_utils.recording.formats import when

N_TRAIN, N_TEST, C, STEPS = 60, 40, 4, (0, 1, 3, 8)
RNG = np.random.default_rng(0)
LABELS = {"train": RNG.permutation(np.arange(N_TRAIN) % C), "test": RNG.permutation(np.arange(N_TEST) % C)}
HARD = {split: RNG.normal(size=len(labels)) for split, labels in LABELS.items()}


def logits_of(number, rate=1.0):
    """Made-up training of one run: logits that grow towards the labels, less so on hard samples."""
    rng = np.random.default_rng(number)
    return {
        split: np.stack(
            [
                rng.normal(size=(len(labels), C)) * 0.4
                + step * rate * (1.5 + HARD[split])[:, None] * np.eye(C)[labels] / 4
                for step in STEPS
            ]
        )
        for split, labels in LABELS.items()
    }


TABLE = pd.DataFrame(
    {
        "run": [f"r{i}" for i in range(6)],
        "model": ["tree", "net"] * 3,
        "rate": [0.1, 0.1, 1.0, 1.0, np.nan, np.nan],
        "seed": [0, 0, 0, 0, 1, 1],
    }
)
LOGITS = {run: logits_of(i, 1 + 0.5 * (i % 2)) for i, run in enumerate(TABLE.run)}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def make(name="mine", table=TABLE, labels=LABELS, predictions=LOGITS, **options):
    return Atlas.from_runs(name, table, labels, predictions=predictions, **options)


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_an_atlas_of_arrays_has_tables_predictions_design_and_profile():
    atlas = make(classes=["a", "b", "c", "d"])
    assert atlas.runs.index.tolist() == TABLE.run.tolist() and set(atlas.runs.grid) == {"main"}
    assert atlas.design == Design(("model", "rate"), "model", "seed") and atlas.splits == ("train", "test")
    assert atlas.factors == ("model", "rate") and atlas.family == "model" and atlas.seed == "seed"
    stored = pd.read_parquet(atlas.path / "runs.parquet")
    assert stored.rate.dtype == float and stored.rate.isna().sum() == 2
    assert atlas.levels["rate"] == ["0.1", "1", "none"], "where one is missing, it is a level of its own"
    logits = LOGITS["r3"]["test"]
    expected = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    assert np.allclose(atlas.run_log_probs("r3", "test"), expected, atol=1e-5)
    own = atlas.points[atlas.points.run == "r3"]
    assert np.allclose(own.loss_test, -expected[:, np.arange(N_TEST), LABELS["test"]].mean(axis=1), atol=1e-5)
    assert np.allclose(own.error_test, (logits.argmax(axis=2) != LABELS["test"]).mean(axis=1))
    assert own.step.tolist() == [0, 1, 2, 3] and len(atlas.table("main")) == 24
    profile = Profile.load("mine")
    assert isinstance(profile, RecordedProfile) and profile == atlas.profile
    assert profile.classes == ["a", "b", "c", "d"] and profile.spaces()[""][1] == ["main"] and profile.configs() == []
    assert Atlas.open("mine").verify() == {}


def test_records_pairs_functions_and_tables_give_the_same_atlas():
    rows = TABLE.to_dict(orient="records")
    one = make("one")
    two = Atlas.from_runs("two", ((row, LOGITS[row["run"]]) for row in rows), LABELS)
    three = make("three", predictions=lambda run: LOGITS[run])
    four = Atlas.from_runs("four", [(row, lambda run=row["run"]: LOGITS[run]) for row in rows], LABELS)
    for other in (two, three, four):
        pd.testing.assert_frame_equal(other.runs, one.runs)
        pd.testing.assert_frame_equal(other.points, one.points)
    from manifold_utils.atlas.records import load_run

    records = [load_run(one.path / "predictions" / f"{run}.zarr") for run in TABLE.run]
    five = Atlas.from_runs("five", records, LABELS)
    assert np.allclose(five.run_log_probs("r1", "train"), one.run_log_probs("r1", "train"), atol=1e-6)
    assert five.design.factors == ("model", "rate")


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_split_is_enough(split):
    predictions = {run: values[split] for run, values in LOGITS.items()}
    atlas = make(labels={split: LABELS[split]}, predictions=predictions)
    other = "test" if split == "train" else "train"
    assert atlas.splits == (split,) and f"loss_{split}" in atlas.points and f"loss_{other}" not in atlas.points
    with pytest.raises(ValueError, match=f"split must be '{split}'"):
        atlas.labels(other)
    assert atlas.verify() == {}


def test_missing_texts_are_a_level_and_numbers_stay_numbers():
    table = TABLE.assign(optim=["sgd", None, "sgd", "adam", None, "sgd"], width=[1, 2, 10, 20, 3, 4])
    table["note"] = list("abcdef")
    atlas = make(table=table)
    assert atlas.runs.optim.tolist() == ["sgd", "none", "sgd", "adam", "none", "sgd"]
    assert atlas.runs.width.tolist() == [1, 2, 10, 20, 3, 4] and atlas.runs.width.dtype.kind == "i"
    assert atlas.factors == ("model", "rate", "optim", "width"), "texts that differ in every run are notes"
    assert atlas.runs.note.tolist() == list("abcdef")


def test_a_diverged_run_is_kept_in_the_table_and_left_out_of_the_points():
    broken = {split: values.copy() for split, values in LOGITS["r2"].items()}
    broken["train"][2:, 5, 1] = np.nan
    atlas = make(predictions={**LOGITS, "r2": broken})
    assert atlas.runs.status["r2"] == "diverged" and atlas.runs.diverged_step["r2"] == 2
    assert "r2" not in set(atlas.points.run) and len(atlas.points) == 20


def test_a_masked_class_is_exact_everywhere():
    masked = {run: {s: v.copy() for s, v in values.items()} for run, values in LOGITS.items()}
    for values in masked.values():
        for split, array in values.items():
            wrong = (LABELS[split] + 1) % C
            array[:, np.arange(len(wrong)), wrong] = -np.inf
    atlas = make(predictions=masked)
    log_probs, labels = np.asarray(atlas.log_probs("test")), LABELS["test"]
    assert np.isneginf(log_probs).any()
    dense = np.delete(log_probs[0], 0, axis=1)  # by hand: a masked class adds nothing to any sum
    assert dense.shape == (N_TEST, C - 1)
    D = pairwise(log_probs)
    by_hand = -np.log(np.exp(0.5 * (log_probs[3].astype(float) + log_probs[9])).sum(axis=1)).mean()
    assert np.isclose(D[3, 9], by_hand, rtol=1e-6) and np.isfinite(D).all()
    s = progress(log_probs, labels)
    assert ((s >= 0) & (s <= 1)).all() and s[3] > s[0]
    road = geodesic(log_probs[:1], truth(labels, C), [0.0, 0.5, 1.0])
    assert np.allclose(np.exp(road).sum(axis=2), 1) and np.allclose(np.exp(road[0]), np.exp(log_probs[0]), atol=1e-6)
    estimator = InPCA(n_components=len(D) - 1).fit(D)
    x = estimator.embedding_
    rebuilt = ((x[:, None] - x[None]) ** 2) @ estimator.signature_
    assert np.allclose(rebuilt, D, atol=1e-8)
    assert np.isfinite(pairwise(log_probs, ignorance(N_TEST, C))).all()


# -- again: what is there stays ----------------------------------------------------------------------------------------


def test_called_again_it_keeps_what_is_there_adds_what_is_new_and_refuses_what_changed():
    make(table=TABLE[:4])
    stamp = {p: p.stat().st_mtime_ns for p in (Atlas.open("mine").path / "predictions").glob("*/zarr.json")}
    atlas = make(table=TABLE.iloc[::-1])
    assert atlas.runs.index.tolist() == ["r0", "r1", "r2", "r3", "r5", "r4"], "old runs first, then as they come"
    assert all(path.stat().st_mtime_ns == time for path, time in stamp.items())
    before = atlas.points_fingerprint()
    changed = {**LOGITS, "r1": logits_of(99)}
    with pytest.raises(ValueError, match=r"1 of 6 runs were refused.*\n.*'r1'.*predictions are others.*--replace"):
        make(predictions=changed)
    with pytest.raises(ValueError, match="model was 'tree' and is 'forest'"):
        make(table=TABLE.replace("tree", "forest"))
    assert Atlas.open("mine").points_fingerprint() == before
    replaced = make(predictions=changed, replace=True)
    assert replaced.points_fingerprint() != before, "distances of the old predictions no longer fit"
    assert np.allclose(replaced.points.loss_test[4:8], make("other", predictions=changed).points.loss_test[4:8])


def test_a_bad_run_late_does_not_lose_the_earlier_ones():
    broken = {**LOGITS, "r4": {s: v[:, :-1] for s, v in LOGITS["r4"].items()}}
    with pytest.raises(ValueError, match=r"the atlas has 5 runs now:\n.*'r4', train: shape \(4, 59, 4\)"):
        make(predictions=broken)
    assert len(Atlas.open("mine").runs) == 5
    assert len(make().runs) == 6


def test_a_call_that_dies_between_runs_goes_on(data):
    def deadly(run):
        if run == "r3":
            raise KeyboardInterrupt
        return LOGITS[run]

    with pytest.raises(KeyboardInterrupt):
        make(predictions=deadly)
    with pytest.raises(ValueError, match="did not come to its end: call it again"):
        Edition("mine")
    stored = {p: p.stat().st_mtime_ns for p in (data / "atlases" / "mine" / "predictions").glob("*/zarr.json")}
    assert len(stored) == 3
    assert len(make().runs) == 6 and all(path.stat().st_mtime_ns == time for path, time in stored.items())


# -- refusals ----------------------------------------------------------------------------------------------------------


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


PROBABILITIES = softmax(LOGITS["r1"]["test"])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("logits", PROBABILITIES, "these are probabilities .*--kind probabilities"),
        ("logits", PROBABILITIES.astype(np.float16), "these are probabilities"),
        ("logits", PROBABILITIES.astype(np.float32).view(np.uint32) >> 16 << 16, "these are probabilities"),
        ("logits", PROBABILITIES.round(2), "these are probabilities"),
        ("logits", 100 * PROBABILITIES, "percentages .*divide by 100"),
        ("logits", (100 * PROBABILITIES).round().astype(int), "percentages"),
        ("logits", 1 / (1 + np.exp(-LOGITS["r1"]["test"])), "independent sigmoids"),
        ("log_probs", LOGITS["r1"]["test"], "no log-probabilities.*--kind logits"),
        ("log_probs", PROBABILITIES, "probabilities, not their logarithm"),
        ("log_probs", np.log2(PROBABILITIES), "base 2.*multiply by 0.6931472"),
        ("probabilities", LOGITS["r1"]["test"], "these are logits.*--kind logits"),
        ("probabilities", np.log(PROBABILITIES), "these are log-probabilities.*--kind log_probs"),
        ("probabilities", 100 * PROBABILITIES, "percentages"),
        ("probabilities", 1 / (1 + np.exp(-LOGITS["r1"]["test"])), "rows sum to between .*sigmoids"),
        ("probabilities", np.abs(LOGITS["r1"]["test"]) + 1, "no probabilities"),
        ("probabilities", np.tile([0.25, 0.25, 0.25, 0.24], (2, 40, 1)), "rounded to two decimals.*unrounded"),
    ],
)
def test_another_kind_of_numbers_is_refused_by_every_door(kind, values, message):
    if values.dtype == np.uint32:  # bfloat16: the upper half of a float32
        values = values.view(np.float32)
    with pytest.raises(ValueError, match=message):
        log_probs_of(values, kind)
    predictions = {run: values for run in TABLE.run}
    with pytest.raises(ValueError, match=message):
        make(labels={"test": LABELS["test"][: values.shape[1]]}, predictions=predictions, kind=kind)
    if kind == "logits":
        with pytest.raises(ValueError, match=message):
            log_probs_from_logits(values, *values.shape[1:])
    if values.min() >= 0 or kind != "probabilities":
        assert np.isfinite(log_probs_of(values, kind, trust=True)).any(), "a reader may know better"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["logits", "log_probs", "probabilities"])
def test_the_right_kind_is_taken_in_every_precision(kind, dtype):
    logits = LOGITS["r1"]["test"]
    values = {"logits": logits, "log_probs": np.log(PROBABILITIES), "probabilities": PROBABILITIES}[kind].astype(dtype)
    found = log_probs_of(values, kind)
    assert found.dtype == np.float32 and np.allclose(np.exp(found).sum(axis=2), 1, atol=1e-5)
    assert np.allclose(np.exp(found), PROBABILITIES, atol=3e-3 if dtype == np.float16 else 1e-6)


def test_flat_logits_and_votes_are_no_mistake():
    assert np.allclose(np.exp(log_probs_of(np.zeros((2, 40, 5)))), 0.2), "a network that starts with zeros"
    votes = np.array([[[0.2, 0.8], [0.61, 0.39]]])
    assert np.allclose(np.exp(log_probs_of(votes, "probabilities")), votes)


def with_one(split, change, run="r3"):
    values = {s: v.copy() for s, v in LOGITS[run].items()}
    values[split] = change(values[split])
    return {**LOGITS, run: values}


def put(value, *places):
    def change(array):
        array[places] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(np.nan, 1, 5, 2), "'r3', test: checkpoint 1, sample 5, class 2 is nan"),
        (put(np.inf, 2, 5, 2), "checkpoint 2, sample 5, class 2 is inf"),
        (put(np.nan, slice(None), 0, 0), "its first checkpoint holds NaN"),
        (put(-np.inf, 1, 5), "checkpoint 1, sample 5: every class is masked"),
        (put(-np.inf, 3, 0, int(LABELS["test"][0])), "sample 0 has probability 0 for its true class.*--smoothing"),
        (lambda a: a[:, :-1], r"shape \(4, 39, 4\), but there are 40 labels of test"),
        (lambda a: a[:, :, :-1], "3 classes, but 4 in the other runs"),
        (lambda a: a.transpose(0, 2, 1), "classes before samples: exchange the last two axes"),
        (lambda a: a[:-1], "train and test have another number of checkpoints"),
        (lambda a: a[:, :, :1], "a single column a sample"),
        (lambda a: a[:, :, [1, 0, 2, 3]], r"another order than the classes.*0 -> 1.*reorder the columns"),
        (lambda a: a.astype(str), "must be numbers"),
        (lambda a: a[0, 0], "expected .*n_samples, n_classes"),
    ],
)
def test_bad_predictions_are_refused_and_named(change, message):
    with pytest.raises(ValueError, match=message) as error:
        make(predictions=with_one("test", change))
    assert "'r3'" in str(error.value) and len(Atlas.open("mine").runs) == 5


def test_true_classes_of_probability_zero_can_be_smoothed():
    predictions = with_one("test", put(-np.inf, 3, 0, int(LABELS["test"][0])))
    atlas = make(predictions=predictions, smoothing=0.01)
    assert np.isclose(np.exp(atlas.run_log_probs("r3", "test")[3, 0, LABELS["test"][0]]), 0.01 / C)
    assert np.allclose(np.exp(atlas.run_log_probs("r3", "test")).sum(axis=2), 1, atol=1e-5)
    with pytest.raises(ValueError, match="were smoothed by 0.01, these would be by 0"):
        make()


def test_an_import_of_before_smoothing_was_noted_goes_on():
    path = make().path / "recorded.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({key: facts[key] for key in ("runs", "fingerprint")}))
    with pytest.raises(ValueError, match="were smoothed by 0, these would be by 0.01"):
        make(smoothing=0.01)
    assert len(make().runs) == 6 and json.loads(path.read_text())["smoothing"] == 0.0


def test_pictures_of_the_samples_are_kept():
    pictures = {split: RNG.integers(0, 256, (len(labels), 8, 8)).astype(np.uint8) for split, labels in LABELS.items()}
    atlas = make(samples=pictures)
    assert np.array_equal(atlas.samples("test"), pictures["test"]) and make("other").samples("test") is None
    with pytest.raises(ValueError, match="there are 40 labels"):
        make("third", samples={"test": pictures["test"][:-1]})


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (TABLE.replace("r3", "r2"), {}, "rows 3 and 4 are both called 'r2'"),
        (TABLE.replace("r3", "../r3"), {}, r"row 4: run '../r3' cannot be a file's name"),
        (TABLE.replace("r3", "a/b"), {}, "cannot be a file's name"),
        (TABLE.replace("r3", ""), {}, "row 4: a run needs a name"),
        (TABLE.rename(columns={"run": "name"}), {}, "no column 'run'.*name, model"),
        (TABLE[:2], {}, "2 runs are too few.*at least 3"),
        (TABLE[:0], {}, "no rows"),
        (TABLE, {"factors": ["model", "dropout"]}, "no column 'dropout'; it has run, model, rate, seed"),
        (TABLE, {"factors": ["rate"], "family": "model"}, "family 'model' is none of the factors rate"),
        (TABLE, {"factors": ["rate", "seed"], "seed": "seed"}, "the seed is none of them"),
        (TABLE, {"seed": "trial"}, "no column 'trial'"),
        (TABLE[["run", "seed"]], {}, "there is no factor"),
        (TABLE.assign(grid=1), {"factors": ["grid", "model"]}, "'grid'.*rename the factor"),
        (TABLE.assign(steps=[[0, 2, 1, 3]] * 6), {}, "'r0': step 1 comes after step 2: steps must grow"),
        (TABLE.assign(steps=[[0, 1, 2]] * 6), {}, "3 steps for 4 checkpoints"),
        (TABLE, {"kind": "scores"}, "kind must be one of"),
        (TABLE, {"smoothing": 2}, "smoothing is a part of 1"),
        (TABLE, {"classes": ["a", "b"]}, "4 classes, but 2 names of classes"),
        (TABLE, {"labels": {"train": LABELS["train"] + 1, "test": LABELS["test"] + 1}}, "count from 1: subtract 1"),
        (TABLE, {"labels": {s: np.where(v == 0, -100, v) for s, v in LABELS.items()}}, "the samples without a label"),
        (TABLE, {"labels": {s: np.eye(C)[v] for s, v in LABELS.items()}}, "one-hot.*argmax"),
        (TABLE, {"labels": {s: v + 0.5 for s, v in LABELS.items()}}, "whole numbers"),
        (TABLE, {"labels": {s: v.astype(str) for s, v in LABELS.items()}}, "labels are texts.*--classes"),
        (TABLE, {"labels": {"dev": LABELS["test"]}}, "'train', 'test' or both; found dev"),
        (TABLE, {"labels": {"test": LABELS["test"]}}, "predictions on train, test, and there are labels of test"),
        (TABLE, {"name": "digits"}, "the name of a profile"),
        (TABLE, {"name": "../x"}, "cannot be the name of an atlas"),
        (TABLE, {"predictions": {k: v for k, v in LOGITS.items() if k != "r5"}}, "no predictions of 1 runs.*'r5'"),
    ],
)
def test_mistakes_in_the_table_or_the_labels_are_refused_before_anything_is_written(table, options, message, data):
    with pytest.raises(ValueError, match=message):
        make(**{"table": table, **options})
    assert not (data / "atlases").exists() or not list((data / "atlases").iterdir())


def test_samples_in_another_order_are_refused_by_labels_and_doubted_without():
    rng, order = np.random.default_rng(1), {}
    order["any"] = rng.permutation(N_TRAIN)
    within = np.arange(N_TRAIN)
    for c in range(C):
        members = np.flatnonzero(LABELS["train"] == c)
        within[members] = rng.permutation(members)
    order["within"] = within
    rows = TABLE.to_dict(orient="records")
    shuffled = {"train": LABELS["train"][order["any"]], "test": LABELS["test"]}
    offered = [(r, LOGITS[r["run"]], shuffled if r is rows[3] else LABELS) for r in rows]
    with pytest.raises(ValueError, match="'r3', train: .*the same labels in another order"):
        Atlas.from_runs("ordered", offered, LABELS)
    other = {"train": LABELS["train"], "test": (LABELS["test"] * 2) % C}
    offered = [(r, LOGITS[r["run"]], other if r is rows[3] else LABELS) for r in rows]
    with pytest.raises(ValueError, match="'r3', test: .*other labels: these are other samples"):
        Atlas.from_runs("other", offered, LABELS)
    for name, words in {"any": "never better than chance on train", "within": "shares nothing .* on train"}.items():
        with pytest.warns(UserWarning, match=f"'r3' (is )?{words}") as told:
            make(name, predictions=with_one("train", lambda a, o=order[name]: a[:, o]))
        assert len(told) == 1, "no other run is doubted"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("good")
    with pytest.warns(UserWarning, match="'late' is never better"):  # added alone, to runs that were there
        row = {"run": "late", "model": "net", "rate": 0.5, "seed": 3}
        values = {s: v[:, ::-1] for s, v in logits_of(50).items()}
        Atlas.from_runs("good", [(row, values)], LABELS)


def test_an_untrained_network_that_mistakes_classes_is_no_exchange_of_columns():
    labels = np.repeat([0, 1, 2], 30)
    wrong = 4 * np.eye(3)[(labels + 1) % 3]
    begins = np.stack([wrong, wrong / 2])  # training leads away from the mistake
    doubts.refuse_exchanged(np.log(softmax(begins)), labels, "run")
    with pytest.raises(ValueError, match="0 -> 1, 1 -> 2, 2 -> 0"):
        doubts.refuse_exchanged(np.log(softmax(begins[::-1])), labels, "run")


def test_a_name_that_is_a_profile_and_an_atlas_is_refused(data):
    atlas = make()
    atlas.path.rename(data / "atlases" / "digits")
    with pytest.raises(ValueError, match="'digits' is a profile .* and an atlas of recorded runs"):
        Profile.load("digits")
    with pytest.raises(ValueError, match="no profile 'nothing'.*known profiles: cifar10.*recorded runs in .*: digits"):
        Profile.load("nothing")


# -- what the book makes of it -----------------------------------------------------------------------------------------


def test_what_a_chapter_lacks_is_asked_of_the_table_and_said_in_words():
    make(labels={"test": LABELS["test"]}, predictions={run: v["test"] for run, v in LOGITS.items()}, table=TABLE[:3])
    edition = Edition("mine")
    states = {name[:2]: (state, reason) for name, state, reason in book_status(edition)}
    assert states["10"][0] == states["11"][0] == "recorded" and states["20"][0] == "new"
    assert states["40"] == ("left out", "this profile lacks predictions on train samples")
    assert states["61"][0] == states["45"][0] == "left out" and "trains itself" in states["61"][1]
    assert edition.holdings == Holdings(("main",), ("test",), 3, 2, 2, 1, 4, False, "model")
    twice = Edition("twice") if make("twice", table=TABLE.assign(rate=1.0)) else None
    assert twice.holdings.seeds == 3, "repeats of a configuration"
    of_digits = Holdings.of_grids(Profile.load("digits"))
    assert not any(of_digits.lacking(chapter) for chapter in Book().chapters)


def test_a_job_is_run_again_when_runs_were_added():
    make(table=TABLE[:4])
    edition = Edition("mine")
    (job,) = edition.jobs(edition.book.by_id["20"])
    before = edition.inputs(job)
    assert before["needs"]["recorded"] and edition.inputs(job) == before
    make()
    assert Edition("mine").inputs(job)["needs"] != before["needs"]


# -- files -------------------------------------------------------------------------------------------------------------


def write_npy(path, array):
    np.save(path.with_suffix(".npy"), array)


def write_npz(path, array):
    np.savez(path.with_suffix(".npz"), array)


def write_npz_of_checkpoints(path, array):
    np.savez(path.with_suffix(".npz"), **{f"step_{s}": a for s, a in zip(STEPS, array, strict=True)})


def write_zarr(path, array):
    zarr.save_array(str(path.with_suffix(".zarr")), array, zarr_format=3)


def write_safetensors(path, array):
    from safetensors.numpy import save_file

    save_file({"logits": np.ascontiguousarray(array), "steps": np.array(STEPS)}, path.with_suffix(".safetensors"))


def table_of(array):
    rows = [{"step": s, "sample": n, **{f"c{k}": v for k, v in enumerate(row)}}
            for s, point in zip(STEPS, array, strict=True) for n, row in enumerate(point)]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def write_parquet(path, array):
    table_of(array).to_parquet(path.with_suffix(".parquet"))


def write_csv(path, array):
    table_of(array).to_csv(path.with_suffix(".csv"), index=False)


def write_folder(path, array):
    path.mkdir()
    for step, one in zip(STEPS, array, strict=True):
        np.save(path / f"step_{step}.npy", one)


FORMATS = {
    ".npy": (write_npy, False), ".npz": (write_npz, False), "checkpoints.npz": (write_npz_of_checkpoints, True),
    ".zarr": (write_zarr, False), ".safetensors": (write_safetensors, True), ".parquet": (write_parquet, True),
    ".csv": (write_csv, True), "": (write_folder, True),
}  # fmt: skip


def lay_out(folder, writer=write_npy, table=TABLE):
    (folder / "logits").mkdir(parents=True)
    table.to_csv(folder / "runs.csv", index=False)
    for run in table.run:
        for split, array in LOGITS[run].items():
            writer(folder / "logits" / f"{run}_{split}", array)
    for split, labels in LABELS.items():
        np.save(folder / f"labels_{split}.npy", labels)
    return folder


def command(folder, *options, name="mine", ending=".npy", **changed):
    given = {
        "runs": folder / "runs.csv",
        "predictions": folder / "logits" / ("{run}_{split}" + ending),
        "labels": folder / "labels_{split}.npy",
        **changed,
    }
    return main(["import", name, *(str(x) for key, value in given.items() for x in (f"--{key}", value)), *options])


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_with_its_steps(kind, tmp_path, capsys):
    writer, knows_steps = FORMATS[kind]
    folder = lay_out(tmp_path / "files", writer)
    options = [] if knows_steps else ["--steps", ",".join(map(str, STEPS))]
    assert command(folder, *options, ending=kind.removeprefix("checkpoints")) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "6 runs imported, 0 were there" in said and "run --profile mine" in said
    atlas, other = Atlas.open("mine"), make("other", table=TABLE.assign(steps=[STEPS] * 6))
    assert atlas.points.step.tolist() == list(STEPS) * 6
    for split in atlas.splits:
        assert np.allclose(atlas.log_probs(split), other.log_probs(split), atol=1e-5)
    assert command(folder, *options, ending=kind.removeprefix("checkpoints")) == 0
    assert "0 runs imported, 6 were there" in capsys.readouterr().out


def test_other_ways_to_lay_out_files(tmp_path):
    folder = lay_out(tmp_path / "files")
    both, parts = tmp_path / "both", tmp_path / "parts"
    both.mkdir()
    for run, values in LOGITS.items():
        np.savez(both / f"{run}.npz", **values)
        for split, array in values.items():
            for epoch, one in enumerate(array):
                place = parts / run / f"epoch-{epoch / 2}"
                place.mkdir(parents=True, exist_ok=True)
                np.savetxt(place / f"{split}.csv", one, delimiter=",")
    assert command(folder, name="one") == 0
    assert command(folder, name="two", predictions=both / "{run}.npz") == 0
    assert command(folder, name="three", predictions=parts / "{run}" / "epoch-{epoch}" / "{split}.csv") == 0
    one, two, three = (Atlas.open(name) for name in ("one", "two", "three"))
    assert three.points.epoch[:4].tolist() == [0.0, 0.5, 1.0, 1.5] and three.points.step[:4].tolist() == [0, 1, 2, 3]
    for other in (two, three):
        assert other.splits == one.splits and np.allclose(other.log_probs("test"), one.log_probs("test"), atol=1e-6)
    table = TABLE.assign(steps=["0 5 7 9", "[0, 5, 7, 8]"] * 3, epochs=[3] * 6)
    table.to_csv(folder / "runs.csv", index=False, sep=";")
    assert command(folder, name="four") == 0
    four = Atlas.open("four")
    assert four.points.step[:8].tolist() == [0, 5, 7, 9, 0, 5, 7, 8] and "epochs" in four.design.factors


def test_texts_for_labels_names_of_runs_and_one_split(tmp_path):
    table = TABLE.assign(run=[f"{i:03d}" for i in range(6)])
    (tmp_path / "p").mkdir()
    for i, run in enumerate(table.run):
        np.save(tmp_path / "p" / f"{run}.npy", LOGITS[f"r{i}"]["test"])
    table.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    names = np.array(["ant", "bee", "cat", "dog"])[LABELS["test"]]
    pd.DataFrame({"label": names}).to_csv(tmp_path / "labels.csv", index=False)
    options = ["--classes", str(tmp_path / "classes.txt")]
    where = {"predictions": tmp_path / "p" / "{run}.npy", "labels": tmp_path / "labels.csv"}
    assert command(tmp_path, *options, **where) == 0
    atlas = Atlas.open("mine")
    assert atlas.runs.index[1] == "001" and atlas.splits == ("test",)
    assert atlas.profile.classes == ["ant", "bee", "cat", "dog"]
    assert atlas.labels("test").tolist() == LABELS["test"].tolist()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: (f / "logits" / "r4_test.npy").unlink(), {}, "of 1 of 6 runs are missing: .*r4_test.npy"),
        (None, {"predictions": "logits/all.npy"}, r"the pattern needs \{run\}"),
        (None, {"predictions": "logits/{run}_{fold}.npy"}, r"\{fold\} means nothing"),
        (None, {"predictions": "nowhere/{run}_{split}.npy"}, "neither nowhere/r0_train.npy nor nowhere/r0_test.npy"),
        (None, {"predictions": "logits\\{run}_{split}.npy"}, "no predictions of run 'r0'.* write / between folders"),
        (None, {"labels": "nowhere_{split}.npy"}, "no labels of it at nowhere_train.npy"),
        (None, {"runs": "nowhere.csv"}, "no table of runs"),
        (lambda f: (f / "logits" / "r2_test.npy").write_bytes(b"junk"), {}, "r2_test.npy"),
        (lambda f: np.save(f / "logits" / "r2_test.npy", np.zeros((4, 7, C))), {}, r"r2_test.npy: \(7, 4\).*\(40, 4\)"),
        (lambda f: np.save(f / "logits" / "r0_train.npy", np.array([{}])), {}, "Python objects, .*never opened"),
        (lambda f: np.save(f / "labels_test.npy", LABELS["test"][:-1]), {}, "but there are 39 labels of test"),
        (None, {"steps": "0,1,2"}, "3 steps for 4 checkpoints"),
        (None, {"steps": "nothing"}, "neither a list .* nor a column of the table, nor a file"),
    ],
)
def test_mistakes_in_files_are_named_before_anything_is_written(change, options, message, tmp_path, capsys, data):
    folder = lay_out(tmp_path / "files")
    if change:
        change(folder)
    assert command(folder, **options) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (data / "atlases").exists()


def test_pickles_and_old_zarr_are_never_opened(tmp_path, capsys):
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    folder = lay_out(tmp_path / "files")
    for ending in (".pt", ".pkl"):
        for run in TABLE.run:
            for split in LABELS:
                (folder / "logits" / f"{run}_{split}{ending}").write_bytes(pickle.dumps(Trap()))
        assert command(folder, ending=ending) == 2 and "never opened" in capsys.readouterr().err
    np.save(folder / "logits" / "r0_train.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert command(folder) == 2
    old = folder / "old"
    for run in TABLE.run:
        zarr.save_array(str(old / f"{run}_test.zarr"), LOGITS[run]["test"], zarr_format=2)
    assert command(folder, predictions=old / "{run}_{split}.zarr") == 2
    assert "Zarr format 2" in capsys.readouterr().err and not (tmp_path / "trapped").exists()


def test_names_of_checkpoints():
    assert when("step=12.npy") == {"step": 12.0} and when("run7/epoch_2.5") == {"epoch": 2.5}
    assert when("global_step40") == {"step": 40.0} and when("ckpt-000300") == {"step": 300.0} and when("last") == {}


def test_labels_of_every_run_are_compared(tmp_path, capsys):
    folder = lay_out(tmp_path / "files")
    for run in TABLE.run:
        for split, labels in LABELS.items():
            own = labels[::-1] if (run, split) == ("r4", "test") else labels
            np.save(folder / f"labels_{run}_{split}.npy", own)
    assert command(folder, labels=folder / "labels_{run}_{split}.npy") == 2
    assert re.search(r"'r4' .*, test: .* the same labels in another order", capsys.readouterr().err)


KILLED = """
import os, signal, sys
from manifold_utils.atlas import Atlas
from manifold_utils.__main__ import main
saved, n = Atlas.save_run, [0]
def deadly(self, record, grid):
    saved(self, record, grid)
    n[0] += 1
    if n[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Atlas.save_run = deadly
main(sys.argv[1:])
"""


def test_killed_and_called_again_it_goes_on(tmp_path, capsys):
    folder = lay_out(tmp_path / "files")
    where = ["--runs", folder / "runs.csv", "--predictions", folder / "logits" / "{run}_{split}.npy"]
    call = ["import", "mine", *where, "--labels", folder / "labels_{split}.npy"]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, call)], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert command(folder) == 0
    assert "3 runs imported, 3 were there" in capsys.readouterr().out
    assert len(Atlas.open("mine").points) == 24 and not list(Atlas.open("mine").path.rglob(".tmp-*"))


def test_plan_status_and_publish_of_recorded_runs(capsys):
    make()
    assert main(["plan", "--profile", "mine"]) == 0 and "nothing to train" in capsys.readouterr().out
    assert main(["status", "--profile", "mine"]) == 0 and "recorded 10_data" in capsys.readouterr().out
    assert main(["publish", "--profile", "mine"]) == 2 and "recorded runs" in capsys.readouterr().err
    assert main(["html", "--profile", "mine"]) == 2 and "not run yet" in capsys.readouterr().err
    assert json.loads((Atlas.open("mine").path / "recorded.json").read_text())["runs"] == 6


# -- tables that others have written -----------------------------------------------------------------------------------

NAMES = ["ant", "bee", "cat", "dog"]


def lay_out_tables(folder, change=lambda table, run: table, labels=lambda: pd.DataFrame({"label": LABELS["test"]})):
    """One table of probabilities a run, with columns of somebody's own names."""
    (folder / "p").mkdir(parents=True)
    TABLE.to_csv(folder / "runs.csv", index=False)
    for run in TABLE.run:
        table = pd.DataFrame(softmax(LOGITS[run]["test"]).reshape(-1, C), columns=[f"prob_{name}" for name in NAMES])
        table.insert(0, "step", np.repeat(STEPS, N_TEST))
        change(table, run).to_csv(folder / "p" / f"{run}.csv", index=False)
    labels().to_csv(folder / "labels.csv", index=False)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def take_tables(folder, *options, name="mine"):
    where = {"predictions": folder / "p" / "{run}.csv", "labels": folder / "labels.csv", "kind": "probabilities"}
    return command(folder, *options, name=name, **where)


def reordered(table, run):
    return table[table.columns[::-1]] if run in ("r0", "r3") else table


def with_notes(table, run):
    return table.assign(doc_id=np.tile(np.arange(N_TEST), len(STEPS)), note="x")


def shuffled(table, run):
    numbered = table.assign(sample=np.tile(np.arange(N_TEST), len(STEPS)))
    return numbered.sample(frac=1, random_state=0)


def labels_in_another_order():
    table = pd.DataFrame({"sample": np.arange(N_TEST), "true_class": LABELS["test"]})
    return table.sample(frac=1, random_state=1)


@pytest.mark.parametrize(
    ("change", "labels", "options"),
    [
        (reordered, None, True),
        (with_notes, None, True),
        (shuffled, labels_in_another_order, False),
        (lambda t, r: t, lambda: pd.DataFrame({"true_class": LABELS["test"]}), False),
        (lambda t, r: t, lambda: pd.DataFrame({"label": np.array(NAMES)[LABELS["test"]]}), True),
    ],
)
def test_columns_of_own_names_are_understood(change, labels, options, tmp_path, capsys):
    folder = lay_out_tables(tmp_path / "files", change, **({"labels": labels} if labels else {}))
    named = ["--classes", str(folder / "classes.txt")] if options else []
    assert take_tables(folder, *named) == 0, capsys.readouterr().err
    expected = make("other", labels={"test": LABELS["test"]}, predictions={r: v["test"] for r, v in LOGITS.items()})
    assert np.allclose(Atlas.open("mine").log_probs("test"), expected.log_probs("test"), atol=1e-4)


def test_without_names_of_classes_the_columns_of_all_runs_are_put_in_one_order(tmp_path):
    folder = lay_out_tables(tmp_path / "files", lambda t, r: t[t.columns[::-1]] if r == "r3" else t)
    assert take_tables(folder) == 0
    assert np.allclose(Atlas.open("mine").run_log_probs("r3", "test"), np.log(softmax(LOGITS["r3"]["test"])), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "labels", "named", "message"),
    [
        (with_notes, None, False, "column 'doc_id|column 'note' holds no numbers.*--classes"),
        (lambda t, r: t.assign(nr=range(len(t))), None, False, "column 'nr' looks like no class.*--classes"),
        (lambda t, r: t.assign(correct=1), None, False, "column 'correct' looks like no class"),
        (lambda t, r: t.rename(columns={"prob_ant": "emu"}), None, True, "name the columns after"),
        (lambda t, r: t.rename(columns={"prob_ant": "emu"} if r == "r3" else {}), None, False, "r3.csv: the columns"),
        (lambda t, r: t.assign(prob_ant=t.prob_ant - 0.01 * (t.prob_ant > 0.01)), None, False, "a class is missing"),
        (lambda t, r: t, lambda: pd.DataFrame({"a": LABELS["test"], "b": 0}), False, "no column 'label'.*rename one"),
    ],
)  # fmt: skip
def test_columns_whose_meaning_is_not_known_are_refused(change, labels, named, message, tmp_path, capsys, data):
    folder = lay_out_tables(tmp_path / "files", change, **({"labels": labels} if labels else {}))
    assert take_tables(folder, *(["--classes", str(folder / "classes.txt")] if named else [])) == 2
    assert re.search(message, said := capsys.readouterr().err) and "error: " in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("logits/r0_train.npy", b"p0,p1\n0.5,0.5\n", r"r0_train.npy .*it is no .npy file.*begins with b'p0,p1"),
        ("labels_test.npy", b"label\n1\n", "labels_test.npy .*it is no .npy file"),
        ("labels_test.npy", b"", "labels_test.npy"),
        ("runs.csv", b"\x93NUMPY\x01\x00v\x00{", "runs.csv .*it is no .csv file"),
        ("runs.csv", "run,model\nr0,größe\n".encode("latin-1"), "runs.csv cannot be read: it is not in UTF-8"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(name, content, message, tmp_path, capsys):
    folder = lay_out(tmp_path / "files")
    (folder / name).write_bytes(content)
    assert command(folder) == 2
    assert re.search(message, said := capsys.readouterr().err) and len(said.splitlines()) == 1


def test_labels_of_several_arrays_are_named_after_their_split(tmp_path, capsys):
    folder = lay_out(tmp_path / "files")
    np.savez(folder / "labels.npz", y_train=LABELS["train"], y_test=LABELS["test"])
    assert command(folder, labels=folder / "labels.npz") == 0, capsys.readouterr().err
    assert Atlas.open("mine").labels("test").tolist() == LABELS["test"].tolist()
    np.savez(folder / "labels.npz", a=LABELS["train"], b=LABELS["test"])
    assert command(folder, name="other", labels=folder / "labels.npz") == 2
    assert "holds a, b, and none is called 'train'" in capsys.readouterr().err
