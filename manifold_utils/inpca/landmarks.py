"""InPCA through landmarks: distances to l << m points instead of all m^2.

The landmarks are embedded on many axes, all other points are placed by the formula for new points (PAPER.md section 1,
InPCA, New points), and W = X S X' of all of them is diagonalised again, without forming it: of X = QR, only the small
matrix R S R' is. The raw placement has the axes of the landmarks, the second step those of the whole cloud, and that
is where most of the error goes. Distances come from `distances`, the embedding of the landmarks from `inpca`.
"""

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from manifold_utils.inpca import NULL_EIGENVALUE, InPCA, explained_stress
from manifold_utils.inpca.gram import check_finite

LANDMARKS_AN_AXIS = 2  # of the second step; the smallest axes of a draw are noise, but the stress needs their norm
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
        As of `InPCA`, over all m points. The norm of W in the stress is that of its part on the n_axes axes.
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
            Divergences of all points to the landmarks (`distances.pairwise(log_probs, log_probs[landmarks])`).
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
        D = np.asarray(D, dtype=np.float64)
        self.landmarks_ = landmarks = _checked(D, landmarks)
        n_axes = self.n_axes or max(self.n_components, len(landmarks) // LANDMARKS_AN_AXIS)
        if not 1 <= self.n_components <= n_axes < len(landmarks):
            raise ValueError(
                f"n_components={self.n_components} and n_axes={n_axes} ask for more landmarks than {len(landmarks)}: "
                "there must be n_components <= n_axes < landmarks"
            )
        between = D[landmarks]
        self.raw_ = InPCA(n_components=n_axes, solver="dense").fit(0.5 * (between + between.T))
        placed = self.raw_.transform(D)
        self._centre = placed.mean(axis=0)
        Q, R = np.linalg.qr(placed - self._centre)
        values, vectors = scipy.linalg.eigh((R * self.raw_.signature_) @ R.T)
        order = np.argsort(-np.abs(values), kind="stable")
        self._keep(Q, R, values[order], vectors[:, order])
        return self

    def _keep(self, Q, R, values, vectors):
        k = self.n_components
        stress = explained_stress(values, np.linalg.norm(values))
        self.eigenvalues_, self.explained_stress_ = values[:k], stress[:k]
        self.signature_ = np.where(self.eigenvalues_ < 0, -1, 1)
        size = np.abs(self.eigenvalues_)
        scale = np.sqrt(np.where(size > NULL_EIGENVALUE * size[0], size, np.inf))
        # a new point's row of W is (x - centre) S X'; times U / (sign sqrt|lambda|), with X'U = R'V
        self._rotation = (R * self.raw_.signature_).T @ vectors[:, :k] / (self.signature_ * scale)
        self.embedding_ = Q @ vectors[:, :k] * np.where(np.isfinite(scale), scale, 0.0)
        signs = np.where(self.embedding_[np.abs(self.embedding_).argmax(0), range(k)] < 0, -1.0, 1.0)
        self.embedding_ *= signs
        self._rotation *= signs

    def transform(self, D_new):
        """Coordinates of new points from their divergences to the landmarks, (n_new, l) -> (n_new, n_components)."""
        check_is_fitted(self)
        return (self.raw_.transform(D_new) - self._centre) @ self._rotation


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
    if len(np.unique(landmarks)) != len(landmarks) or landmarks.min() < 0 or landmarks.max() >= len(D):
        raise ValueError(f"landmarks must be different row numbers from 0 to {len(D) - 1}")
    check_finite(D, "D")
    return landmarks
