"""InPCA through landmarks: distances to l << m points instead of all m^2.

The landmarks are embedded on many axes, all other points are placed by the formula for new points (PAPER.md section 1,
InPCA, New points), and W = X S X' of all of them is diagonalised again, without forming W or X: the small matrix
G^1/2 S G^1/2 of G = X'X is enough, and G comes from the distances in one pass over them. The raw placement has the
axes of the landmarks, the second step those of the whole cloud, and that is where most of the error goes. Distances
come from `distances`, the embedding of the landmarks from `inpca`.
"""

from functools import partial

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from manifold_utils.inpca import NULL_EIGENVALUE, InPCA, explained_stress
from manifold_utils.inpca.gram import check_finite

LANDMARKS_AN_AXIS = 2  # of the second step; the smallest axes of a draw are noise, but the stress needs their norm
FAINT = 1e-7  # share of |lambda_1| below which an axis of the landmarks is rounding of their distances
PANEL_BYTES = 2**27  # of the rows of D that are in memory at a time
SPARE_AXES = 32  # beyond n_components, in whose span the diagonal turns the leading ones
ROUNDS = 10  # in which landmarks are drawn: more cover the cloud better, fewer let `pairwise` work on larger blocks


class LandmarkInPCA(BaseEstimator):
    """Approximate InPCA of m points from their divergences to l landmarks among them.

    Parameters
    ----------
    n_components : int, default=3
        Axes kept, at most l - 1.
    n_axes : int, optional
        Axes on which the landmarks are embedded before the second step; half of l by default, and never fewer
        than n_components.

    Attributes
    ----------
    embedding_ : ndarray of shape (m, n_components), float64
        Coordinates of all points; the entry of largest magnitude of each column is positive.
    eigenvalues_, signature_, explained_stress_ : ndarrays of shape (n_components,)
        As of `InPCA`, over all m points.
    norm_ : float
        ||W||_F, of the part on the n_axes axes and the diagonal of what is left.
    landmarks_ : ndarray of shape (l,), int
        Row numbers of the landmarks.
    raw_ : InPCA
        The embedding of the landmarks alone; its `transform` is the placement without the second step.

    Examples
    --------
    >>> x = np.linspace(0, 1, 40)
    >>> D = np.square(x[:, None] - x)  # squared distances on a line
    >>> found = LandmarkInPCA(n_components=1).fit(D[:, ::8], np.arange(0, 40, 8))
    >>> bool(np.allclose(found.eigenvalues_, InPCA(n_components=1).fit(D).eigenvalues_))
    True
    """

    def __init__(self, n_components=3, *, n_axes=None):
        self.n_components = n_components
        self.n_axes = n_axes

    def fit(self, D, landmarks):
        """Embed all points.

        Parameters
        ----------
        D : array-like of shape (m, l)
            Divergences of all points to the landmarks: `distances.pairwise(log_probs, log_probs[landmarks])`, or an
            array on disk (`distances.columns.write_columns`), which is read by panels, twice.
        landmarks : array-like of shape (l,), int
            Which of the m points the columns are.

        Returns
        -------
        LandmarkInPCA
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If D is not (m, l) or not finite (the rows are named), if a landmark is named twice or is no row of D, or if
            there are too few landmarks for n_components.
        """
        D = D if hasattr(D, "chunks") else np.asarray(D, dtype=np.float64)
        self.landmarks_ = landmarks = _checked(D, landmarks)
        n_axes = self.n_axes or max(self.n_components, len(landmarks) // LANDMARKS_AN_AXIS)
        if not 1 <= self.n_components <= n_axes < len(landmarks):
            raise ValueError(
                f"n_components={self.n_components} and n_axes={n_axes} ask for more landmarks than {len(landmarks)}: "
                "there must be n_components <= n_axes < landmarks"
            )
        # embed the landmarks, and leave out the axes that are rounding
        between = _rows(D, landmarks)
        between = 0.5 * (between + between.T)
        self.raw_ = InPCA(n_components=n_axes, solver="dense").fit(between)
        del between  # of many landmarks it is large
        size = np.abs(self.raw_.eigenvalues_)
        self._axes = -0.5 * self.raw_._projection * (size > FAINT * size[0])
        # the Gram matrix of all placed points, through that of their distances: one pass, and no more than (l, l)
        self._mean, moments = _moments(D, self.raw_)
        G = self._axes.T @ moments @ self._axes
        # W = X S X' has the eigenvalues of G^1/2 S G^1/2, where G = X'X, and the eigenvectors X S G^1/2 V / lambda
        squares, V = scipy.linalg.eigh(G)
        root = (V * np.sqrt(np.maximum(squares, 0.0))) @ V.T
        values, vectors = scipy.linalg.eigh((root * self.raw_.signature_) @ root)
        order = np.argsort(-np.abs(values), kind="stable")
        values, vectors = values[order], vectors[:, order]
        kept = np.flatnonzero(np.abs(values) > NULL_EIGENVALUE * np.abs(values[0]))[: self.n_components + SPARE_AXES]
        onto = (root * self.raw_.signature_).T @ vectors[:, kept] / values[kept]
        self._finish(D, values, onto)
        return self

    def _finish(self, D, values, onto):
        """Coordinates and stress of X S X' with the diagonal of W, which the row means of D give exactly."""
        U, on_axes, missing = (np.concatenate(parts) for parts in zip(*self._seen(D, onto), strict=True))
        # Rayleigh-Ritz in the span of the leading eigenvectors: what a point has off the axes lengthens them
        T = np.diag(values[: U.shape[1]]) + (U * missing[:, None]).T @ U
        found, Y = scipy.linalg.eigh(T)
        order = np.argsort(-np.abs(found), kind="stable")[: self.n_components]
        self.norm_ = float(np.sqrt(values @ values + (2 * on_axes + missing) @ missing))
        self.eigenvalues_ = np.pad(found[order], (0, self.n_components - len(order)))
        self.explained_stress_ = explained_stress(self.eigenvalues_, self.norm_)
        self.signature_ = np.where(self.eigenvalues_ < 0, -1, 1)
        scale = Y[:, order] * np.sqrt(np.abs(found[order]))
        scale = np.pad(scale, ((0, 0), (0, self.n_components - len(order))))
        self.embedding_, self._rotation = U @ scale, onto @ scale
        signs = np.where(self.embedding_[np.abs(self.embedding_).argmax(0), range(self.n_components)] < 0, -1.0, 1.0)
        self.embedding_ *= signs
        self._rotation *= signs

    def _seen(self, D, onto):
        """Of each panel of points: their eigenvector entries, and W's diagonal on the axes and off them."""
        centre = self._mean @ self._axes
        for panel in _panels(D):
            placed = _centred(panel, self.raw_) @ self._axes
            about_landmarks = panel @ self.raw_._w - 0.5 * self.raw_._grand_mean
            missing = about_landmarks - placed**2 @ self.raw_.signature_
            placed -= centre
            yield placed @ onto, placed**2 @ self.raw_.signature_, missing

    def transform(self, D_new):
        """Coordinates of new points from their divergences to the landmarks, (n_new, l) -> (n_new, n_components)."""
        check_is_fitted(self)
        D_new = np.asarray(D_new, dtype=np.float64)
        check_finite(D_new, "D_new")
        return (_centred(D_new, self.raw_) - self._mean) @ self._axes @ self._rotation


def _panels(D):
    """Rows of D, some at a time, as float64."""
    step = max(1, PANEL_BYTES // (8 * D.shape[1]))
    chunk = getattr(D, "chunks", (1,))[0]
    step = max(chunk, step // chunk * chunk)
    return (np.asarray(D[start : start + step], dtype=np.float64) for start in range(0, D.shape[0], step))


def _rows(D, wanted):
    """Some rows of D, collected in one pass, which also checks that all of them are finite."""
    out, start = np.empty((len(wanted), D.shape[1])), 0
    for panel in _panels(D):
        check_finite(panel, "D", first=start)
        inside = np.flatnonzero((wanted >= start) & (wanted < start + len(panel)))
        out[inside] = panel[wanted[inside] - start]
        start += len(panel)
    return out


def _centred(D, raw):
    """Distances to the landmarks, centred as `InPCA.transform` centres them: times -1/2 and the axes, coordinates."""
    return D - (D @ raw._w)[:, None] - (raw._row_means - raw._grand_mean)


def _moments(D, raw):
    """Mean (l,) of the centred rows, and their second moments (l, l) about it, summed over points."""
    total, moments = np.zeros(D.shape[1]), np.zeros((D.shape[1], D.shape[1]), order="F")
    # into the upper triangle, in place: a product of its own would be new memory of that size for every panel
    add = partial(scipy.linalg.blas.dsyrk, beta=1.0, overwrite_c=1)
    for panel in _panels(D):
        panel = _centred(panel, raw)
        total += panel.sum(axis=0)
        moments = add(1.0, panel.T, c=moments)
    mean = total / D.shape[0]
    moments = add(-D.shape[0], mean[:, None], c=moments)
    for k in range(D.shape[1] - 1):
        moments[k + 1 :, k] = moments[k, k + 1 :]
    return mean, moments


def draw_landmarks(distances_to, n_points, n_landmarks, rng, *, rounds=ROUNDS):
    """Draw landmarks that cover a cloud, and their distances to all points.

    The rule of k-means++, a round at a time: a point is drawn with probability in proportion to its distance to the
    nearest landmark so far (the divergence, which plays the role of a squared distance). Uniform draws need about twice
    as many landmarks for the same error, since most points of an atlas lie in few places.

    Parameters
    ----------
    distances_to : function of row numbers (k,) giving the (n_points, k) divergences of all points to these
    n_points, n_landmarks : int
    rng : numpy Generator
    rounds : int
        Calls of `distances_to`, at least; the first round is uniform.

    Returns
    -------
    landmarks : ndarray of shape (n_landmarks,), int, in the order drawn
    D : ndarray of shape (n_points, n_landmarks), what `LandmarkInPCA.fit` takes

    Raises
    ------
    ValueError
        More landmarks than points, or than there are different points.

    Examples
    --------
    >>> x = np.r_[np.zeros(50), 1.0, 2.0]  # most points lie in one place
    >>> squares = np.square(x[:, None] - x)
    >>> rows, D = draw_landmarks(lambda rows: squares[:, rows], 52, 3, np.random.default_rng(0))
    >>> sorted(x[rows].tolist())
    [0.0, 1.0, 2.0]
    """
    if not 1 <= n_landmarks <= n_points:
        raise ValueError(f"{n_landmarks} landmarks cannot be drawn from {n_points} points")
    chance = np.full(n_points, 1.0)
    rows, columns, size = np.empty(0, int), [], max(1, n_landmarks // rounds)
    while len(rows) < n_landmarks:
        possible = np.count_nonzero(chance)
        if not possible:
            raise ValueError(f"there are only {len(rows)} different points, fewer than {n_landmarks} landmarks")
        wanted = min(size, n_landmarks - len(rows), possible)
        new = rng.choice(n_points, wanted, replace=False, p=chance / chance.sum())
        columns.append(np.asarray(distances_to(new), dtype=np.float64))
        rows = np.concatenate([rows, new])
        nearest = np.abs(columns[-1]).min(axis=1)  # time-like axes can make an entry of a general D negative
        chance = nearest if len(columns) == 1 else np.minimum(chance, nearest)
        chance[rows] = 0.0
    return rows, np.concatenate(columns, axis=1)


def _checked(D, landmarks):
    """The landmarks as an array of row numbers that fit D."""
    landmarks = np.asarray(landmarks)
    if landmarks.ndim != 1 or not np.issubdtype(landmarks.dtype, np.integer):
        raise ValueError("landmarks must be a list of row numbers")
    if D.ndim != 2 or D.shape[1] != len(landmarks):
        raise ValueError(f"D must have one column for each of the {len(landmarks)} landmarks; its shape is {D.shape}")
    if len(np.unique(landmarks)) != len(landmarks) or landmarks.min() < 0 or landmarks.max() >= D.shape[0]:
        raise ValueError(f"landmarks must be different row numbers from 0 to {D.shape[0] - 1}")
    return landmarks
