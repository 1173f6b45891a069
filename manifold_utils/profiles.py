"""Profiles: one validated YAML file says which data, which networks and which grid of runs a book is made from.

A profile spans named grids (PAPER.md's grid is one of them); `Profile.configs` lists their runs as `RunConfig`s in a
fixed order. A file may name another as its `base` and say only what differs. Unknown keys, wrong types and impossible
values are refused with the file and the key. It trains nothing and counts no parameters (see `training`).
"""

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from manifold_utils import outside
from manifold_utils.files import PROJECT, fingerprint
from manifold_utils.strict_yaml import load_yaml

PROFILE_FOLDER = PROJECT / "notebooks" / "profiles"
Architecture = Literal[
    "fc",
    "allcnn",
    "wr-10-4-8",
    "wr-16-4-64",
    "convmixer",
    "vit",
    "resnet18",
    "resnet50",
    "vit-small",
    "student-1",
    "student-2",
]
Initialisation = Annotated[str, Field(pattern=r"^(ordinary|random_labels|subset_[1-9]\d*|offset_\d+)$")]
DATASETS = Literal["digits", "fashion", "cifar10", "imagefolder", "sloppy"]
Metric = Literal["bhattacharyya", "hellinger", "geodesic", "euclidean", "symmetric_kl"]
POOLED_FROM = {"cifar10": 32, "fashion": 32}  # pixels a side before area pooling; Fashion's 28 get a border of 2
MIN_SIDE = 4  # pixels: below it the networks' strides leave nothing


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetConfig(_Strict):
    """A data set and how it is cut: class-balanced, seeded subsets of `n_train` and `n_test` samples (0: all)."""

    name: DATASETS
    n_train: int = Field(0, ge=0)
    n_test: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    folder: str = ""  # relative to the data folder; "" = the data set's own name
    image_size: int = Field(0, ge=0)  # pixels a side of streamed image folders; 0: the files' own size
    record_every: int = Field(1, ge=1)  # predictions are recorded on every n-th training sample (the paper: 2)
    sloppiness: float = Field(0.5, gt=0)  # c of the synthetic data: variances 50 c exp(-c i)
    side: int = Field(0, ge=0)  # pixels a side after area pooling (cifar10, fashion); 0: the images' own size

    @model_validator(mode="after")
    def _side_divides(self):
        if self.side == 0:
            return self
        full = POOLED_FROM.get(self.name)
        if full is None:
            instead = "image_size resizes them" if self.name == "imagefolder" else "they keep their own size: drop it"
            raise ValueError(f"side pools images of {' and '.join(POOLED_FROM)} only; those of {self.name}: {instead}")
        sides = [d for d in range(MIN_SIDE, full + 1) if full % d == 0]
        if self.side not in sides:
            raise ValueError(
                f"{self.name} has {full} pixels a side (with its border, if any), which cannot be pooled to "
                f"{self.side}; side may be {', '.join(map(str, sides))}"
            )
        return self

    @model_serializer(mode="wrap")
    def _side_if_pooled(self, handler):
        """Images of their own size are written without `side`, so that run ids made before it existed stay."""
        return {key: value for key, value in handler(self).items() if key != "side" or value}


class RunConfig(_Strict):
    """Everything that decides the predictions of one run. `run_id` is a hash of it, so a changed run is another run.

    Units: `learning_rate` per step at the peak of the schedule, `epochs` passes over the training data, `label_noise`
    the fraction of training labels replaced by uniformly random ones. `scale` multiplies widths (1: the paper's
    network). `initialisation`: `ordinary`; `random_labels` or `subset_<n>` (fitted to those for `pretrain_epochs`
    first); `offset_<k>` (weights moved by the k-th shared Gaussian offset).
    """

    dataset: DatasetConfig
    architecture: Architecture
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "sgd"
    batch_size: int = Field(200, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    augmentation: Literal["none", "simple"] = "none"
    initialisation: Initialisation = "ordinary"
    seed: int = Field(42, ge=0)
    scale: float = Field(1.0, gt=0)
    epochs: int = Field(200, ge=1)
    pretrain_epochs: int = Field(0, ge=0)
    warmup_epochs: int = Field(0, ge=0)
    label_noise: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _pretraining_has_epochs(self):
        fitted_first = self.initialisation.startswith(("random", "subset"))
        if fitted_first and self.pretrain_epochs == 0:
            raise ValueError(f"initialisation {self.initialisation!r} needs pretrain_epochs of at least 1")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs})")
        return self

    @property
    def run_id(self):
        """Readable and unique: the factors a person looks for, then 10 digits of the hash of the whole
        configuration."""
        name = f"{self.architecture}-{self.optimizer}-{self.batch_size}-s{self.seed}"
        return f"{name}-{fingerprint(self.model_dump(), 10)}"


# THE list of factors, in the order in which a grid varies them: all that decides a run beside its data set. Tables,
# configurations, effects and figures derive theirs from it. Runs that differ in `SEED` alone are one configuration.
FACTORS = tuple(name for name in RunConfig.model_fields if name != "dataset")
SEED, FAMILY = "seed", "architecture"
CONFIGURATION = tuple(name for name in FACTORS if name != SEED)


@dataclass(frozen=True)
class Design:
    """What differs between the runs of an atlas: names of columns of its `runs`.

    Attributes
    ----------
    factors : tuple of str
        All that makes a configuration, in the order in which tables and figures show them; never the seed.
    family : str
        The factor that colours figures and that claims generalise over; one of `factors`, or a column that is constant.
    seed : str or None
        The column that only repeats a configuration. None: runs that agree in all factors are repeats.
    """

    factors: tuple = CONFIGURATION
    family: str = FAMILY
    seed: str | None = SEED


BOOK_DESIGN = Design()


def _one_or_several(factor):
    kind = RunConfig.model_fields[factor].annotation
    return kind | Annotated[list[kind], Field(min_length=1)] | None, None


_Factors = create_model("_Factors", __base__=_Strict, **{factor: _one_or_several(factor) for factor in FACTORS})


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

    linked: list[_Setting] = []

    def settings(self):
        """List of dictionaries, one for each combination; later keys vary fastest."""
        given = {key: value for key, value in self.model_dump(exclude={"linked"}).items() if value is not None}
        axes = [[(key, v) for v in (value if isinstance(value, list) else [value])] for key, value in given.items()]
        return [{**dict(combination), **link} for link in (self.linked or [{}]) for combination in product(*axes)]


class Grid(_Strict):
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


class Profile(_Strict):
    """One book: its data, its grids and the sizes of its analyses. Load with `Profile.load`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    description: str
    dataset: DatasetConfig
    defaults: Block = Block()
    grids: dict[
        Annotated[str, AfterValidator(partial(outside.check_name, what="grid"))], Grid
    ]  # names of folders and files
    metrics: list[Metric] = Field(["bhattacharyya"], min_length=1)
    tile: int = Field(1024, ge=16)  # points a side of a distance tile
    n_components: int = Field(50, ge=3)
    n_progress: int = Field(100, ge=5)  # points of the common progress grid

    @field_validator("grids")
    @classmethod
    def _has_main(cls, grids):
        if "main" not in grids:
            raise ValueError("the grid 'main' is missing: the book's figures are about it")
        return grids

    @classmethod
    def load(cls, name):
        """Read `notebooks/profiles/<name>.yaml`, or the file `name` if it ends in .yaml, over its `base` if it has one.

        Raises
        ------
        ValueError
            Unknown profile or base, unknown key, wrong type or impossible value, naming the file and the key.
        """
        path = _profile_path(name, PROFILE_FOLDER)
        if not path.is_file():
            raise ValueError(f"no profile {str(name)!r} ({path} does not exist); known profiles: {_known(path.parent)}")
        layers = _layers(path)
        content = {}
        for _, layer in reversed(layers):
            content = _overlaid(content, layer)
        try:
            profile = cls.model_validate(content)
            profile.configs()  # the grids must span valid runs too
        except ValidationError as error:
            raise ValueError(_explain(error, layers)) from error
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

    def spaces(self):
        """Mapping of space name -> (DatasetConfig, grid names). The main space is named ''; others by their grid."""
        spaces = {"": (self.dataset, [])}
        for name, spec in self.grids.items():
            own = spec.dataset is not None and spec.dataset != self.dataset
            spaces.setdefault(name if own else "", (spec.dataset or self.dataset, []))[1].append(name)
        return spaces


def _profile_path(name, folder):
    return Path(name) if str(name).endswith(".yaml") else folder / f"{name}.yaml"


def _known(folder):
    return ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"


def _layers(path, above=()):
    """List of (path, content): a profile's file, its base, the base of that, and so on."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys and values, as a profile does")
    base = content.pop("base", None)
    if base is None:
        return [(path, content)]
    if (path.parent / "atlas.json").is_file():
        raise ValueError(f"{path}: key 'base': the profile of an atlas is whole and has no base (found {base!r})")
    if not isinstance(base, str):
        raise ValueError(f"{path}: key 'base': the name or the path of a profile is expected (found {base!r})")
    below = path.parent / _profile_path(base, path.parent)
    seen = [*above, path.resolve()]
    if below.resolve() in seen:
        circle = " -> ".join(p.stem for p in [*seen, below])
        raise ValueError(f"{path}: key 'base': profiles are each other's base in a circle: {circle}")
    if not below.is_file():
        known = _known(path.parent)
        raise ValueError(f"{path}: key 'base': no profile {base!r} ({below} does not exist); known profiles: {known}")
    layers = _layers(below, seen)
    for key in ("name", "description"):
        if content.get(key) in (None, *(layer.get(key) for _, layer in layers)):
            raise ValueError(f"{path}: key {key!r}: a profile needs its own, not its base's: its atlas is another")
    return [(path, content), *layers]


def _overlaid(below, above):
    """`above` laid over `below`: mappings are merged, however deep; lists and single values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlaid(merged[key], value) if both else value
    return merged


def _source(key, layers):
    """The file that a key (a tuple of names and places in lists) comes from: the uppermost that says it."""
    return next((path for path, content in layers if key and _says(content, key)), layers[0][0])


def _says(content, key):
    """Whether nested mappings hold `key`, or end in a list or a single value on the way to it."""
    if not key or not isinstance(content, dict):
        return True
    return key[0] in content and _says(content[key[0]], key[1:])


def _explain(error, layers):
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(run)"
        lines.append(f"{_source(item['loc'], layers)}: key '{key}': {item['msg']} (found {item.get('input')!r})")
    return "; ".join(lines)
