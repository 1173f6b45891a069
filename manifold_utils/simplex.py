"""Pictures of tiny prediction spaces: probabilities over three classes as points of a triangle (chapter 00).

It draws only; the geometry of the sphere of square roots is in `geometry`.
"""

import numpy as np

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def barycentric(probs):
    """Points of the plane for probabilities over three classes: (..., 3) -> (..., 2), corners at unit distance."""
    return np.asarray(probs) @ CORNERS


def plot_triangle(ax, title, names=("0", "1", "2")):
    """Draw an empty triangle of predictions; corner k, named `names[k]`, is a certain prediction of class k."""
    outline = np.vstack([CORNERS, CORNERS[:1]])
    ax.plot(*outline.T, color="black", lw=1)
    for corner, name, (dx, dy) in zip(CORNERS, names, [(-0.03, -0.05), (0.03, -0.05), (0, 0.02)], strict=True):
        ax.text(corner[0] + dx, corner[1] + dy, name, ha="center")
    ax.set_title(title, pad=18)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax
