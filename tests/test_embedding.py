"""From an atlas to its embedding and its trajectories, on a small made-up atlas whose answers are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from manifold_utils.atlas import Atlas
from manifold_utils.atlas.records import RunRecord, read_facts
from manifold_utils.distances import pairwise
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.geometry import geodesic, ignorance, progress, truth
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.embedding import Submatrix, distances_to, embed, fitted_points, place, road, select
from manifold_utils.profiles import Profile
from manifold_utils.scale import world as large_world
from manifold_utils.statistics import configurations
from manifold_utils.trajectories import of_atlas
from manifold_utils.trajectories.of_atlas import (
    compare_trajectories,
    load_trajectories,
    resampled,
    save_trajectories,
)
from manifold_utils.workers import client

LABELS = {"train": np.arange(24) % 10, "test": np.arange(16) % 10}
TIMES = np.linspace(0.02, 0.97, 6)


def run_near_the_geodesic(config, rng, noise=0.15):
    log_probs = {}
    for split, y in LABELS.items():
        path = geodesic(ignorance(len(y), 10), truth(y, 10), TIMES)
        noisy = path + noise * rng.normal(size=path.shape)
        log_probs[split] = (noisy - np.logaddexp.reduce(noisy, axis=2, keepdims=True)).astype(np.float32)
    loss = {s: -log_probs[s][:, np.arange(len(y)), y].mean(axis=1) for s, y in LABELS.items()}
    points = pd.DataFrame(
        {
            "step": range(6),
            "epoch": TIMES,
            "phase": "main",
            "loss_train": loss["train"],
            "error_train": 0.0,
            "loss_test": loss["test"],
            "error_test": 0.0,
        }
    )
    return RunRecord(config.run_id, points, log_probs, "made up", config.model_dump(), seconds=1.0)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    profile, rng = Profile.load("smoke"), np.random.default_rng(0)
    atlas = Atlas.create(profile, tmp_path_factory.mktemp("atlas"))
    for grid, config in profile.configs("main")[:4]:
        atlas.save_run(run_near_the_geodesic(config, rng), grid)
    atlas.collect(profile)
    points = atlas.points
    for split, y in LABELS.items():
        atlas.save_labels(split, y)
        points[f"progress_{split}"] = progress(atlas.log_probs(split).compute(), y)
        write_tiles(
            atlas.log_probs(split), atlas.distances_path(split), metric="bhattacharyya", tile=16, show_progress=False,
            fingerprint=atlas.points_fingerprint(),
        )  # fmt: skip
    atlas.save_points(points)
    return atlas


def test_distances_of_an_atlas_are_the_pairwise_ones(atlas):
    exact = pairwise(atlas.log_probs("train").compute())
    np.testing.assert_allclose(np.asarray(atlas.distances("train")[:]), exact, atol=1e-6)
    with pytest.raises(ValueError, match="other points|fingerprint"):
        atlas.save_points(atlas.points.iloc[:-1])
        try:
            atlas.distances("train")
        finally:
            atlas.save_points(pd.concat([atlas.points, _last(atlas)], ignore_index=True))


def _last(atlas):
    run = atlas.runs.index[-1]
    rows = pd.DataFrame({"run": run, **read_facts(atlas._run_path(run))["points"]}).iloc[[-1]]
    return rows.assign(progress_train=TIMES[-1], progress_test=TIMES[-1])


def test_a_submatrix_reads_like_the_block(atlas):
    matrix, keep = atlas.distances("test"), np.array([1, 2, 5, 9, 20])
    block, view = select(matrix, keep), Submatrix(matrix, keep)
    assert view.shape == block.shape == (5, 5)
    np.testing.assert_array_equal(view[1:4], block[1:4])
    np.testing.assert_array_equal(view[0:2, 2:5], block[0:2, 2:5])


def test_the_embedding_places_what_was_not_fitted(atlas):
    fitted = np.ones(len(atlas.points), dtype=bool)
    fitted[[3, 10]] = False
    data = embed(atlas, "train", n_components=21, fitted=fitted, n_reference=5)
    signed = data.signature.values
    x = data.embedding.values
    rebuilt = ((x[:, None] - x[None]) ** 2) @ signed
    exact = np.asarray(atlas.distances("train")[:])
    np.testing.assert_allclose(rebuilt[np.ix_(fitted, fitted)], exact[np.ix_(fitted, fitted)], atol=1e-5)
    assert data.reference_embedding.shape == (5, 21)
    lambdas, points = road(atlas, "train", 5)
    np.testing.assert_allclose(
        distances_to(atlas, "train", points), pairwise(points, atlas.log_probs("train").compute()), atol=1e-6
    )
    assert fitted_points(atlas).all()


def test_trajectories_at_equal_progress(atlas):
    grid = np.array([0.25, 0.5, 0.75])
    whole = compare_trajectories(atlas, "train", grid, show_progress=False)
    in_passes = compare_trajectories(atlas, "train", grid, show_progress=False, memory=1)
    for name in ("distance", "to_geodesic", "tube_width"):
        np.testing.assert_array_equal(whole[name], in_passes[name])
    values = resampled(atlas, "train", list(atlas.runs.index), grid)
    np.testing.assert_allclose(whole.distance.values[1], pairwise(values[:, 1]), atol=1e-6)
    assert np.abs(progress(values[0], LABELS["train"]) - grid).max() < 0.03
    save_trajectories(atlas, whole, "train")
    again, runs = load_trajectories(atlas, "train")
    np.testing.assert_array_equal(again.distance, whole.distance)
    assert list(runs.index) == list(atlas.runs.index)


def test_a_matrix_of_as_many_other_points_is_refused(atlas, monkeypatch):
    monkeypatch.setattr(Atlas, "points_fingerprint", lambda _: "other")
    with pytest.raises(ValueError, match="belongs to other points"):
        atlas.distances("train")


def test_the_width_of_one_seed_is_unknown(atlas, monkeypatch):
    monkeypatch.setattr(of_atlas, "configurations", lambda table, _: (np.arange(len(table)), None))
    assert np.isnan(compare_trajectories(atlas, "train", np.array([0.5]), show_progress=False).tube_width).all()


def test_points_beyond_the_limit_are_not_fitted(atlas):
    half_loss = atlas.table().loss_train.to_numpy() / 2
    limit = np.median(half_loss)
    assert np.array_equal(fitted_points(atlas, limit), half_loss < limit)


def test_widths_and_distances_to_the_geodesic_by_the_definition(atlas):
    grid = np.array([0.25, 0.75])
    found = compare_trajectories(atlas, "train", grid, show_progress=False)
    roots = np.exp(0.5 * resampled(atlas, "train", list(atlas.runs.index), grid).astype(np.float64))
    for k, s in enumerate(grid):
        own = np.sqrt(np.exp(geodesic(ignorance(*roots.shape[2:]), truth(LABELS["train"], roots.shape[3]), [s])))
        expected = -np.log((roots[:, k] * own).sum(axis=-1)).mean(axis=-1)
        np.testing.assert_allclose(found.to_geodesic[:, k], expected, atol=1e-6)
    for number in np.unique(found.configuration):
        runs = np.flatnonzero(found.configuration == number)
        centre = np.sqrt((roots[runs] ** 2).mean(axis=0))
        expected = -np.log((roots[runs] * centre).sum(axis=-1)).mean(axis=-1)
        np.testing.assert_allclose(found.tube_width[runs], expected, atol=1e-6)


def test_a_run_is_resampled_by_the_clock_of_its_own_checkpoints(atlas):
    """At the progress of a checkpoint stands that checkpoint: neither its neighbour nor one of another phase."""
    run, points = atlas.runs.index[1], atlas.points
    rows = np.flatnonzero(points.run == run)
    early = points.assign(phase=points.phase.mask(points.index.isin(rows[:2]), "pretrain"))
    try:
        atlas.save_points(early)
        main, values = rows[2:], atlas.run_log_probs(run, "test")
        found = resampled(atlas, "test", [run], points.progress_test[main].to_numpy())[0]
    finally:
        atlas.save_points(points)
    np.testing.assert_allclose(np.exp(found), np.exp(values[2:]), atol=1e-5)


def test_the_bar_of_trajectories_moves_within_a_pass_and_ends_full(atlas, capsys, monkeypatch):
    bars = []

    class Bar(of_atlas.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            bars.append(self)

    monkeypatch.setattr(of_atlas, "tqdm", Bar)
    for memory in (of_atlas.MEMORY, 1):
        compare_trajectories(atlas, "train", np.array([0.25, 0.5, 0.75]), memory=memory)
    n_runs = len(atlas.runs)
    assert [bar.total for bar in bars] == [n_runs + 3, 3 * n_runs + 3] and all(bar.n == bar.total for bar in bars)
    assert "train trajectories" in capsys.readouterr().err


def test_seeds_share_a_configuration(atlas):
    configuration, _ = configurations(atlas.runs)
    factors = atlas.runs[["architecture", "optimizer", "learning_rate"]].astype(str).agg("-".join, axis=1)
    assert len(set(zip(configuration, factors, strict=True))) == len(set(configuration)) == len(set(factors))


def test_points_infinitely_far_have_no_place_and_the_others_keep_theirs():
    D = np.square(np.arange(5.0)[:, None] - np.arange(5.0))
    estimator = InPCA(n_components=1).fit(D)
    stored = xr.Dataset(
        {
            "embedding": (("point", "component"), estimator.embedding_),
            "fitted": ("point", np.ones(5, dtype=bool)),
            "eigenvalues": ("component", estimator.eigenvalues_),
            "offset": ("component", estimator.offset_),
        }
    )
    far = np.full((1, 5), np.inf)
    placed = place(stored, np.concatenate([D[:2], far]))
    assert np.allclose(placed[:2], estimator.embedding_[:2]) and np.isnan(placed[2]).all()
    assert np.isnan(place(stored, far)).all()


def test_time_like_axes_keep_their_sign_when_points_are_placed():
    """Points of a Minkowski space with two axes of each sign: a place must come back on each of them."""
    x, signs = np.random.default_rng(0).normal(size=(12, 4)) * [3, 1, 2, 0.7], np.array([1, -1, 1, -1])
    D = (np.square(x[:, None] - x) * signs).sum(axis=2)
    estimator = InPCA(n_components=4).fit(D)
    assert (estimator.eigenvalues_ < 0).sum() == 2
    stored = xr.Dataset(
        {
            "embedding": (("point", "component"), estimator.embedding_),
            "fitted": ("point", np.ones(12, dtype=bool)),
            "eigenvalues": ("component", estimator.eigenvalues_),
            "offset": ("component", estimator.offset_),
        }
    )
    np.testing.assert_allclose(place(stored, D), estimator.embedding_, atol=1e-9)
    np.testing.assert_allclose(estimator.transform(D), estimator.embedding_, atol=1e-9)


def test_embedded_points_come_back_without_reading_the_matrix(atlas, monkeypatch):
    """The constant of the centring is stored: distances to the atlas are all that placing needs."""
    fitted = np.ones(len(atlas.points), dtype=bool)
    fitted[[3, 10]] = False
    matrix = np.asarray(atlas.distances("train")[:], dtype=np.float64)
    data = embed(atlas, "train", n_components=12, fitted=fitted)  # the last of 21 axes are rounding
    atlas.save_embedding(data, "train")
    monkeypatch.setattr(Atlas, "distances", lambda *_: pytest.fail("the matrix was read"))
    stored = atlas.embedding("train")
    scale = np.abs(stored.embedding.values).max()
    np.testing.assert_allclose(place(stored, matrix), stored.embedding.values, rtol=0, atol=1e-9 * scale)


def test_truth_is_infinitely_far_in_symmetric_kl_alone(atlas):
    for metric in ("symmetric_kl", "hellinger"):
        write_tiles(
            atlas.log_probs("train"),
            atlas.distances_path("train", metric),
            metric=metric,
            tile=16,
            show_progress=False,
            fingerprint=atlas.points_fingerprint(),
        )
        placed = embed(atlas, "train", metric, 3).reference_embedding.values
        assert np.isfinite(placed[:-1]).all()
        assert np.isfinite(placed[-1]).all() == (metric == "hellinger")


def test_a_matrix_beyond_memory_gives_the_same_embedding_here_and_on_workers(atlas):
    fitted = np.ones(len(atlas.points), dtype=bool)
    fitted[[3, 10, 17]] = False
    whole = embed(atlas, "train", n_components=4, fitted=fitted)
    with client("local", n_workers=1) as workers:
        for where in (None, workers):
            found = embed(atlas, "train", n_components=4, fitted=fitted, client=where, in_memory=5)
            np.testing.assert_allclose(found.eigenvalues, whole.eigenvalues, rtol=1e-6)
            np.testing.assert_allclose(found.embedding, whole.embedding, atol=1e-4 * np.abs(whole.embedding).max())


def test_a_base_of_a_made_world_is_taken_from_an_atlas_and_says_so(atlas, tmp_path):
    base = large_world.save_base(atlas, tmp_path / "base.zarr", n_runs=3, n_checkpoints=4, n_samples=5)
    assert base.shape[:3] == (3, 4, 5) and base.dtype == np.float16
    assert len(base.attrs["runs"]) == 3 and base.attrs["from"] == atlas.path.name
    first = np.asarray(atlas.run_log_probs(base.attrs["runs"][1], "train"))[0, :5]
    assert np.allclose(base[1, 0], first, atol=2e-2)
