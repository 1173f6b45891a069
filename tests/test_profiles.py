"""Profiles: what they span, and that every mistake in one is named with its file and key."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold_utils.atlas import Atlas
from manifold_utils.files import fingerprint
from manifold_utils.profiles import (
    CONFIGURATION,
    FACTORS,
    FAMILY,
    PROFILE_FOLDER,
    SEED,
    Block,
    DatasetConfig,
    Profile,
    RunConfig,
)
from manifold_utils.statistics import configurations
from manifold_utils.strict_yaml import load_yaml

HEAD = """
name: mine
description: test
dataset: {name: digits, n_train: 50, n_test: 20}
"""


def write(tmp_path, body):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + body)
    return path


@pytest.mark.parametrize("path", sorted(PROFILE_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_of_the_book_is_valid_and_named_like_its_file(path):
    profile = Profile.load(path.stem)
    assert profile.name == path.stem
    ids = [config.run_id for _, config in profile.configs()]
    assert len(ids) == len(set(ids)) > 0


def test_a_grid_is_a_product_with_links_and_exclusions(tmp_path):
    path = write(
        tmp_path,
        """
defaults: {epochs: 3}
grids:
  other: {common: {architecture: vit, seed: 1}}
  main:
    common: {architecture: [fc, vit], seed: [1, 2, 3]}
    blocks:
      - optimizer: [sgd, nesterov]
        linked: [{batch_size: 5, learning_rate: 1e-1}, {batch_size: 10, learning_rate: 0.2}]
      - {optimizer: adam, learning_rate: 1e-3}
    exclude: [{architecture: vit, optimizer: adam, seed: 3}]
""",
    )
    profile = Profile.load(path)
    configs = profile.configs("main")
    assert len(configs) == 2 * 3 * (2 * 2 + 1) - 1
    assert {(c.batch_size, c.learning_rate) for _, c in configs if c.optimizer == "sgd"} == {(5, 0.1), (10, 0.2)}
    assert [g for g, _ in profile.configs()][0] == "main", "the main grid comes first whatever the file's order"


def test_a_run_of_two_grids_is_trained_once(tmp_path):
    profile = Profile.load(
        write(tmp_path, "grids: {main: {common: {architecture: fc}}, again: {common: {architecture: fc}}}")
    )
    assert [g for g, _ in profile.configs()] == ["main"]


def test_a_grid_with_its_own_data_makes_a_space(tmp_path):
    body = "grids: {main: {}, other: {dataset: {name: sloppy, sloppiness: 0.5}}}".replace(
        "main: {}", "main: {common: {architecture: fc}}"
    )
    body = body.replace("0.5}}", "0.5}, common: {architecture: student-1}}")
    spaces = Profile.load(write(tmp_path, body)).spaces()
    assert set(spaces) == {"", "other"} and spaces["other"][0].name == "sloppy"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("grids: {main: {common: {architecture: fc}}}\ncolour: red", "colour"),
        ("grids: {side: {common: {architecture: fc}}}", "grids"),
        ("grids: {main: {common: {architecture: perceptron}}}", "architecture"),
        ("grids: {main: {common: {architecture: fc, learning_rate: '0.1'}}}", "learning_rate"),
        ("grids: {main: {common: {architecture: fc, learning_rate: -1.0}}}", "learning_rate"),
        ("grids: {main: {common: {architecture: fc, epochs: 2.5}}}", "epochs"),
        ("grids: {main: {common: {architecture: fc, initialisation: random_labels}}}", "pretrain_epochs"),
        ("grids: {main: {common: {architecture: fc}}}\ntile: true", "tile"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path, body, key):
    path = write(tmp_path, body)
    with pytest.raises(ValueError, match=key) as error:
        Profile.load(path)
    assert str(path) in str(error.value)


# Hashes of all run ids as they were before the key `side` existed (commit 55db513): runs trained then must stay known.
RUN_IDS = {
    "cifar10": "aeaf4256a225b90a",
    "digits": "19f6e8841fbb23d1",
    "fashion": "6aaa85364f1f6e15",
    "imagenet": "2b1d01c28f74be8a",
    "paper": "617a0ff9330e2dcb",
    "smoke": "6792cfa4f0e02c96",
}


@pytest.mark.parametrize("name", RUN_IDS)
def test_run_ids_of_older_atlases_stay(name):
    added = {44, 45} if name == "digits" else set()  # seeds that its sloppy grids got since
    configs = [c for grid, c in Profile.load(name).configs() if not (grid.startswith("sloppy") and c.seed in added)]
    assert fingerprint([config.run_id for config in configs]) == RUN_IDS[name]


def test_pooled_images_make_other_runs():
    ids = {
        RunConfig(dataset=DatasetConfig(name="cifar10", side=side), architecture="fc").run_id for side in (0, 8, 16, 32)
    }
    assert len(ids) == 4 and "side" not in DatasetConfig(name="cifar10").model_dump()


# --- a profile over a base --------------------------------------------------------------------------------------------

BASE = """
name: below
description: the base
dataset: {name: digits, n_train: 50, n_test: 20}
defaults: {epochs: 3, batch_size: 10}
grids:
  main:
    common: {architecture: [fc, vit], seed: [1, 2]}
    blocks: [{optimizer: sgd}, {optimizer: adam}]
  sizes: {common: {architecture: fc, scale: [0.5, 2.0]}}
"""
OVER = "base: below\nname: above\ndescription: over it\n"


def write_pair(tmp_path, body, head=OVER):
    (tmp_path / "below.yaml").write_text(BASE)
    (tmp_path / "above.yaml").write_text(head + body)
    return tmp_path / "above.yaml"


def test_mappings_are_merged_and_lists_replaced(tmp_path):
    path = write_pair(
        tmp_path,
        """
dataset: {n_train: 40}
defaults: {epochs: 5}
grids:
  main:
    common: {seed: [7]}
    blocks: [{optimizer: nesterov}]
  more: {common: {architecture: allcnn}}
""",
    )
    profile = Profile.load(path)
    assert (profile.dataset.n_train, profile.dataset.n_test, profile.name) == (40, 20, "above")
    main = [c for _, c in profile.configs("main")]
    assert {(c.architecture, c.seed, c.optimizer, c.epochs, c.batch_size) for c in main} == {
        ("fc", 7, "nesterov", 5, 10),
        ("vit", 7, "nesterov", 5, 10),
    }
    assert list(profile.grids) == ["main", "sizes", "more"] and len(profile.configs("sizes")) == 2
    assert Profile.load(tmp_path / "below.yaml").dataset.n_train == 50


def test_a_base_may_have_a_base_and_be_a_path(tmp_path):
    write_pair(tmp_path, "defaults: {epochs: 5}")
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "top.yaml").write_text("base: ../above.yaml\nname: top\ndescription: t\ndefaults: {batch_size: 7}")
    assert {(c.epochs, c.batch_size) for _, c in Profile.load(folder / "top.yaml").configs()} == {(5, 7)}


def test_an_atlas_keeps_the_profile_in_full(tmp_path):
    path = write_pair(tmp_path, "defaults: {epochs: 5}")
    profile = Profile.load(path)
    atlas = Atlas.create(profile, tmp_path / "atlases")
    (tmp_path / "below.yaml").unlink()
    path.unlink()
    assert "base" not in load_yaml((atlas.path / "profile.yaml").read_text())
    assert atlas.profile == profile


@pytest.mark.parametrize(
    ("head", "body", "complaint"),
    [
        ("base: nowhere\nname: a\ndescription: b\n", "", "key 'base': no profile 'nowhere'.*known.*above, below"),
        ("base: above\nname: a\ndescription: b\n", "", "key 'base': .* in a circle: above -> above"),
        ("base: [below]\nname: a\ndescription: b\n", "", "key 'base': the name or the path"),
        ("base: below\ndescription: b\n", "", "key 'name': a profile needs its own"),
        ("base: below\nname: below\ndescription: b\n", "", "key 'name': a profile needs its own"),
        ("base: below\nname: a\n", "", "key 'description': a profile needs its own"),
        (OVER, "dataset: {n_trian: 4}", "key 'dataset.n_trian'"),
        (OVER, "grids: {main: {blocks: [{optimizer: sgdd}]}}", "key 'grids.main.blocks.0.optimizer"),
        (OVER, "grids: {main: }", "key 'grids.main'"),
        ("- a list", "", "holds no keys and values"),
    ],
)
def test_a_mistake_over_a_base_is_one_line_with_file_and_key(tmp_path, head, body, complaint):
    path = write_pair(tmp_path, body, head)
    with pytest.raises(ValueError, match=complaint) as error:
        Profile.load(path)
    assert str(error.value).startswith(str(tmp_path / "above.yaml")) and "\n" not in str(error.value)


def test_a_mistake_in_the_base_names_the_base(tmp_path):
    path = write_pair(tmp_path, "dataset: {n_test: 10}")
    (tmp_path / "below.yaml").write_text(BASE.replace("n_train: 50", "n_train: many"))
    with pytest.raises(ValueError, match="below.yaml: key 'dataset.n_train'"):
        Profile.load(path)


def test_a_circle_of_bases_is_refused(tmp_path):
    path = write_pair(tmp_path, "")
    (tmp_path / "below.yaml").write_text("base: above\nname: b\ndescription: c\n")
    with pytest.raises(ValueError, match="in a circle: above -> below -> above"):
        Profile.load(path)


def test_the_quick_and_the_fashion_grid_are_the_grid_of_cifar16():
    def settings(name, grid):
        left_out = {"dataset", "epochs", "pretrain_epochs"}
        return [config.model_dump(exclude=left_out) for _, config in Profile.load(name).configs(grid)]

    grids = list(Profile.load("cifar16").grids)
    for name, n_train, data in (("cifar16-quick", 1000, "cifar10"), ("fashion16", 2000, "fashion")):
        profile = Profile.load(name)
        assert list(profile.grids) == grids
        assert all(settings(name, grid) == settings("cifar16", grid) for grid in grids)
        facts = profile.dataset
        assert (facts.name, facts.side, facts.n_train, facts.n_test, facts.record_every) == (data, 16, n_train, 1000, 2)
        runs = [c for _, c in profile.configs()]
        assert {c.epochs for c in runs if not c.label_noise} == {30} and {c.pretrain_epochs for c in runs} == {0, 30}
        assert {c.epochs for c in runs if c.label_noise} == {60}
        assert "subset_200" in {c.initialisation for c in runs}


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ValueError, match="known profiles: .*smoke"):
        Profile.load("smock")


def test_numbers_as_people_write_them():
    assert load_yaml("[1e-3, 2E+4, 1.5e3, .5e-1, 3]") == [1e-3, 2e4, 1500.0, 0.05, 3]
    assert load_yaml("[1e-3x, e-3]") == ["1e-3x", "e-3"]


def test_any_changed_setting_is_another_run():
    base = {"dataset": {"name": "digits"}, "architecture": "fc"}
    first = RunConfig(**base)
    assert RunConfig(**base).run_id == first.run_id
    for change in (
        {"seed": 43},
        {"learning_rate": 0.2},
        {"label_noise": 0.1},
        {"dataset": {"name": "digits", "n_train": 9}},
    ):
        assert RunConfig(**{**base, **change}).run_id != first.run_id


OTHER_VALUE = {
    "architecture": "vit",
    "optimizer": "adam",
    "batch_size": 100,
    "learning_rate": 0.2,
    "weight_decay": 1e-3,
    "augmentation": "simple",
    "initialisation": "subset_50",
    "seed": 43,
    "scale": 0.5,
    "epochs": 100,
    "pretrain_epochs": 7,
    "warmup_epochs": 2,
    "label_noise": 0.5,
}


def _table(*configs):
    return pd.DataFrame([{name: config.model_dump()[name] for name in FACTORS} for config in configs])


def test_every_field_of_a_run_but_its_data_is_a_factor():
    assert set(FACTORS) == set(RunConfig.model_fields) - {"dataset"} == set(OTHER_VALUE)
    assert set(CONFIGURATION) == set(FACTORS) - {SEED} and FAMILY in CONFIGURATION
    assert set(Block.model_fields) == {*FACTORS, "linked"}


@pytest.mark.parametrize("factor", FACTORS)
def test_runs_that_differ_in_a_field_other_than_the_seed_are_never_one_configuration(factor):
    first = RunConfig(dataset=DatasetConfig(name="digits", n_train=50), architecture="fc", initialisation="subset_10",
                      pretrain_epochs=3)  # fmt: skip
    second = first.model_copy(update={factor: OTHER_VALUE[factor]})
    assert first.run_id != second.run_id
    number, table = configurations(_table(first, second))
    assert len(table) == (1 if factor == SEED else 2) and len(set(number)) == len(table)


@given(st.lists(st.sampled_from(FACTORS), unique=True, min_size=1))
def test_configurations_are_the_runs_up_to_their_seed(changed):
    first = RunConfig(dataset=DatasetConfig(name="digits", n_train=50), architecture="fc")
    second = first.model_copy(update={factor: OTHER_VALUE[factor] for factor in changed})
    number, _ = configurations(_table(first, second))
    assert (number[0] == number[1]) == (changed == [SEED])


# --- what a typing error can hide -------------------------------------------------------------------------------------

MINIMAL = """name: mine
description: mine
dataset: {name: digits, n_train: 100, n_test: 50}
grids:
  main:
    blocks:
      - {architecture: fc, seed: [1, 2]}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: [1, 2]", "seed: [1, 2], epochs: 3, seed: 4", r"mine\.yaml.*'seed' is given twice, in lines 7 and 7"),
        ("name: mine\n", "name: mine\nname: other\n", r"mine\.yaml.*'name' is given twice, in lines 1 and 2"),
        ("n_train: 100", "n_train: 0100", r"mine\.yaml.*dataset\.n_train.*'0100'"),
        ("n_train: 100", "n_train: 1:40", r"mine\.yaml.*dataset\.n_train.*'1:40'"),
        ("n_train: 100", "n_train: 0x64", r"mine\.yaml.*dataset\.n_train.*'0x64'"),
        ("seed: [1, 2]", "learning_rate: .inf", r"mine\.yaml.*learning_rate"),
        ("seed: [1, 2]", "learning_rate: 1e999", r"mine\.yaml.*learning_rate.*finite"),
        ("seed: [1, 2]", "seed: []", r"mine\.yaml: key 'grids.main.blocks.0.seed': the list is empty"),
        ("seed: [1, 2]", "seed:", r"blocks\.0\.seed'.*there is no value after the colon"),
        ("seed: [1, 2]", "seed: [1, 1]", r"blocks\.0\.seed.*1 stands there twice"),
        ("seed: [1, 2]", "seed: 99999999999999999999", r"seed.*less than 9223372036854775808"),
        ("seed: [1, 2]", "seed: [1, 2], linked: []", r"blocks\.0\.linked': the list is empty"),
        ("      - {architecture: fc, seed: [1, 2]}", "      []", r"mine\.yaml: key 'grids.main.blocks': .* is empty"),
        ("description: mine", "\tdescription: mine", r"mine\.yaml is not YAML: [^\n]*, line 2$"),
        ("description: mine", 'description: "\\ud800"', "holds half a character, line 2$"),
        ("description: mine", "description: d\nx: *y", "found undefined alias 'y', line 3$"),
        ("seed: [1, 2]}", "linked: [{optimiser: adam}]}", r"mine\.yaml.*linked.*optimiser: no such factor"),
        ("    blocks", "    exclude: [{arch: fc}]\n    blocks", r"mine\.yaml.*exclude.*arch: no such factor"),
        ("    blocks", "    exclude: [{optimizer: sdg}]\n    blocks", r"mine\.yaml.*exclude: no run of this grid"),
        ("    blocks", "    exclude: [{}]\n    blocks", r"mine\.yaml.*exclude.*names at least one factor"),
    ],
)
def test_a_slip_is_refused_with_file_and_key(tmp_path, old, new, said):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    assert len(Profile.load(str(path)).configs()) == 2
    path.write_text(MINIMAL.replace(old, new))
    with pytest.raises(ValueError, match="(?s)" + said):
        Profile.load(str(path))


def test_a_key_of_a_merged_mapping_may_be_given_again():
    assert load_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")["b"] == {"x": 1, "y": 3}


def test_each_kind_of_start_on_sloppy_data_has_sixteen_runs_in_digits():
    runs = [(grid, c.initialisation) for grid, c in Profile.load("digits").configs() if grid.startswith("sloppy")]
    counts = {key: runs.count(key) for key in runs}
    assert len(counts) == 6 and set(counts.values()) == {16}


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    for content, byte in (("description: d".encode("utf-16"), 0), ("name: grün".encode("latin-1"), 8)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"mine\.yaml is not YAML: byte {byte} is no UTF-8 text .*save it as"):
            Profile.load(str(path))
