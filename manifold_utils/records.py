"""The record of one run: what training hands over and what the atlas keeps.

Nothing here trains or stores; it is the contract between `training` (or a user's own loop) and `atlas`.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from manifold_utils.profiles import RunConfig

SPLITS = ("train", "test")
POINT_COLUMNS = ("step", "epoch", "phase", "loss_train", "error_train", "loss_test", "error_test")


@dataclass
class RunRecord:
    """One run's checkpoints.

    Attributes
    ----------
    config : RunConfig
    status : {"finished", "diverged"}
    points : DataFrame with `POINT_COLUMNS`, one row a checkpoint
        step (int), epoch (float), phase ("main" or "pretrain"), losses (nats), errors (fractions in [0, 1]).
    log_probs : dict of "train" and "test" -> ndarray (n_checkpoints, n_samples, n_classes) float32
        Natural-log predictions in eval mode on un-augmented samples.
    seconds : float
        Wall time of the run.
    info : dict
        JSON-able facts: n_parameters, device, versions, diverged_step.
    """

    config: RunConfig
    status: str
    points: pd.DataFrame
    log_probs: dict
    seconds: float
    info: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.status not in ("finished", "diverged"):
            raise ValueError(f"status must be 'finished' or 'diverged', found {self.status!r}")
        missing = [c for c in POINT_COLUMNS if c not in self.points]
        if missing:
            raise ValueError(f"run {self.config.run_id}: points lack the columns {missing}")
        for split in SPLITS:
            shape = np.shape(self.log_probs[split])
            if len(shape) != 3 or shape[0] != len(self.points):
                raise ValueError(
                    f"run {self.config.run_id}: log_probs[{split!r}] has shape {shape}; "
                    f"expected ({len(self.points)}, n_samples, n_classes), one entry a row of points"
                )
