"""A number with its interval in words, and the verdict on an effect in the words of the scorecard (`claims`)."""

import numpy as np

from manifold_utils import claims


def in_words(value, low, high):
    """'0.62 (0.47 to 0.71)', or that there is not enough to tell.

    Examples
    --------
    >>> in_words(0.621, 0.47, 0.71), in_words(np.nan, np.nan, np.nan)
    ('0.62 (0.47 to 0.71)', 'not enough configurations to tell')
    """
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(value) else "not enough configurations to tell"


def verdict(low, high, p=0.0):
    """Whether an effect above 0 is more than chance, in the words of the scorecard: by its interval and its p-value.

    Examples
    --------
    >>> verdict(0.2, 0.4, p=0.01), verdict(0.2, 0.4, p=0.3), verdict(-0.1, 0.4), verdict(-0.3, -0.1)
    ('holds beyond the null', 'the null does as well', 'not decided', 'contradicted')
    """
    if low > 0:
        return claims.HOLDS if p <= 0.05 else claims.NULL
    return claims.CONTRADICTED if high < 0 else claims.UNDECIDED
