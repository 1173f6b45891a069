"""The profile of an atlas whose runs were made elsewhere: it lies frozen in the atlas, and spans nothing to train.

What chapters ask of a profile (its design, spaces, splits and the sizes of the analyses) it answers as a trained one
does. Which runs there are, the atlas' own tables say.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from manifold_utils.profiles.design import SPLITS, Design
from manifold_utils.profiles.runs import Strict

RECORDED = "recorded"
Metric = Literal["bhattacharyya", "hellinger", "geodesic", "euclidean", "symmetric_kl"]
Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Analyses(Strict):
    """The sizes of a book's analyses, whatever its runs are."""

    metrics: list[Metric] = Field(["bhattacharyya"], min_length=1)
    tile: int = Field(1024, ge=16)  # points a side of a distance tile
    n_components: int = Field(50, ge=3)
    n_progress: int = Field(100, ge=5, le=100_000)  # points of the common progress grid

    def sizes(self):
        """These sizes alone, as a dictionary."""
        return {name: getattr(self, name) for name in Analyses.model_fields}


class RecordedProfile(Analyses):
    """What an atlas of recorded runs is about; `Atlas.from_runs` makes it, `Profile.load` reads it.

    `factors` are columns of the atlas' runs, in the order in which tables and figures show them, without the seed;
    `family` is one of them. `classes` are the names of the classes in the order of the predictions' columns; an empty
    list means that they are numbered.
    """

    kind: Literal["recorded"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=80)]
    description: str
    factors: Names
    family: str
    seed: str | None = None
    classes: list[str] = []
    splits: list[Literal["train", "test"]] = Field(min_length=1)

    @field_validator("splits")
    @classmethod
    def _in_order(cls, splits):
        if splits != [split for split in SPLITS if split in splits]:
            raise ValueError(f"splits are {', '.join(SPLITS)}, each once and in this order")
        return splits

    @model_validator(mode="after")
    def _names_agree(self):
        if len(set(self.factors)) < len(self.factors) or self.seed in self.factors:
            raise ValueError("factors are named once each, and the seed is none of them")
        if self.family not in self.factors:
            raise ValueError(f"the family {self.family!r} is none of the factors {', '.join(self.factors)}")
        return self

    @property
    def design(self):
        """The `Design` of the atlas."""
        return Design(tuple(self.factors), self.family, self.seed)

    @property
    def grids(self):
        """All recorded runs are one grid, `main`; there is no plan of it."""
        return {"main": None}

    @property
    def data_name(self):
        """What the results of this book are about."""
        return self.name

    def configs(self, grid=None):
        """No runs to train."""
        return []

    def spaces(self):
        """One space, with the one grid."""
        return {"": (None, ["main"])}
