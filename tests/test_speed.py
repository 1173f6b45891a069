"""Speed of networks of several sizes: on made-up worlds whose answer is known beforehand."""

import numpy as np
import pandas as pd
import pytest

from manifold_utils.statistics import (
    common_speed,
    effect_size,
    median_interval,
    median_ratio,
    speed_ratios,
    speed_slopes,
    speed_trend,
)

COLUMNS = ["architecture", "scale", "optimizer"]
PROGRESS = np.linspace(0.1, 0.9, 9)


def sizes_of(families, *, scales=(0.25, 0.5, 1.0), seeds=(42, 43, 44)):
    """Runs of some families at some scales, with parameters that grow with the square of the scale."""
    rows = [(a, x, "sgd", s, 1e5 * (k + 1) * x**2) for k, a in enumerate(families) for x in scales for s in seeds]
    return pd.DataFrame(rows, columns=[*COLUMNS, "seed", "n_parameters"])


def steps_of(runs, exponents, rng, noise=0.0):
    """Steps to each value of progress where speed is proportional to parameters ** exponent of the family."""
    pace = runs.n_parameters.to_numpy() ** -runs.architecture.map(exponents).to_numpy()
    return 1e4 * PROGRESS * (pace * np.exp(noise * rng.normal(size=len(runs))))[:, None]


def test_speed_ratios_put_the_smaller_above_and_keep_laggards():
    steps = np.array([[8.0, np.inf], [12.0, np.inf], [2.0, 4.0], [np.nan, 3.0]])
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 2]})
    ratio = speed_ratios(steps, np.array([0, 0, 1, 2]), pairs, np.array([100, 10, 1]))
    assert np.array_equal(ratio[0], [0.25, 0.0])  # the larger never gets to the second value
    assert np.isnan(ratio[1, 0]) and ratio[1, 1] == 0.75
    assert median_ratio([np.inf, 0.0, 2.0, np.nan]) == 2.0
    assert np.isinf(median_ratio([np.inf, np.inf, 1.0])) and np.isnan(median_ratio([np.nan]))


def test_intervals_over_drawn_configurations_hold_the_value():
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(8, 1)
    pairs = pd.DataFrame({"first": first, "second": second})
    ratios = np.exp(rng.normal(size=(len(pairs), 5)))
    low, high = median_interval(ratios, pairs, n_resamples=200, rng=rng)
    assert low <= median_ratio(ratios) <= high
    assert np.isnan(median_interval(ratios[:0], pairs[:0], rng=rng)).all()


def test_slopes_recover_the_power_of_parameters():
    rng = np.random.default_rng(0)
    runs = sizes_of(["fc", "allcnn", "vit"])
    exponents = {"fc": 0.2, "allcnn": 0.3, "vit": 0.7}
    slopes, speeds = speed_slopes(steps_of(runs, exponents, rng), runs)
    assert len(slopes) == 9 and np.allclose(slopes.slope, slopes.family.map(exponents))
    assert (slopes.n_common == 9).all() and (slopes.n_left_out == 0).all() and np.isfinite(speeds).all()
    trend = speed_trend(slopes)
    half = 4.302653 * np.std([0.2, 0.3, 0.7], ddof=1) / np.sqrt(3)
    assert trend["over"] == "families" and trend["n_units"] == 3
    assert np.allclose([trend["low"], trend["value"], trend["high"]], 0.4 + half * np.array([-1, 0, 1]))


def test_trend_covers_zero_where_size_does_not_matter_and_more_seeds_do_not_pass_for_families():
    rng = np.random.default_rng(1)
    runs = sizes_of(["fc", "allcnn", "vit", "convmixer"])
    trend = speed_trend(speed_slopes(steps_of(runs, dict.fromkeys(runs.architecture, 0.0), rng, 0.2), runs)[0])
    assert trend["low"] < 0 < trend["high"]
    widths = []
    for seeds in (range(2), range(20)):
        many = sizes_of(["fc", "allcnn", "vit"], seeds=seeds)
        found = speed_trend(speed_slopes(steps_of(many, {"fc": 0.0, "allcnn": 0.2, "vit": 0.4}, rng), many)[0])
        widths.append(found["high"] - found["low"])
    assert widths[0] == pytest.approx(widths[1]) and widths[0] > 0.5


def test_two_families_give_an_interval_over_families_and_seeds_and_say_so():
    rng = np.random.default_rng(2)
    runs = sizes_of(["fc", "vit"])
    trend = speed_trend(speed_slopes(steps_of(runs, {"fc": 0.5, "vit": 0.3}, rng, 0.05), runs)[0])
    assert trend["over"] == "families and seeds" and trend["n_units"] == 6
    assert 0 < trend["low"] < 0.4 < trend["high"]


def test_a_small_network_that_stops_half_way_stays_in_the_trend():
    """The smallest size stops at .5: all sizes are compared up to there, and the slope stays what it is."""
    rng = np.random.default_rng(3)
    runs = sizes_of(["fc"], seeds=(42,))
    steps = steps_of(runs, {"fc": 0.5}, rng)
    steps[0] *= 1 + PROGRESS  # the smallest grows ever slower, so that its mean depends on where one looks
    whole = speed_slopes(steps, runs)[0].slope[0]
    steps[0, PROGRESS > 0.55] = np.inf
    cut = speed_slopes(steps, runs)[0]
    early = speed_slopes(steps[:, PROGRESS < 0.55], runs)[0].slope[0]
    assert cut.slope[0] == pytest.approx(early) and cut.slope[0] != pytest.approx(whole)
    assert (cut.n_common[0], cut.n_sizes[0], cut.n_left_out[0]) == (5, 3, 0)


def test_a_network_that_gets_nowhere_is_counted_and_not_waited_for():
    rng = np.random.default_rng(3)
    runs = sizes_of(["fc"], seeds=(42,))
    steps = steps_of(runs, {"fc": 0.5}, rng)
    steps[0] = np.inf
    slopes, speeds = speed_slopes(steps, runs)
    assert slopes.slope[0] == pytest.approx(0.5) and (slopes.n_sizes[0], slopes.n_left_out[0]) == (2, 1)
    assert np.isnan(speeds).tolist() == [True, False, False]
    steps[1] = np.inf
    alone = speed_slopes(steps, runs)[0]
    assert np.isnan(alone.slope[0]) and alone.n_left_out[0] == 2
    assert np.isnan(speed_trend(alone)["value"]) and speed_trend(alone)["n_units"] == 0


def test_families_of_one_size_have_no_slope():
    runs = sizes_of(["fc", "vit"]).query("architecture == 'fc' or scale == 1")
    slopes, speeds = speed_slopes(np.ones((len(runs), 2)), runs)
    assert set(slopes.family) == {"fc"} and np.isnan(speeds[(runs.architecture == "vit").to_numpy()]).all()
    empty = speed_slopes(np.ones((0, 2)), runs[:0])[0]
    assert len(empty) == 0 and np.isnan(speed_trend(empty)["value"])


def test_values_without_a_time_are_no_common_progress():
    """NaN: already there at the first checkpoint."""
    speed, n_common = common_speed(np.array([[np.nan, 4.0], [1.0, 2.0]]), [0, 0])
    assert speed.tolist() == [0.25, 0.5] and n_common.tolist() == [1, 1]


@pytest.mark.parametrize(("shift", "holds"), [(0.0, "at most"), (2.0, "far")])
def test_sizes_against_seeds_of_their_family(shift, holds):
    """Sizes that differ no more than seeds give an interval that covers 1; sizes far apart lie above 1.25."""
    rng = np.random.default_rng(6)
    runs = sizes_of(["fc", "allcnn", "vit", "convmixer"])
    place = rng.normal(size=(len(runs), 400)) / np.sqrt(800)
    own = np.zeros((len(runs), 12))
    own[np.arange(len(runs)), runs.groupby(["architecture", "scale"]).ngroup()] = np.sqrt(shift / 2)
    points = np.concatenate([place, own], axis=1)
    d = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    found = effect_size(d, runs, "scale", n_permutations=0, rng=rng)
    assert found["over"] == "families" and found["n_units"] == 4 and found["n_pairs"] == 12
    assert found["value"] == pytest.approx(1 + shift, rel=0.05)
    assert found["low"] > 1.25 if holds == "far" else found["low"] < 1 < found["high"] < 1.25


def test_the_interval_of_a_trend_lies_about_its_value_where_seeds_are_unequal():
    trend = speed_trend(pd.DataFrame({"family": ["fc", "fc", "fc", "vit"], "slope": [0.1, 0.2, 0.3, 0.8]}))
    assert trend["value"] == pytest.approx(0.5) and (trend["low"] + trend["high"]) / 2 == pytest.approx(0.5)
