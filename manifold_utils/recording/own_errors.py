"""The recorded error beside the user's own: what `record` returns, and the warning where the two do not fit.

A wrong normalisation, another order of the classes, or a network in train mode shows there first.
"""

import math
import warnings
from dataclasses import dataclass, field

from manifold_utils.atlas.records import SPLITS

EXPLAINED = {"train": 0.1, "test": 0.02}  # difference to the user's own error that eval mode and rounding explain
DEVIATIONS = 3.0  # standard errors of the recorded error on top of that: her samples may be others


@dataclass(frozen=True)
class Recorded:
    """One checkpoint that was kept: its `row` of the points, with losses and errors, and the user's `own` errors.

    Examples
    --------
    >>> Recorded({"step": 5, "error_test": 0.25}, {"test": 0.2})
    step 5: test error 0.250 (yours 0.200)
    """

    row: dict
    own: dict = field(default_factory=dict)

    def __repr__(self):
        told = []
        for split in (split for split in SPLITS if f"error_{split}" in self.row):
            yours = f" (yours {self.own[split]:.3f})" if split in self.own else ""
            told.append(f"{split} error {self.row[f'error_{split}']:.3f}{yours}")
        return f"step {self.row['step']}: {', '.join(told)}"


def check_own(own):
    """ValueError if an error of `own` (dict of split -> float or None) is no fraction.

    Examples
    --------
    >>> check_own({"train": None, "test": 0.05})
    """
    for split, error in own.items():
        if error is not None and not 0 <= float(error) <= 1:
            raise ValueError(f"error_{split} is your own error as a fraction of 1; found {float(error):g}")


def compare(recorded, split, n):
    """Warn if the user's own error is farther from the recorded one than eval mode and the samples explain."""
    error, own = recorded.row[f"error_{split}"], float(recorded.own[split])
    spread = DEVIATIONS * math.sqrt(max(error * (1 - error), own * (1 - own)) / n)
    if abs(error - own) <= EXPLAINED[split] + spread:
        return
    likely = "your training loop may change the inputs in a way that the recorder does not: pass inputs=..."
    if abs(error - (1 - own)) <= EXPLAINED[split]:
        likely = f"{own:.3f} looks like the accuracy: give the error"
    elif split == "train":
        likely += ", or your error is a mean over the epoch, or on augmented samples"
    warnings.warn(f"{recorded} differ more than eval mode explains; {likely}", stacklevel=4)
