"""The synthetic data of PAPER.md section 1: inputs whose variances fall exponentially, labelled by a random teacher."""

import math
from itertools import pairwise

import numpy as np

N_DIMENSIONS, N_CLASSES, N_TEACHER = 200, 5, 50


def sloppy_samples(n, sloppiness, generator):
    """Inputs x = z diag(sqrt(l_i / d)), z ~ N(0, I), l_i = 50 c exp(-c i), i = 0 ... d-1 (PAPER.md section 1).

    Parameters
    ----------
    n : int
    sloppiness : float, c above 0: 0.5 is sloppy, 0.001 nearly isotropic
    generator : numpy Generator

    Returns
    -------
    ndarray (n, 200) float64
    """
    variances = 50 * sloppiness * np.exp(-sloppiness * np.arange(N_DIMENSIONS))
    return generator.standard_normal((n, N_DIMENSIONS)) * np.sqrt(variances / N_DIMENSIONS)


def teacher_labels(x, generator):
    """Class of each input under a random teacher 200-50-5 with tanh and no bias; weights N(0, 1 / fan-in)."""
    sizes = (x.shape[1], N_TEACHER, N_CLASSES)
    first, last = (generator.standard_normal((a, b)) / math.sqrt(a) for a, b in pairwise(sizes))
    return np.argmax(np.tanh(x @ first) @ last, axis=1)
