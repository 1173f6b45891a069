"""Grids of runs: products of factors, as a profile's YAML file says them."""

from itertools import product
from typing import Annotated

from pydantic import AfterValidator, Field, create_model, model_validator

from manifold_utils.profiles.runs import FACTORS, DatasetConfig, RunConfig, Strict


def _once_each(values):
    twice = [value for k, value in enumerate(values) if value in values[:k]]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there twice: a list names each level once")
    return values


def _said(value):
    if value is None:
        raise ValueError("there is no value after the colon: give one, or leave the key out")
    return value


def _one_or_several(factor):
    kind = RunConfig.model_fields[factor].annotation
    several = Annotated[list[kind], Field(min_length=1), AfterValidator(_once_each)]
    return Annotated[kind | several | None, AfterValidator(_said)], None


_Factors = create_model("_Factors", __base__=Strict, **{factor: _one_or_several(factor) for factor in FACTORS})


def _of_factors(entry):
    strange = sorted(set(entry) - set(FACTORS))
    if strange:
        raise ValueError(f"{', '.join(strange)}: no such factor; the factors are {', '.join(FACTORS)}")
    if not entry:
        raise ValueError("an entry names at least one factor")
    return entry


_Setting = Annotated[dict[str, str | int | float], AfterValidator(_of_factors)]


class Block(_Factors):
    """A product of factors. Each key holds a value or a list of values; the entries of `linked` vary together."""

    linked: Annotated[list[_Setting], AfterValidator(_once_each)] = []

    def settings(self):
        """List of dictionaries, one for each combination; later keys vary fastest."""
        given = {key: value for key, value in self.model_dump(exclude={"linked"}).items() if value is not None}
        axes = [[(key, v) for v in (value if isinstance(value, list) else [value])] for key, value in given.items()]
        return [{**dict(combination), **link} for link in (self.linked or [{}]) for combination in product(*axes)]


class Grid(Strict):
    """Runs of one purpose: every setting of `common` crossed with each of `blocks`, less what `exclude` matches."""

    common: Block = Block()
    blocks: list[Block] = Field([Block()], min_length=1)
    exclude: list[_Setting] = []
    dataset: DatasetConfig | None = None  # a grid with its own data set makes a prediction space of its own

    def settings(self):
        combined = [
            {**a, **b}
            for b_list in (block.settings() for block in self.blocks)
            for a in self.common.settings()
            for b in b_list
        ]
        return [s for s in combined if not any(_matches(s, rule) for rule in self.exclude)]

    @model_validator(mode="after")
    def _rules_match_something(self):
        without = self.model_copy(update={"exclude": []})
        idle = [rule for rule in self.exclude if not any(_matches(s, rule) for s in without.settings())]
        if idle:
            raise ValueError(f"exclude: no run of this grid is {idle[0]}: check its values")
        return self


def _matches(setting, rule):
    return all(setting.get(key) == value for key, value in rule.items())
