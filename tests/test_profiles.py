"""Profiles: what they span, and that every mistake in one is named with its file and key."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    load_yaml,
)
from manifold_utils.statistics import configurations

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


def test_each_kind_of_start_on_sloppy_data_has_sixteen_runs_in_digits():
    runs = [(grid, c.initialisation) for grid, c in Profile.load("digits").configs() if grid.startswith("sloppy")]
    counts = {key: runs.count(key) for key in runs}
    assert len(counts) == 6 and set(counts.values()) == {16}
