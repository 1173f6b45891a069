"""InPCA: an isometric embedding of a matrix of divergences in Minkowski space, as a scikit-learn estimator.

W = -L D L / 2 = U Lambda U', ordered by |Lambda|; coordinates U_k sqrt|Lambda_k|; a negative eigenvalue makes a
time-like axis, and D_uv = sum_k sign_k (x_uk - x_vk)^2 exactly (PAPER.md section 1, InPCA). D is used as it is: it
plays the role of a squared distance. Quality, weights and new points are the closed forms given there. Where the
eigenpairs come from is `gram` and `solvers`; embedding through landmarks is `landmarks`.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from manifold_utils.geometry import as_numpy
from manifold_utils.inpca.gram import CentredGram, check_finite
from manifold_utils.inpca.solvers import block_krylov, dense

SOLVERS = ("auto", "dense", "krylov")
DENSE_POINTS = 1500  # up to here LAPACK takes under two seconds
DENSE_SHARE = 8  # and up to four times as many points when more than m/8 pairs are wanted
NULL_EIGENVALUE = 1e-13  # share of |lambda_1| below which an axis is rounding: its coordinates are 0


class InPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Intensive principal component analysis of a precomputed divergence matrix.

    Parameters
    ----------
    n_components : int, default=3
        Axes kept, at most the number of points.
    solver : {"auto", "dense", "krylov"}, default="auto"
        "dense" is LAPACK on a centred copy of D. "krylov" multiplies D with blocks of vectors and copies nothing;
        it takes D in memory or on disk. "auto" is dense for small D in memory.
    tol : float, default=1e-8
        Krylov only: residual ||W v - lambda v|| at which a pair has converged, as a share of |lambda_1|.
    max_passes : int, default=40
        Krylov only: passes over D at most.
    random_state : int, default=0
        Seed of the first Krylov block; the result does not depend on it beyond `tol`.

    Attributes
    ----------
    embedding_ : ndarray of shape (m, n_components), float64
        Coordinates; the entry of largest magnitude of each column is positive.
    eigenvalues_ : ndarray of shape (n_components,)
        Signed, by |value| descending.
    signature_ : ndarray of shape (n_components,), int
        +1 for a space-like axis, -1 for a time-like one.
    explained_stress_ : ndarray of shape (n_components,)
        1 - sqrt(1 - sum_{i<=k} lambda_i^2 / ||W||_F^2), cumulative.
    explained_distance_ : ndarray of shape (n_components,)
        1 - ||D - D_k||_F / ||D||_F, cumulative; it can fall when a time-like axis is added.
    offset_ : ndarray of shape (n_components,)
        The constant of the centring, (row means - grand mean) / 2 projected on the axes: a new point with distances d
        has the coordinates offset_ - d @ (embedding_ / eigenvalues_) / 2 (unweighted fit).
    norm_ : float
        ||W||_F, found without forming W.
    residuals_ : ndarray of shape (n_components,)
        ||W v - lambda v|| / |lambda_1| of each pair.
    n_passes_ : int
        Passes over D made, the check of D included.
    solver_ : str
        The solver used.

    Examples
    --------
    >>> D = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]])  # squared distances on a line
    >>> InPCA(n_components=1).fit(D).embedding_.ravel().round(6).tolist()
    [1.0, 0.0, -1.0]
    """

    metric = "precomputed"  # tells scikit-learn's tools that X is a matrix of dissimilarities; not a parameter

    def __init__(self, n_components=3, *, solver="auto", tol=1e-8, max_passes=40, random_state=0):
        self.n_components = n_components
        self.solver = solver
        self.tol = tol
        self.max_passes = max_passes
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags

    def fit(self, D, y=None, sample_weight=None, *, client=None, first=None):
        """Embed the points of D.

        Parameters
        ----------
        D : array-like of shape (m, m)
            Divergences (nats for d_B), symmetric, finite, zero on the diagonal; float32 and float64 arrays are not
            copied. An array on disk (with `shape`, `dtype`, `chunks` and row slices, as zarr's) is read by row panels.
        y : Ignored
        sample_weight : array-like of shape (m,), optional
            Counts: a weight of 2 equals the point given twice, 0 leaves it out (it is still embedded).
        client : distributed.Client, optional
            For D on disk: its workers multiply the panels.
        first : array-like of shape (m, b), optional
            Krylov only: approximate coordinates, such as `landmarks.LandmarkInPCA`'s, which save passes over D.

        Returns
        -------
        InPCA
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If D is not square, finite, symmetric and zero on its diagonal (the rows are named), or has fewer points
            than n_components.
        """
        # check the input once, at the door
        D = self._validated(D, reset=True)
        if D.shape[0] == D.shape[1]:
            self._check_parameters(D.shape[0])
        # double centring, as an operator: W = -L D L / 2 is never formed unless LAPACK wants it
        gram = CentredGram(D, sample_weight, client, None if first is None else np.asarray(first, dtype=np.float64))
        # eigendecomposition: the pairs of largest |lambda|, both signs together
        self.solver_ = self._choose_solver(D)
        if self.solver_ == "dense":
            gram.start(np.empty((gram.m, 0)))
            pairs = dense(gram.dense(), self.n_components)
        else:
            rng = np.random.default_rng(self.random_state)
            pairs = block_krylov(gram, self.n_components, tol=self.tol, max_passes=self.max_passes, rng=rng)
        # coordinates U sqrt|lambda|, and how much of D they explain
        self._keep(gram, pairs)
        # a point of weight 0 is in no eigenvector; the formula for new points places it
        lost = np.flatnonzero(gram.counts == 0)
        if len(lost):
            rows = np.concatenate([D[i : i + 1] for i in lost])
            self.embedding_[lost] = self._project(np.asarray(rows, dtype=np.float64))
        # deterministic signs: the entry of largest magnitude of each column is positive
        signs = np.where(self.embedding_[np.abs(self.embedding_).argmax(0), range(self.n_components)] < 0, -1.0, 1.0)
        self.embedding_ *= signs
        self._projection *= signs
        self.offset_ = 0.5 * (self._row_means - self._grand_mean) @ self._projection
        return self

    def fit_transform(self, D, y=None, sample_weight=None, *, client=None):
        """Fit and return `embedding_`; parameters as in `fit`."""
        return self.fit(D, y, sample_weight, client=client).embedding_

    def transform(self, D_new):
        """Coordinates of new points from their divergences to the embedded ones.

        Parameters
        ----------
        D_new : array-like of shape (n_new, m)
            Divergences to the points of `fit`, in their order.

        Returns
        -------
        ndarray of shape (n_new, n_components), float64
            Embedded points come back exactly, on time-like axes too.
        """
        check_is_fitted(self)
        return self._project(np.asarray(self._validated(D_new, reset=False), dtype=np.float64))

    def _project(self, D_new):
        # c = -(d - mean d - column means + grand mean)/2, times U / (sign sqrt|lambda|)
        c = D_new - (D_new @ self._w)[:, None]
        c -= self._row_means - self._grand_mean
        return -0.5 * c @ self._projection

    def _validated(self, D, reset):
        if hasattr(D, "detach"):
            D = as_numpy(D)
        on_disk = not isinstance(D, np.ndarray) and hasattr(D, "chunks") and hasattr(D, "dtype")
        if on_disk and reset:
            self.n_features_in_ = D.shape[1]
            return D
        D = np.asarray(D) if on_disk else D
        options = {"dtype": [np.float64, np.float32], "ensure_all_finite": False}
        checked = check_array(D, **options)
        if not reset or checked.shape[0] != checked.shape[1]:  # of a square D, the first pass over it finds this out
            check_finite(checked, "D" if reset else "D_new")
        return validate_data(self, D, reset=reset, **options)

    def _check_parameters(self, m):
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        if m < 2:
            raise ValueError(f"InPCA needs at least 2 points; D has n_samples = {m}")
        if not isinstance(self.n_components, int | np.integer) or not 1 <= self.n_components <= m:
            raise ValueError(f"n_components={self.n_components!r} must be an integer from 1 to the {m} points of D")

    def _choose_solver(self, D):
        m = D.shape[0]
        if self.solver != "auto":
            return self.solver
        many = self.n_components > m // DENSE_SHARE and m <= 4 * DENSE_POINTS
        return "dense" if isinstance(D, np.ndarray) and (m <= DENSE_POINTS or many) else "krylov"

    def _keep(self, gram, pairs):
        """Fitted attributes from eigenpairs and the statistics of D (signs of columns still as they came)."""
        size = np.abs(pairs.values)
        alive = size > NULL_EIGENVALUE * size[0]
        scale = np.sqrt(np.where(alive, size, 1.0))
        self.eigenvalues_ = pairs.values
        self.signature_ = np.where(pairs.values < 0, -1, 1)
        self.residuals_ = pairs.residuals
        self.n_passes_ = gram.n_passes
        self.norm_ = float(gram.norm)
        root = np.where(gram.root > 0, gram.root, 1.0)[:, None]
        self.embedding_ = np.where(alive, pairs.vectors / root * scale, 0.0)
        self._projection = np.where(alive, gram.root[:, None] * pairs.vectors / (self.signature_ * scale), 0.0)
        self._w, self._row_means, self._grand_mean = gram.w, gram.row_means, gram.grand_mean
        self.explained_stress_ = explained_stress(pairs.values, gram.norm)
        self.explained_distance_ = _explained_distance(gram, pairs.values, self.embedding_, self.signature_)

    @property
    def _n_features_out(self):
        return self.embedding_.shape[1]


def explained_stress(eigenvalues, norm):
    """Cumulative explained stress 1 - sqrt(1 - sum_{i<=k} lambda_i^2 / ||W||_F^2), shape of `eigenvalues`."""
    share = np.cumsum(np.square(eigenvalues)) / norm**2 if norm > 0 else np.ones(len(eigenvalues))
    return 1.0 - np.sqrt(np.maximum(1.0 - share, 0.0))


def minkowski_distances(embedding, signature, other=None):
    """D_k, the distances that signed coordinates stand for: sum_k sign_k (x_uk - x_vk)^2.

    Parameters
    ----------
    embedding : ndarray of shape (m, k)
    signature : ndarray of shape (k,)
        +1 or -1.
    other : ndarray of shape (n, k), optional
        Second set of points; by default the first.

    Returns
    -------
    ndarray of shape (m, n), float64
        May be negative where time-like axes prevail.

    Examples
    --------
    >>> minkowski_distances(np.array([[0.0, 0.0], [2.0, 1.0]]), np.array([1, -1])).tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """
    other = embedding if other is None else other
    squares, other_squares = embedding**2 @ signature, other**2 @ signature
    return squares[:, None] + other_squares - 2.0 * (embedding * signature) @ other.T


def _explained_distance(gram, values, embedding, signature):
    """Closed form: ||D - D_k||^2 = 2 (tr B - sum lambda)^2 + 2 M sum n (b - b_k)^2 + 4 (||B||^2 - sum lambda^2)."""
    trace = gram.counts @ gram.diagonal
    kept = np.cumsum(embedding**2 * signature, axis=1)  # column k: diagonal of the rank-k part of W
    gaps = gram.counts @ (gram.diagonal[:, None] - kept) ** 2
    lost = np.maximum(gram.norm**2 - np.cumsum(values**2), 0.0)
    squares = 2 * (trace - np.cumsum(values)) ** 2 + 2 * gram.total * gaps + 4 * lost
    return 1.0 - np.sqrt(squares) / gram.distance_norm if gram.distance_norm > 0 else np.ones(len(values))
