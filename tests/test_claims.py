"""Results and the two columns of a claim: intervals against rules, and results that survive a round trip."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from manifold_utils import claims
from manifold_utils.atlas import Atlas
from manifold_utils.claims import CONCLUSIONS, HOLDS, NULL, UNDECIDED, Claim, Evidence
from manifold_utils.profiles import Profile
from manifold_utils.statistics import bootstrap_interval

AXES = Evidence(result="42.a", direction="at_most", holds=0.67, null_value=1.0)
GAIN = Evidence(result="42.a", direction="at_least", holds=-0.67, null_value=-1.0)
SEEDS = Evidence(result="44.a", direction="at_most", holds=1.25, contradicted=1.25)


def claim(**changes):
    given = {"id": "x", "statement": "s", "source": "t", "evidence": [AXES], "rule": "r"}
    return Claim(**given | changes)


@pytest.mark.parametrize(
    ("low", "high", "conclusion"),
    [
        (0.4, 0.66, HOLDS),
        (0.6, 0.7, UNDECIDED),
        (0.7, 0.9, UNDECIDED),  # smaller than asked for, yet not the null
        (0.6, 1.1, UNDECIDED),  # too wide to exclude either
        (0.9, 1.1, NULL),
        (1.1, 1.3, NULL),
    ],
)
def test_a_conclusion_asks_for_the_whole_interval_and_looks_at_the_null(low, high, conclusion):
    assert AXES.conclusion((low, high)) == conclusion
    assert GAIN.conclusion((-high, -low)) == conclusion, "at_least is the mirror image"


def test_results_with_other_parameters_are_not_judged_and_do_not_hide_the_books(tmp_path, monkeypatch):
    declared = {"profile": "digits", "data_dir": "", "n_neighbours": 10}
    atlas = Atlas.create(Profile.load("smoke"), tmp_path)

    def run(value, by="", **changes):
        monkeypatch.setenv(claims.RUN_VARIABLE, by)
        monkeypatch.setattr(claims, "_parameters", lambda: declared | changes)
        claims.save_results(atlas, "40", {"a": claims.result(value)})
        return claims.scorecard(atlas.results_folders, [about]).conclusion.item()

    about = claim(evidence=[Evidence(result="40.a", direction="at_most", holds=0.67)])
    assert run(0.5, "40_train_manifold 1") == HOLDS and run(0.5, profile="smoke", data_dir="/x") == HOLDS
    assert run(0.5, "40_train_manifold 1", n_neighbours=3) == HOLDS, "the book's own run, whatever its profile says"
    assert claims.with_other_parameters(atlas.results_folders) == {}
    monkeypatch.setenv("MANIFOLD_OUT", str(tmp_path / "sweep"))
    assert run(0.9, n_neighbours=3) == HOLDS, "the atlas' own are judged"
    monkeypatch.delenv("MANIFOLD_OUT")
    assert run(0.9, n_neighbours=3) == "not computed"
    assert claims.with_other_parameters(atlas.results_folders) == {"40": {"n_neighbours": 3}}
    assert claims.load_results(atlas.results_folders)["40.a"]["value"] == 0.9


def test_only_an_interval_beyond_the_bound_contradicts():
    assert [SEEDS.conclusion(i) for i in ((1.0, 1.2), (1.2, 1.3), (1.3, 1.6))] == [HOLDS, UNDECIDED, "contradicted"]


def test_a_bound_that_the_null_keeps_as_well_proves_nothing():
    one = Evidence(result="47.a", direction="at_most", holds=2.0, null_result="47.b", contradicted=2.0)
    assert one.conclusion((1.0, 1.5), (3.0, 4.0)) == HOLDS
    assert one.conclusion((1.0, 1.5), (1.1, 1.9)) == NULL
    assert one.conclusion((1.0, 1.5), None) == "not computed"


def test_the_worst_evidence_decides():
    found = {"42.a": claims.result(0.5, low=0.4, high=0.6), "44.a": claims.result(1.5, low=1.4, high=1.6)}
    assert claim(evidence=[AXES, SEEDS]).conclusion(found) == "contradicted"
    assert claim().conclusion(found) == HOLDS
    assert claim(evidence=[AXES, SEEDS]).conclusion({"42.a": found["42.a"]}) == "not computed"


def test_the_number_is_about_the_papers_data():
    two = claim(data="cifar10", paper=0.76, tolerance=0.05, result="42.a")
    assert [two.number(0.8, "cifar10"), two.number(0.9, "cifar10")] == ["same", "different"]
    assert two.number(0.8, "digits") == "other data" and claim().number(0.8, "digits") == ""
    with pytest.raises(ValidationError, match="paper, tolerance and result"):
        claim(paper=0.76)


def test_a_statement_about_one_data_set_is_judged_there_alone():
    found = {"42.a": claims.result(0.5, low=0.4, high=0.6)}
    about = claim(data="imagefolder")
    assert about.conclusion(found, "digits") == "other data" and about.conclusion(found, "imagefolder") == HOLDS


def test_a_folder_of_pictures_is_imagenet_only_with_its_thousand_classes(tmp_path):
    good, about = claims.result(0.5, low=0.4, high=0.6), claim(data="imagefolder")
    for n_classes, conclusion in ((3, "other data"), (1000, HOLDS)):
        results(tmp_path, "imagefolder", a=good, n_classes=claims.result(n_classes))
        assert claims.scorecard(tmp_path, [about]).conclusion.item() == conclusion
    results(tmp_path, "imagefolder", a=good)
    assert claims.data_of(tmp_path) == "image folder", "nothing says how many classes there are"


def results(folder, data="digits", **values):
    found = {"results": values, "made": {"data": data}}
    folder.mkdir(exist_ok=True)
    (folder / "42.json").write_text(json.dumps(found))


def test_scorecard_reads_results_and_says_what_is_missing(tmp_path):
    results(tmp_path, a=claims.result(0.5, low=0.45, high=0.55, n=12))
    other = Evidence(result="54.b", direction="at_most", holds=1.0)
    card = claims.scorecard(tmp_path, [claim(), claim(id="y", evidence=[other])])
    assert card.conclusion.tolist() == [HOLDS, "not computed"]
    assert card.evidence[0] == "42.a 0.5 (0.45 to 0.55), at most 0.67"


def test_scorecards_stand_side_by_side_with_real_images_first(tmp_path):
    listed = [claim(data="cifar10", paper=0.5, tolerance=0.1, result="42.a"), claim(id="y")]
    results(tmp_path / "digits", a=claims.result(0.95, low=0.9, high=1.1))
    results(tmp_path / "cifar16", "cifar10", a=claims.result(0.5, low=0.45, high=0.55))
    cards = claims.reference_cards(listed, tmp_path)
    assert list(cards) == ["cifar16", "digits"]
    cells = claims.scorecards_markdown(cards).splitlines()[2].split(" | ")[2:]
    assert cells[0].endswith("number: same; **holds beyond the null**")
    assert "number: other data; **the null does as well**" in cells[1]
    assert "nan" not in claims.scorecards_markdown(cards).lower()


def test_a_mistake_in_the_claims_names_file_claim_and_key(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("- {id: '7', statement: s, source: t, result: 42.a, paper: .76, tolerance: .05}")
    with pytest.raises(ValueError, match=r"claims\.yaml: claim 7, key 'rule': Field required"):
        claims.load_claims(path)
    path.write_text("- {id: '7', id: '8'}")
    with pytest.raises(ValueError, match=r"claims\.yaml is not YAML: the key 'id' is given twice"):
        claims.load_claims(path)


def test_the_books_claims_are_valid_and_name_chapters_that_exist():
    listed, chapters = claims.load_claims(), {p.name[:2] for p in (claims.PROJECT / "notebooks").glob("*.py")}
    assert len({c.id for c in listed}) == len(listed) >= 8
    for c in listed:
        names = [r for e in c.evidence for r in (e.result, e.null_result) if r] + [r for r in (c.result,) if r]
        assert names and {name.split(".")[0] for name in names} <= chapters, c.id


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
    assert claims.interval_of(claims.result(np.nan)) is None and "" not in CONCLUSIONS


def test_bootstrap_interval_covers_the_mean_and_narrows():
    rng = np.random.default_rng(0)
    wide = bootstrap_interval(rng.normal(5, 1, 30))
    narrow = bootstrap_interval(rng.normal(5, 1, 3000))
    assert wide[0] < 5.4 and wide[1] > 4.6 and narrow[1] - narrow[0] < (wide[1] - wide[0]) / 3
