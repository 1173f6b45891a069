"""Recordings that a crash cut in two, saved runs that a new one would shorten, mistakes that cost a training."""

import os
import warnings

import numpy as np
import pytest
import torch

from manifold_utils.atlas import Atlas
from manifold_utils.recording import Diverged, Recorder, load_run
from manifold_utils.recording.callbacks.taking import Taking

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)).astype(np.float32), np.arange(30) % 3
FACTORS = {"model": "linear", "rate": np.float32(0.5), "seed": np.int64(1), "width": torch.tensor(8)}


def recorder(name="a", *, x=X, factors=FACTORS):
    return Recorder({"test": (x, Y)}, name, factors=factors)


def filled(steps, made=None, **options):
    made = made or recorder(**options)
    for step in steps:
        made.add(logits=step * np.eye(3)[Y] / 5 + np.cos(np.arange(90)).reshape(30, 3), step=step, epoch=step / 10)
    return made


def test_a_training_that_resumes_from_a_checkpoint_is_one_run(tmp_path):
    whole, path = filled(range(0, 60, 10)).run(), tmp_path / "a"
    first = recorder()
    assert first.resume(path) is None, "a script asks at every start"
    filled((0, 10, 20, 30), first).save(path)
    again = recorder()
    assert again.resume(path, step=25) == 20 and again.last_step == 20, "step 30 comes again"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled((30, 40, 50), again).save(path)
    found = load_run(path)
    assert found.points.equals(whole.points) and np.array_equal(found.log_probs["test"], whole.log_probs["test"])
    assert found.factors == {"model": "linear", "rate": 0.5, "seed": 1, "width": 8}
    with pytest.raises(ValueError, match="resume comes before the first checkpoint"):
        again.resume(path)
    nothing = recorder()
    assert nothing.resume(path, step=-1) is None and nothing.last_step is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "b"}, "holds the run 'a' .* this recorder is 'b'"),
        ({"factors": {"model": "mlp"}}, "give the folder of the run that goes on"),
        ({"x": X + 1}, "recorded on other samples, or in another order"),
    ],
)
def test_only_the_same_run_goes_on(options, message, tmp_path):
    path = filled((0, 10)).save(tmp_path / "a")
    with pytest.raises(ValueError, match=message):
        recorder(**options).resume(path)


def test_no_saved_checkpoint_is_lost_to_a_later_run(tmp_path):
    path = filled((0, 10, 20)).save(tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled((0, 10, 20, 30)).save(path)  # the same script once more, and longer
    second = filled((20, 30))
    with pytest.warns(UserWarning, match=r"2 checkpoints that this one lacks; it is kept as .*a.before-1.*resume\('"):
        second.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled((40,), second).save(path)
    assert load_run(path).points.step.tolist() == [20, 30, 40]
    assert load_run(tmp_path / "a.before-1").points.step.tolist() == [0, 10, 20, 30]
    with pytest.warns(UserWarning, match="another run .'a'.* kept as .*a.before-2"):
        filled((20, 30, 40), name="b").save(path)
    assert load_run(tmp_path / "a.before-2").points.step.tolist() == [20, 30, 40] and load_run(path).name == "b"
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace('"step"', '"stop"'))
    with pytest.warns(UserWarning, match="a damaged run; it is kept"):
        filled((0,), name="b").save(path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_callback_of_a_training_from_a_checkpoint_goes_on_with_what_was_saved(tmp_path):
    model, path = torch.nn.Linear(3, 3), tmp_path / "a"
    first = Taking(recorder(), steps=2, save=path)
    for step in range(5):
        first.take(model, step, step / 5)
    first.finish()
    second = Taking(recorder(), steps=2, save=path)
    for step in range(3, 8):  # the checkpoint was of step 3
        second.take(model, step, step / 5)
    second.finish()
    assert load_run(path).points.step.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "C:\\runs\\a"}, "cannot be a file's name.*rename it"),
        ({"name": "a/b"}, "cannot be a file's name"),
        ({"name": "a\u00a0b"}, r"'a\\xa0b' cannot be a file's name: .*cannot be seen"),
        ({"name": "ü" * 61}, "more than 120 bytes"),
        ({"factors": {"betas": (0.9, 0.999)}}, "betas: a factor is a text or a number.*one text"),
        ({"factors": {"sizes": np.array([64, 64])}}, "sizes: a factor is a text or a number"),
        ({"factors": {"status": "good", "model": "mlp"}}, "'status': the atlas has columns of that name"),
        ({"factors": ["mlp"]}, "factors are a dict"),
    ],
)
def test_what_would_fail_after_the_training_is_refused_before_it(options, message):
    with pytest.raises(ValueError, match=message):
        recorder(**options)


def test_names_in_any_script_are_kept(tmp_path):
    made = filled((0,), name="größer 数据: lr=0.1 %d {split}")
    assert load_run(made.save(tmp_path / made.name)).name == made.name


def test_numbers_that_diverge_leave_a_diverged_run(tmp_path):
    made = filled((0, 10))
    with pytest.raises(Diverged, match="step 20: logits of test: .* is nan"):
        made.add(logits=np.full((30, 3), np.nan), step=20)
    run = load_run(made.save(tmp_path / "a"))
    assert run.status == "diverged" and run.info == {"diverged_step": 20} and len(run.points) == 2


def runs(*factors):
    return [filled((0, 10), name=f"r{k}", factors=one).run() for k, one in enumerate(factors)]


def test_a_factor_that_only_later_runs_have_is_not_lost(tmp_path):
    where = {"data_dir": str(tmp_path)}
    base = [{"model": "mlp", "seed": k} for k in range(3)]
    with pytest.raises(ValueError, match="run 'r0' has no 'rate', and other runs have.*None where"):
        Atlas.from_runs("mine", runs(*base, {"model": "mlp", "seed": 0, "rate": 0.1}), {"test": Y}, **where)
    assert not (tmp_path / "atlases").exists()
    late = iter(runs(*base, {"model": "mlp", "seed": 0, "rate": 0.1}))
    with pytest.raises(ValueError, match="run 'r3' has 'rate', which the first run has not"):
        Atlas.from_runs("stream", late, {"test": Y}, **where)
    Atlas.from_runs("mine", runs(*base), {"test": Y}, **where)
    late = filled((0, 10), name="late", factors={"model": "mlp", "seed": 0, "rate": 0.1}).run()
    with pytest.raises(ValueError, match="new runs have 'rate'.* --factors model,rate"):
        Atlas.from_runs("mine", [late], {"test": Y}, **where)
    atlas = Atlas.from_runs("mine", [late], {"test": Y}, factors=["model", "rate"], **where)
    assert atlas.design.factors == ("model", "rate") and (atlas.runs.rate == "none").tolist() == [True] * 3 + [False]


def test_labels_in_another_order_than_the_recorder_saw_are_refused(tmp_path):
    with pytest.raises(ValueError, match="with these labels its last error is .*recorder.labels"):
        labels = {"test": np.random.default_rng(1).permutation(Y)}
        Atlas.from_runs("mine", runs(*[{"model": "mlp"}] * 3), labels, data_dir=str(tmp_path))
    assert not (tmp_path / "atlases").exists()


def test_somebodys_files_in_the_place_of_an_atlas_stay(tmp_path):
    place = tmp_path / "atlases" / "mine"
    place.mkdir(parents=True)
    for name in ("runs.parquet", "atlas.json"):
        (place / name).write_text('{"mine": 1}')
        with pytest.raises((ValueError, FileExistsError), match="not made here .runs.parquet|is somebody else's"):
            Atlas.from_runs("mine", runs(*[{"model": "mlp"}] * 3), {"test": Y}, data_dir=str(tmp_path))
        assert (place / name).read_text() == '{"mine": 1}'
    assert sorted(os.listdir(place)) == ["atlas.json", "runs.parquet"]


def test_a_second_writer_leaves_labels_and_design_of_the_first(tmp_path):
    made = Atlas.from_runs("mine", runs(*[{"model": "mlp"}] * 3), {"test": Y}, data_dir=str(tmp_path))
    before = (made.path / "profile.yaml").read_bytes()
    more = runs(*[{"model": "mlp"}] * 4)[3:]
    with made.lock(), pytest.raises(RuntimeError, match="is being written by process"):
        Atlas.from_runs("mine", more, {"test": Y}, description="another", data_dir=str(tmp_path))
    assert (made.path / "profile.yaml").read_bytes() == before


def test_of_several_outputs_the_one_with_a_column_a_class_is_asked_for():
    features, head = torch.nn.Linear(3, 64), torch.nn.Linear(64, 3)
    made = recorder()
    with pytest.raises(ValueError, match=r"first .*\(30, 64\), but number 1 has the 3 columns.*model\(x\)\[1\]"):
        made.record(lambda x: (features(x), head(features(x))), 0)
    made.record(lambda x: (head(features(x)), features(x)), 0)
    assert made.run().log_probs["test"].shape == (1, 30, 3)
