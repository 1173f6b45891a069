"""Ways to choose landmarks, compared in chapter 90 and by `make scale` (PAPER.md section 1, InPCA, New points).

`uniform`: all points alike. `strata`: as many of each kind, kinds being the places of a coarse clock along the runs.
`rounds`: k-means++ on the distances themselves, a round at a time (`inpca.landmarks.draw_landmarks`). `sketch`:
k-means++ on coordinates that come from a few uniform landmarks, which needs no more distances and one point at a time.
It says how far each one's embedding is from the exact one; it draws nothing.
"""

import numpy as np

from manifold_utils.inpca.landmarks import LandmarkInPCA, draw_landmarks

SKETCH_LANDMARKS, SKETCH_AXES = 256, 20  # uniform landmarks of a sketch, and axes of it in which cover is judged
STRATA = 10  # places of the coarse clock
STRESS_AXES = (1, 3, 10, 50)  # numbers of axes whose explained stress is compared
COMPARED = 3  # coordinates that a picture shows


def uniform(n_points, n_landmarks, rng):
    """Row numbers (l,), all points alike."""
    return rng.choice(n_points, n_landmarks, replace=False)


def strata(kinds, n_landmarks, rng):
    """Row numbers (l,): in turns one of each kind, at random within it.

    Parameters
    ----------
    kinds : array (n_points,), of labels
    n_landmarks : int
    rng : numpy Generator

    Examples
    --------
    >>> rows = strata(np.repeat([0, 1], [90, 10]), 8, np.random.default_rng(0))
    >>> int((rows < 90).sum())
    4
    """
    order = rng.permutation(len(kinds))
    turn = np.empty(len(kinds), int)
    for kind in np.unique(kinds):
        members = order[kinds[order] == kind]
        turn[members] = np.arange(len(members))
    return order[np.argsort(turn[order], kind="stable")][:n_landmarks]


def sketch(coordinates, n_landmarks, rng, first=()):
    """Row numbers (l,) by k-means++: the next one with a chance in proportion to its squared distance to the nearest.

    Parameters
    ----------
    coordinates : array (n_points, k), of a sketch; time-like axes count as space-like ones
    n_landmarks : int, at most the number of different points
    rng : numpy Generator
    first : sequence of int, landmarks that are there already and count as the first ones

    Returns
    -------
    ndarray (n_landmarks,), int; any first part of it covers the cloud as well as it can
    """
    coordinates = np.ascontiguousarray(coordinates, dtype=np.float32)
    squares = (coordinates * coordinates).sum(axis=1)
    nearest = np.full(len(coordinates), np.inf, dtype=np.float32)
    rows = list(first[:n_landmarks]) or [int(rng.integers(len(coordinates)))]
    for row in rows:
        np.minimum(nearest, _squared(coordinates, squares, row), out=nearest)
    while len(rows) < n_landmarks:
        nearest[rows[-1]] = 0.0
        mass = np.cumsum(nearest, dtype=np.float64)
        if not mass[-1] > 0:
            raise ValueError(f"there are only {len(rows)} different points, fewer than {n_landmarks} landmarks")
        row = int(np.searchsorted(mass, rng.uniform() * mass[-1], side="right"))
        rows.append(min(row, len(nearest) - 1))
        np.minimum(nearest, _squared(coordinates, squares, rows[-1]), out=nearest)
    return np.asarray(rows)


def _squared(coordinates, squares, row):
    return np.maximum(squares + squares[row] - 2 * (coordinates @ coordinates[row]), 0.0)


def sketched_rows(distances_to, n_points, n_landmarks, rng):
    """Landmarks by `sketch`, from the distances of all points to a few uniform ones.

    Parameters
    ----------
    distances_to : function of row numbers (k,) giving (n_points, k) divergences, or an array on disk of them
    n_points, n_landmarks : int
    rng : numpy Generator

    Returns
    -------
    ndarray (n_landmarks,), int; the uniform ones stand first
    """
    few = uniform(n_points, min(SKETCH_LANDMARKS, n_landmarks // 2), rng)
    axes = min(SKETCH_AXES, len(few) // 2)
    coarse = LandmarkInPCA(axes).fit(distances_to(few), few)
    return sketch(coarse.embedding_, n_landmarks, rng, first=few)


def errors(found, exact):
    """How far an embedding is from the exact one.

    Parameters
    ----------
    found, exact : fitted estimators with embedding_ and explained_stress_ of the same points

    Returns
    -------
    dict: coordinates (of the first three axes, relative to the size of the cloud), stress_1, stress_3, ... (absolute)
    """
    k = min(COMPARED, found.embedding_.shape[1], exact.embedding_.shape[1])
    out = {"coordinates": gap(found.embedding_[:, :k], exact.embedding_[:, :k])}
    both = min(len(found.explained_stress_), len(exact.explained_stress_))
    apart = np.abs(found.explained_stress_[:both] - exact.explained_stress_[:both])
    return out | {f"stress_{k}": float(apart[k - 1]) for k in STRESS_AXES if k <= both}


def gap(near, true):
    """Distance between two sets of coordinates (m, k) whose axes may point either way, over the size of the second."""
    signs = np.where((near * true).sum(axis=0) < 0, -1.0, 1.0)
    return float(np.linalg.norm(near * signs - true) / np.linalg.norm(true))


def compare_choices(distances_to, exact, kinds, n_landmarks, rng):
    """Errors of an embedding through landmarks for each way of choosing them.

    Parameters
    ----------
    distances_to : function of row numbers (k,) giving the (m, k) divergences of all points to these
    exact : InPCA fitted to all divergences
    kinds : array (m,), for `strata`
    n_landmarks : int
    rng : numpy Generator

    Returns
    -------
    dict of way -> `errors`
    """
    m = len(kinds)
    ways = {
        "uniform": uniform(m, n_landmarks, rng),
        "strata": strata(kinds, n_landmarks, rng),
        "rounds": draw_landmarks(distances_to, m, n_landmarks, rng)[0],
        "sketch": sketched_rows(distances_to, m, n_landmarks, rng),
    }
    k = min(max(STRESS_AXES), n_landmarks // 2)
    return {name: errors(LandmarkInPCA(k).fit(distances_to(rows), rows), exact) for name, rows in ways.items()}
