"""One run: its data set, and everything else that decides its predictions.

THE list of factors is here; tables, configurations, effects and figures derive theirs from it. `Strict` is how all
settings of the project are validated. It spans no grid (see `grids`).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from manifold_utils.files import fingerprint

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
POOLED_FROM = {"cifar10": 32, "fashion": 32}  # pixels a side before area pooling; Fashion's 28 get a border of 2
MIN_SIDE = 4  # pixels: below it the networks' strides leave nothing


class Strict(BaseModel):
    """Settings that are what they say: unknown keys, other types and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetConfig(Strict):
    """A data set and how it is cut: class-balanced, seeded subsets of `n_train` and `n_test` samples (0: all)."""

    name: DATASETS
    n_train: int = Field(0, ge=0)
    n_test: int = Field(0, ge=0)
    seed: int = Field(0, ge=0, lt=2**63)
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


class RunConfig(Strict):
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
    seed: int = Field(42, ge=0, lt=2**63)
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
