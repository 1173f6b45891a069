"""Profiles: one validated YAML file says which data, which networks and which grid of runs a book is made from.

A profile spans named grids (PAPER.md's grid is one of them); `Profile.configs` lists their runs as `RunConfig`s in a
fixed order. A file may name another as its `base` and say only what differs. Unknown keys, wrong types and impossible
values are refused with the file and the key. It trains nothing and counts no parameters (see `training`).
"""

from functools import partial
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, ValidationError, field_validator

from manifold_utils import outside
from manifold_utils.files import PROJECT
from manifold_utils.profiles.design import BOOK_DESIGN, SPLITS
from manifold_utils.profiles.grids import Block, Grid
from manifold_utils.profiles.reading import explain, layers_of, overlaid, profile_path
from manifold_utils.profiles.recorded import RECORDED, Analyses, RecordedProfile
from manifold_utils.profiles.runs import DatasetConfig, RunConfig

PROFILE_FOLDER = PROJECT / "notebooks" / "profiles"


def known_profiles(folder=PROFILE_FOLDER):
    """Names of the profiles of a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


_Name = Annotated[str, AfterValidator(partial(outside.check_name, what="grid"))]  # names of folders and files


class Profile(Analyses):
    """One book: its data, its grids and the sizes of its analyses. Load with `Profile.load`."""

    kind: ClassVar[str] = "trained"
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=80)]
    description: str
    dataset: DatasetConfig
    defaults: Block = Block()
    grids: dict[_Name, Grid]

    @field_validator("grids")
    @classmethod
    def _has_main(cls, grids):
        if "main" not in grids:
            raise ValueError("the grid 'main' is missing: the book's figures are about it")
        return grids

    @classmethod
    def load(cls, name, data_dir=""):
        """Read `notebooks/profiles/<name>.yaml`, or the file `name` if it ends in .yaml, over its `base` if it has one.

        A name that is no file there may be an atlas of recorded runs, `atlases/<name>` below the data folder.

        Parameters
        ----------
        name : str or Path
        data_dir : str
            Folder of data sets and atlases; "" for $MANIFOLD_DATA or the project's data/.

        Returns
        -------
        Profile, or RecordedProfile where the file says `kind: recorded`

        Raises
        ------
        ValueError
            Unknown profile or base, unknown key, wrong type or impossible value, naming the file and the key; a name
            that is a profile and a recorded atlas.
        """
        layers = layers_of(profile_path(name, PROFILE_FOLDER, data_dir))
        content = {}
        for _, layer in reversed(layers):
            content = overlaid(content, layer)
        try:
            if content.get("kind") == RECORDED:
                return RecordedProfile.model_validate(content)
            profile = cls.model_validate(content)
            profile.configs()  # the grids must span valid runs too
        except ValidationError as error:
            raise ValueError(explain(error, layers)) from error
        return profile

    def configs(self, grid=None):
        """List of (grid name, RunConfig) of all grids or of one: `main` first, then the file's order, each run once."""
        if grid is not None and grid not in self.grids:
            raise ValueError(f"profile {self.name!r} has no grid {grid!r}; it has {', '.join(self.grids)}")
        seen, listed = set(), []
        for name, spec in sorted(self.grids.items(), key=lambda item: item[0] != "main"):
            for setting in [{**d, **s} for d in self.defaults.settings() for s in spec.settings()]:
                config = RunConfig(dataset=spec.dataset or self.dataset, **setting)
                if config.run_id not in seen:
                    seen.add(config.run_id)
                    listed.append((name, config))
        return [(n, c) for n, c in listed if grid is None or n == grid]

    @property
    def design(self):
        """The `Design` of an atlas that is made from this profile."""
        return BOOK_DESIGN

    @property
    def splits(self):
        """The splits that predictions are recorded on."""
        return SPLITS

    @property
    def data_name(self):
        """What the results of this book are about."""
        return self.dataset.name

    def spaces(self):
        """Mapping of space name -> (DatasetConfig, grid names). The main space is named ''; others by their grid."""
        spaces = {"": (self.dataset, [])}
        for name, spec in self.grids.items():
            own = spec.dataset is not None and spec.dataset != self.dataset
            spaces.setdefault(name if own else "", (spec.dataset or self.dataset, []))[1].append(name)
        return spaces
