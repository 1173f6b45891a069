"""Factors of any table of runs: order, missing values, seeds, colours that stay, what is linked, what is lacking."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from manifold_utils import plots
from manifold_utils.levels import seeds_of, sorted_levels, varied, with_missing_named
from manifold_utils.plots.style import FACTOR_STYLES, MAX_ENTRIES
from manifold_utils.profiles import BOOK_DESIGN, Design
from manifold_utils.statistics import (
    KINDS,
    PAPER_FACTORS,
    configurations,
    effect_size,
    has_repeats,
    kinds_of_pairs,
    linked_factors,
    matched_pairs,
    pairs_of_runs,
    shown_factors,
)
from manifold_utils.studies import importance, null_spectra
from manifold_utils.studies.robustness import CONCLUSIONS, conclusions_about, neighbour_share

OWN = Design(("model", "rate", "depth"), "model", None)


@pytest.fixture(autouse=True)
def _no_levels_are_left_behind():
    yield
    plots.use_house_style()
    plt.close("all")


def table_of(**columns):
    return pd.DataFrame(columns)


# -- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ordered"),
    [
        ([16, 4, 100], [4, 16, 100]),
        (["b", "10", "9", "none", "a"], ["9", "10", "a", "b", "none"]),
        ([True, False, True], [False, True]),
        ([0.1, np.nan, 0.01], [0.01, 0.1, "none"]),
        (["b", None, 3, "nan", "inf"], [3, "b", "inf", "nan", "none"]),
    ],
)
def test_levels_are_sorted_numbers_first_and_missing_last(values, ordered):
    assert sorted_levels(values) == sorted_levels(pd.Series(values, dtype=object)) == ordered


def test_a_missing_value_is_a_level_and_the_column_still_sorts():
    runs = with_missing_named(table_of(rate=[0.1, np.nan, 2.0], depth=[1, 2, 3]), ["rate", "depth", "absent"])
    assert runs.rate.tolist() == ["0.1", "none", "2"] and runs.depth.tolist() == [1, 2, 3]
    assert np.unique(runs.rate.to_numpy().astype(str)).tolist() == ["0.1", "2", "none"]
    assert varied(runs, ["rate", "depth", "absent"]) == ["rate", "depth"]


def test_without_a_seed_every_run_is_a_repeat_and_points_share_that_of_their_run():
    runs = table_of(model=["a", "a", "b"])
    assert len(set(seeds_of(runs, OWN))) == 3
    points = table_of(run=["u", "u", "v"], model=["a", "a", "b"])
    assert seeds_of(points, OWN).tolist() == [0, 0, 1]
    missing = table_of(seed=[1.0, np.nan, np.nan, 1.0])
    first, second, third, last = seeds_of(missing, BOOK_DESIGN)
    assert first == last and len({first, second, third}) == 3


# -- designs -----------------------------------------------------------------------------------------------------------


def test_links_are_read_off_the_table_and_only_where_levels_never_meet():
    crossed = table_of(model=["a", "a", "b", "b"], rate=[0.1, 0.2, 0.1, 0.2], depth=[1, 1, 1, 1])
    assert linked_factors(crossed, "model", OWN) == ()
    tied = crossed.assign(rate=[0.1, 0.2, 0.01, 0.02])
    assert linked_factors(tied, "model", OWN) == ("rate",)
    pairs = matched_pairs(configurations(tied, OWN)[1], "model", design=OWN)
    assert len(pairs) == 4 and not pairs.strict.any()
    assert linked_factors(table_of(optimizer=["sgd"], learning_rate=[0.1]), "optimizer") == ("learning_rate",)


def test_the_book_keeps_the_papers_factors_and_kinds_and_others_name_their_own():
    runs = table_of(model=["a", "b"], rate=[0.1, 0.1], depth=[1, 2])
    assert shown_factors(runs, OWN) == ["model", "depth"]
    assert kinds_of_pairs(runs, OWN) == {"seeds": None, "depth": "depth", "model": "model"}
    assert kinds_of_pairs(runs) == KINDS and shown_factors(runs) == []
    assert set(PAPER_FACTORS) < set(BOOK_DESIGN.factors)
    assert conclusions_about("architecture") == CONCLUSIONS and len(conclusions_about("model")) == len(CONCLUSIONS)


def test_runs_that_agree_in_all_factors_are_repeats_where_there_is_no_seed():
    runs = table_of(model=["a", "a", "b", "b"])
    assert has_repeats(runs, OWN) and not has_repeats(runs.assign(rate=[1, 2, 1, 2]), OWN)
    place = np.array([0.0, 1.0, 10.0, 11.0])
    d = np.abs(place[:, None] - place)
    found = effect_size(d, runs, "model", design=OWN, n_permutations=50, rng=np.random.default_rng(0))
    assert found["value"] == pytest.approx(10) and found["null_high"] > 1  # shuffled runs change places
    assert 0 < found["p_value"] < 1
    assert sorted(pairs_of_runs(runs, design=OWN).kind) == ["model"] * 4 + ["seeds"] * 2


def test_seeds_of_their_own_do_not_fix_every_run_in_its_place():
    place = np.array([0.0, 1, 2, 10, 11, 12])
    D, levels = np.abs(place[:, None] - place), ["a"] * 3 + ["b"] * 3
    options = {"n_neighbours": 2, "n_permutations": 50, "rng": np.random.default_rng(0)}
    share, chance = neighbour_share(D, levels, np.arange(6), np.ones(6), **options)
    assert share == 1 and chance.min() < 1


def test_families_that_are_numbers_are_left_out_in_turn_as_words():
    rng = np.random.default_rng(0)
    runs = np.log(rng.dirichlet(np.ones(3), size=(6, 2, 9)))
    labels = np.arange(9) % 3
    families = [16, 16, 4, 4, 8, 8]
    options = {"worlds": ("class", "real"), "n_draws": 1, "rng": rng}
    table = null_spectra.equal_progress(runs, labels, [0.2, 0.4], families, **options)
    assert table.left_out.unique().tolist() == ["", "4", "8", "16"] and table.n_axes.gt(0).all()


# -- importance --------------------------------------------------------------------------------------------------------


def test_a_factor_with_a_level_a_run_does_not_break_the_regression():
    rng = np.random.default_rng(0)
    runs = table_of(model=["a", "b"] * 15, rate=10.0 ** -np.linspace(0, 4, 30), depth=[f"d{k}" for k in range(30)])
    place = np.where(runs.model == "a", 0.0, 5.0) + rng.normal(size=30)
    found = importance.importance(np.abs(np.subtract.outer(place, place)), runs, design=OWN, n_splits=2, rng=rng)
    assert set(found) == {"model", "rate", "depth", "r2"} and found.model.mean() > 0.3
    features, is_category = importance.pair_features(runs, [0], [2], ["model", "rate", "depth"])
    assert features.tolist() == [[0.0, 2.0, 1.0]] and is_category == [True, False, False]


@pytest.mark.parametrize(("n", "said"), [(5, "5 configurations are too few"), (12, "leaves 10 pairs")])
def test_what_the_regression_lacks_is_said_before_it_is_fitted(n, said):
    runs = table_of(model=["a"] * n, rate=np.arange(float(n)), depth=1)
    assert said in importance.lacking(runs, OWN)
    with pytest.raises(ValueError, match=said.split()[0]):
        importance.importance(np.zeros((n, n)), runs, design=OWN, rng=np.random.default_rng(0))
    assert importance.lacking(table_of(model=["a"] * 20, rate=np.arange(20.0), depth=1), OWN) == ""


# -- colours and legends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 15, 50])
def test_every_level_has_a_look_of_its_own_and_keeps_it_in_a_subset(n):
    names = [f"net-{k:02d}" for k in range(n)]
    plots.use_house_style({"model": names})
    looks = {name: plots.style_of(name, pd.Series(names, name="model")) for name in names}
    assert len({str(look) for look in looks.values()}) == n
    few = pd.Series(names[n // 2 :: 2], name="model")
    assert all(plots.style_of(name, few) == looks[name] for name in few)
    plots.use_house_style()
    assert plots.style_of(names[-1], pd.Series(names[-1:], name="model")) == FACTOR_STYLES[0]


def test_architectures_of_the_book_keep_their_looks_beside_strangers():
    levels = pd.Series(["fc", "mine", "yours", "vit"], name="architecture")
    plots.use_house_style({"architecture": sorted_levels(levels)})
    looks = [plots.style_of(name, levels) for name in levels]
    assert looks[0] == plots.ARCHITECTURE_STYLE["fc"] and looks[3] == plots.ARCHITECTURE_STYLE["vit"]
    assert len({colour for colour, _, _ in looks}) == 4


def test_many_numbers_are_coloured_by_size():
    rates = pd.Series(10.0 ** -np.arange(20), name="rate")
    ends = [plots.style_of(rates.min(), rates)[0], plots.style_of(rates.max(), rates)[0]]
    light = [sum(int(colour[k : k + 2], 16) for k in (1, 3, 5)) for colour in ends]
    assert light[0] < light[1]


def test_a_long_legend_is_shortened_aloud():
    ax = plt.figure().add_subplot()
    levels = pd.Series([f"net-{k:02d}" for k in range(50)], name="model")
    plots.plot_embedding(ax, np.random.default_rng(0).normal(size=(50, 2)), levels)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(shown) == MAX_ENTRIES and shown[-1] == "and 39 more"
    assert plots.short_legend(plt.figure().add_subplot()) is None


def test_missing_levels_are_drawn_too():
    ax = plt.figure().add_subplot()
    plots.plot_embedding(ax, np.zeros((3, 2)), pd.Series(["a", None, "a"], name="model"))
    assert sum(len(points.get_offsets()) for points in ax.collections) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "none"]
