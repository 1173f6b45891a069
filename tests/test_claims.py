"""Results and verdicts: intervals against rules, and results that survive a round trip."""

import json

import numpy as np
import pytest

from manifold_utils import claims
from manifold_utils.claims import Claim
from manifold_utils.statistics import bootstrap_interval


def claim(direction="at_least", reproduced=0.8, contradicted=0.6):
    return Claim(
        id="x",
        statement="s",
        source="t",
        result="42.a",
        direction=direction,
        reproduced=reproduced,
        contradicted=contradicted,
        rule="r",
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.81, 0.9, "reproduced"),
        (0.79, 0.9, "not at this scale"),
        (0.5, 0.59, "contradicted"),
        (0.5, 0.7, "not at this scale"),
    ],
)
def test_the_whole_interval_must_pass_the_limit(low, high, verdict):
    assert claim().verdict(low, high) == verdict
    mirrored = claim("at_most", -0.8, -0.6)
    assert mirrored.verdict(-high, -low) == verdict


def test_scorecard_reads_results_and_says_what_is_missing(tmp_path):
    (tmp_path / "42.json").write_text(json.dumps({"results": {"a": claims.result(0.9, low=0.85, high=0.95, n=12)}}))
    card = claims.scorecard(tmp_path, [claim(), claim().model_copy(update={"id": "y", "result": "54.b"})])
    assert card.verdict.tolist() == ["reproduced", "not computed"]
    text = claims.scorecard_markdown(card, "smoke")
    assert "0.85 to 0.95" in text and "not computed" in text and "nan" not in text.lower()


def test_the_books_claims_are_valid_and_their_limits_in_order():
    listed = claims.load_claims()
    assert len({c.id for c in listed}) == len(listed) >= 8
    for c in listed:
        assert c.contradicted <= c.reproduced if c.direction == "at_least" else c.contradicted >= c.reproduced, c.id


def test_numbers_that_are_not_finite_become_none():
    assert claims.result(np.nan, low=-np.inf)["value"] is None
    assert claims.result(np.float32(0.5), n=np.int64(3)) == {
        "value": 0.5,
        "low": None,
        "high": None,
        "n": 3,
        "unit": "",
        "note": "",
    }


def test_bootstrap_interval_covers_the_mean_and_narrows():
    rng = np.random.default_rng(0)
    wide = bootstrap_interval(rng.normal(5, 1, 30))
    narrow = bootstrap_interval(rng.normal(5, 1, 3000))
    assert wide[0] < 5.4 and wide[1] > 4.6 and narrow[1] - narrow[0] < (wide[1] - wide[0]) / 3
