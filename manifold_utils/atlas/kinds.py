"""Are these logits, log-probabilities or probabilities? What the numbers themselves say of it.

A softmax of probabilities is a prediction too, only a meaningless one, so that nothing later would notice. What half
precision, rounding, percentages and independent sigmoids leave is recognised. It changes no number (see `checks`).
"""

from dataclasses import dataclass

import numpy as np

KINDS = ("logits", "log_probs", "probabilities")
SUM_TOLERANCE = 0.02  # of the sum of probabilities, which half precision leaves; more is no rounding
MEAN_TOLERANCE = 5e-3  # of the mean of such sums: rounding errors cancel, a part that was cut off does not
ROUNDED_TOLERANCE = 2e-3  # of that sum, beyond which numbers of two decimals were rounded after the softmax
HUNDREDTH_TOLERANCE = 0.02  # of a hundredth: what half precision leaves of a number of two decimals
PERCENT_TOLERANCE = 5.0  # of the sum of percentages
TINY_SAMPLE = 30  # numbers; fewer of them may lie between 0 and 1 by chance
SIGMOID_SPREAD = 0.5  # between the smallest and the largest output of sigmoids that have learnt something


def another_kind(values, kind):
    """Why predictions are not of the kind that they are said to be, with the cure; "" if they may be.

    Parameters
    ----------
    values : ndarray of shape (n_points, n_samples, n_classes), without NaN or plus infinity
    kind : one of `KINDS`

    Examples
    --------
    >>> another_kind(np.full((1, 2, 4), 25.0), "probabilities")
    'these are percentages (each row sums to 100): divide by 100'
    >>> another_kind(np.zeros((1, 2, 4)), "logits")
    ''
    """
    said = {"logits": _not_logits, "log_probs": _not_log_probs, "probabilities": _not_probabilities}
    return said[kind](Look.at(values))


@dataclass
class Look:
    """What the kind of predictions is judged by: extremes of all numbers, and of their sums over classes."""

    values: np.ndarray
    low: float
    high: float
    sums: tuple  # smallest and largest sum of a row
    mean_sum: float

    @classmethod
    def at(cls, values):
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.concatenate([np.asarray(point, dtype=np.float64).sum(axis=1) for point in values])
        ends = float(sums.min()), float(sums.max())
        return cls(values, float(values.min()), float(values.max()), ends, float(sums.mean()))

    def sums_to(self, total, tolerance):
        return abs(self.sums[0] - total) <= tolerance and abs(self.sums[1] - total) <= tolerance

    def sums_of_powers(self, base):
        """Smallest and largest sum over classes of base ** value."""
        with np.errstate(over="ignore"):
            sums = [np.exp(np.log(base) * np.asarray(point, dtype=np.float64)).sum(axis=1) for point in self.values]
        return float(np.min(sums)), float(np.max(sums))

    def powers_sum_to_1(self, base):
        return all(abs(end - 1) <= SUM_TOLERANCE for end in self.sums_of_powers(base))

    @property
    def within_0_and_1(self):
        return self.low >= 0 and self.high <= 1 + SUM_TOLERANCE

    @property
    def nearly_probabilities(self):
        """Between 0 and 1, and rows sum to 1 but for rounding to two decimals."""
        return self.within_0_and_1 and self.sums_to(1, max(SUM_TOLERANCE, 0.005 * self.values.shape[2]))

    @property
    def percentages(self):
        return self.low >= 0 and self.high > 1 + SUM_TOLERANCE and self.sums_to(100, PERCENT_TOLERANCE)

    @property
    def hundredths(self):
        """All numbers have two decimals at most (in half precision, too)."""
        hundred = 100 * np.asarray(self.values, dtype=np.float64)
        return bool((np.abs(hundred - np.round(hundred)) < HUNDREDTH_TOLERANCE).all())


def _between(ends):
    return f"between {ends[0]:.4g} and {ends[1]:.4g}"


def _not_logits(look):
    if look.nearly_probabilities:
        return (
            "these are probabilities (all lie between 0 and 1 and each row sums to 1), not logits: pass "
            "kind='probabilities' (--kind probabilities), or their natural logarithm"
        )
    if look.percentages:
        return (
            "these are percentages (each row sums to 100), not logits: divide by 100 and pass kind='probabilities' "
            "(--kind probabilities)"
        )
    # an untrained network's logits may all be small and positive: only a wide spread speaks of sigmoids
    if look.within_0_and_1 and look.high - look.low > SIGMOID_SPREAD and look.values.size >= TINY_SAMPLE:
        return (
            f"all numbers lie between 0 and 1 and rows sum to {_between(look.sums)}, like the outputs of independent "
            "sigmoids, not like logits: record what goes into the sigmoid, if one class a sample is right; predictions "
            "of several labels a sample have no distribution over classes"
        )
    return ""


def _not_log_probs(look):
    if look.powers_sum_to_1(np.e):
        return ""
    if look.nearly_probabilities:
        return "these are probabilities, not their logarithm: pass kind='probabilities' (--kind probabilities)"
    for base in (2, 10):
        if look.powers_sum_to_1(base):
            return f"these are logarithms to base {base}, not natural ones: multiply by {np.log(base):.7f}"
    return (
        f"these are no log-probabilities: their exponentials sum to {_between(look.sums_of_powers(np.e))}, not "
        "1; pass kind='logits' (--kind logits) if they are not normalised"
    )


def _not_probabilities(look):
    if look.low < 0:
        what = "log-probabilities" if look.powers_sum_to_1(np.e) else "logits"
        kind = what.replace("log-probabilities", "log_probs")
        return f"there are negative numbers: these are {what}; pass kind='{kind}' (--kind {kind})"
    if look.percentages:
        return "these are percentages (each row sums to 100): divide by 100"
    if look.high > 1 + SUM_TOLERANCE:
        return f"the largest number is {look.high:.4g}: these are no probabilities; pass kind='logits' (--kind logits)"
    if not look.sums_to(1, ROUNDED_TOLERANCE) and look.nearly_probabilities and look.hundredths:
        return (
            f"these are probabilities that were rounded to two decimals (rows sum to {_between(look.sums)}): small "
            "ones are lost, and the distances with them; write them unrounded"
        )
    if not look.sums_to(1, SUM_TOLERANCE):
        return (
            f"rows sum to {_between(look.sums)}, not to 1, as the outputs of independent sigmoids do: record the "
            "softmax over classes, or what goes into it with kind='logits' (--kind logits)"
        )
    if abs(look.mean_sum - 1) > MEAN_TOLERANCE:
        return (
            f"rows sum to {look.mean_sum:.4g} on average, and rounding would leave 1: a class is missing, or small "
            "probabilities were cut off; write all of them, or divide each row by its sum if that is right"
        )
    return ""
