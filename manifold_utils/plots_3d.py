"""Interactive three-dimensional embeddings (plotly), in one self-contained HTML file that needs no network.

A trajectory grows with progress: a slider shows the points up to each value. It draws only; coordinates come from
`inpca`.
"""

import numpy as np
import plotly.graph_objects as go

from manifold_utils.plots import axis_label, style_of
from manifold_utils.store import atomic_path


def embedding_3d(coordinates, reference, levels, progress, eigenvalues, *, title, n_frames=11, size=2.5):
    """Three-dimensional scatter whose slider lets the points appear with progress.

    Parameters
    ----------
    coordinates : (n_points, >= 3) ndarray
    reference : (n, >= 3) ndarray
        The embedded geodesic, from ignorance to truth.
    levels : (n_points,) sequence of str
        The factor that gives the colours.
    progress : (n_points,) ndarray in [0, 1]
    eigenvalues : (>= 3,) ndarray, signed
    n_frames : int
        Positions of the slider.

    Returns
    -------
    plotly Figure
    """
    levels, progress = np.asarray(levels), np.asarray(progress)
    names = sorted(set(levels), key=str)
    limits = np.linspace(0, 1, n_frames)

    def traces(limit):
        shown = progress <= limit + 1e-9
        return [_scatter(coordinates[shown & (levels == name)], name, names, size) for name in names]

    figure = go.Figure([*traces(1.0), _line(reference)])
    figure.frames = [go.Frame(data=traces(x), traces=list(range(len(names))), name=f"{x:.1f}") for x in limits]
    steps = [
        {
            "label": f"{x:.1f}",
            "method": "animate",
            "args": [[f"{x:.1f}"], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}],
        }
        for x in limits
    ]
    axes = {
        f"{a}axis": {"title": {"text": axis_label(k, eigenvalues).replace("$\\lambda$", "\u03bb")}}
        for k, a in enumerate("xyz")
    }
    figure.update_layout(
        title=title,
        height=620,
        template="plotly_white",
        scene={**axes, "aspectmode": "data"},
        margin={"l": 0, "r": 0, "t": 50, "b": 0},
        legend={"itemsizing": "constant"},
        sliders=[{"active": n_frames - 1, "steps": steps, "currentvalue": {"prefix": "points with progress up to "}}],
    )
    return figure


def _scatter(points, name, names, size):
    colour = style_of(name, names)[0]
    return go.Scatter3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        mode="markers",
        name=str(name),
        marker={"size": size, "color": colour, "opacity": 0.7},
    )


def _line(reference):
    return go.Scatter3d(
        x=reference[:, 0],
        y=reference[:, 1],
        z=reference[:, 2],
        mode="lines",
        name="geodesic",
        line={"color": "black", "width": 6},
    )


def save_interactive(figure, path):
    """Write the figure as one HTML file with plotly's script inside, and return it for display in the notebook.

    The file is complete by itself; the notebook's output embeds it as well, so that both work without a network.
    """
    from IPython.display import HTML

    with atomic_path(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, full_html=True)
    return HTML(figure.to_html(include_plotlyjs=True, full_html=False))
