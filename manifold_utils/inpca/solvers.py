"""The eigenpairs of largest magnitude of a symmetric operator, space-like and time-like together.

`dense` is LAPACK on the whole matrix. `block_krylov` sees only products with a block of vectors (`gram.CentredGram`,
one pass over D each): Rayleigh-Ritz on the span of [V, BV, B^2 V, ...] with full reorthogonalisation. A wide block and
few passes suit a matrix on disk and a fast-decaying spectrum; both ends of the spectrum converge at once, so no shift
is needed. Every answer carries its explicit residuals ||B v - lambda v||. Signs and coordinates are `inpca`'s.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

OVERSAMPLING = 2  # block width over wanted pairs: at 2, 50 pairs of a trained-network spectrum take 6-7 passes
MIN_BLOCK = 32  # narrower blocks cost more passes and save no time
ROOM_PASSES = 8  # blocks for which memory is reserved at a time; most answers need no more
RANK_TOLERANCE = 1e-13  # a new direction shorter than this share of ||B|| is rounding, and is dropped
SQUARED_PRECISION = 1e-15  # relative precision of an eigenvalue of a float64 Gram matrix


@dataclass
class Eigenpairs:
    """Eigenpairs sorted by |value| descending.

    Attributes
    ----------
    values : ndarray of shape (k,), float64
        Signed eigenvalues.
    vectors : ndarray of shape (m, k), float64
        Orthonormal columns.
    residuals : ndarray of shape (k,), float64
        ||B v - lambda v|| / |lambda_1| of every pair (0 for LAPACK, which is exact to rounding).
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def dense(B, n_pairs):
    """LAPACK's eigenpairs of largest magnitude of a symmetric matrix, which is overwritten.

    Parameters
    ----------
    B : ndarray of shape (m, m), float64
    n_pairs : int
        At most m.

    Returns
    -------
    Eigenpairs

    Examples
    --------
    >>> dense(np.diag([1.0, -3.0, 2.0]), 2).values.tolist()
    [-3.0, 2.0]
    """
    values, vectors = scipy.linalg.eigh(B, overwrite_a=True, check_finite=False, driver="evd")
    order = np.argsort(-np.abs(values), kind="stable")[:n_pairs]
    return Eigenpairs(values[order], vectors[:, order], np.zeros(n_pairs))


def block_krylov(operator, n_pairs, *, tol=1e-8, max_passes=40, rng, block=None):
    """Eigenpairs of largest magnitude from products with blocks of vectors.

    Parameters
    ----------
    operator : object
        With `m`, `guess(block, rng)`, `start(V)` (first product) and `operator @ V`; see `gram.CentredGram`.
    n_pairs : int
        At most m.
    tol : float
        A pair has converged when ||B v - lambda v|| <= tol |lambda_1|. Its eigenvalue is then right to about the
        square of that over the gap to the next one, its vector to tol |lambda_1| over the gap.
    max_passes : int
        Products made at most.
    rng : numpy.random.Generator
        Draws the first block.
    block : int, optional
        Vectors a product; by default twice n_pairs and at least 32.

    Returns
    -------
    Eigenpairs

    Warns
    -----
    ConvergenceWarning
        If max_passes did not suffice; says how many pairs are short and by how much.
    """
    block = min(block or max(MIN_BLOCK, OVERSAMPLING * n_pairs), operator.m)
    Q, BQ, T = np.empty((operator.m, 0)), np.empty((operator.m, 0)), np.empty((0, 0))
    new = np.linalg.qr(operator.guess(block, rng))[0]
    filled = 0
    for n_passes in range(1, max_passes + 1):
        old, filled = filled, filled + new.shape[1]
        if filled > Q.shape[1]:
            room = old + block * min(ROOM_PASSES, max_passes + 1 - n_passes)
            Q, BQ, T = _with_room(Q, room), _with_room(BQ, room), _with_room(_with_room(T, room).T, room)
        Q[:, old:filled] = new
        BQ[:, old:filled] = operator @ new if old else operator.start(new)
        new, inside, outside = _new_directions(BQ[:, old:filled], Q[:, :filled])
        T[:filled, old:filled] = inside
        T[old:filled, :filled] = inside.T
        values, Y = _ritz(T[:filled, :filled], n_pairs)
        exhausted = not new.shape[1] or n_passes == max_passes
        # what the newest block sends outside the span is the whole residual, up to rounding: cheap to watch
        watched = np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", Y[old:], outside, Y[old:], optimize=True), 0.0))
        if exhausted or watched.max() <= tol * np.abs(values[0]):
            pairs = _with_residuals(Q[:, :filled], BQ[:, :filled], values, Y)
            if exhausted or pairs.residuals.max() <= tol:
                break
    short = np.flatnonzero(pairs.residuals > tol)
    if len(short):
        warnings.warn(
            f"{len(short)} of {n_pairs} eigenpairs (the first is number {short[0] + 1}) have residuals up to "
            f"{pairs.residuals.max():.2g} |lambda_1|, above tol={tol:g}, after {n_passes} passes: raise max_passes",
            ConvergenceWarning,
            stacklevel=3,
        )
    return pairs


def _with_room(array, columns):
    """The same columns at the start of a wider array, column by column in memory as BLAS likes blocks of vectors."""
    wide = np.empty((array.shape[0], columns), order="F")
    wide[:, : array.shape[1]] = array
    return wide


def _ritz(T, n_pairs):
    """Ritz values of largest magnitude, and their vectors in the basis."""
    values, Y = scipy.linalg.eigh(T, check_finite=False, driver="evd")
    order = np.argsort(-np.abs(values), kind="stable")[:n_pairs]
    return values[order], Y[:, order]


def _with_residuals(Q, BQ, values, Y):
    """Ritz pairs with explicit residuals, from the stored products."""
    vectors = Q @ Y
    residuals = np.linalg.norm(BQ @ Y - vectors * values, axis=0)
    return Eigenpairs(values, vectors, residuals / (np.abs(values[0]) or 1.0))


def _new_directions(Z, Q):
    """Split Z by span Q: an orthonormal basis of what it adds, its inside part Q'Z, the Gram matrix of the outside.

    Orthogonalising twice is enough: once leaves rounding amplified by the cancellation.
    """
    inside = Q.T @ Z
    floor = RANK_TOLERANCE * np.linalg.norm(inside)
    outside = None
    for _ in range(2):
        Z = Z - Q @ (inside if outside is None else Q.T @ Z)
        gram = Z.T @ Z
        outside = gram if outside is None else outside
        squares, Y = scipy.linalg.eigh(gram, check_finite=False)
        keep = squares > max(SQUARED_PRECISION * squares[-1], floor**2)
        if not keep.any():
            return Z[:, :0], inside, outside
        Z = Z @ (Y[:, keep] / np.sqrt(squares[keep]))
        floor = 0.5  # the columns are unit vectors now: one that shrinks to half was rounding
    return Z, inside, outside
