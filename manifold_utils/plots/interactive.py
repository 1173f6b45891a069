"""Interactive three-dimensional embeddings (plotly), in one self-contained HTML file that needs no network.

A trajectory grows with progress: a slider, or the play button, shows it up to each value. It draws only; coordinates
come from `inpca`.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from manifold_utils.files import atomic_path
from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import as_series, axis_label
from manifold_utils.plots.style import style_of


def embedding_3d(coordinates, reference, levels, progress, eigenvalues, explained_stress, *, title, runs=None,
                 n_frames=21, size=2.5):  # fmt: skip
    """Three-dimensional scatter, or trajectories if `runs` are given, that grow with progress.

    Parameters
    ----------
    coordinates : (n_points, >= 3) ndarray
    reference : (n, >= 3) ndarray
        The embedded geodesic, from ignorance to truth.
    levels : (n_points,) sequence of str
        The factor that gives the colours.
    progress : (n_points,) ndarray in [0, 1]
    eigenvalues, explained_stress : (>= 3,) ndarrays
        Of the axes, signed and cumulative; see `axis_label`.
    runs : (n_points,) sequence, optional
        The run of every point, in order of time: thin lines join the points of a run, each up to the last checkpoint
        before its progress exceeds the slider's value.
    n_frames : int
        Positions of the slider.

    Returns
    -------
    plotly Figure
    """
    levels = as_series(levels)
    clock = pd.Series(np.asarray(progress, dtype=float))
    if runs is not None:  # progress need not be monotone, a drawn line is
        runs = np.asarray(runs)
        clock = clock.groupby(runs).cummax()
    names = sorted_levels(levels)
    colours, limits = [style_of(name, levels)[0] for name in names], np.linspace(0, 1, n_frames)

    def traces(limit):
        shown = (clock <= limit + 1e-9).to_numpy()
        rows = [np.flatnonzero(shown & (levels == name).to_numpy()) for name in names]
        return [_family(coordinates, *one, runs, size) for one in zip(rows, names, colours, strict=True)]

    figure = go.Figure([*traces(1.0), *_reference(reference)])
    figure.frames = [go.Frame(data=traces(x), traces=list(range(len(names))), name=f"{x:.2f}") for x in limits]
    titles = [_plain(axis_label(k, eigenvalues, explained_stress)) for k in range(3)]
    axes = {f"{a}axis": {"title": {"text": text}} for a, text in zip("xyz", titles, strict=True)}
    figure.update_layout(
        title=title,
        height=640,
        template="plotly_white",
        scene={**axes, "aspectmode": "data", "camera": {"eye": {"x": 0.15, "y": -1.75, "z": 0.7}}},
        margin={"l": 20, "r": 20, "t": 50, "b": 30},
        legend={"itemsizing": "constant"},
        **_controls(limits),
    )
    return figure


def _plain(label):
    """A label without formulas: plotly would fetch a script from a network to write them."""
    return label.replace("$\\lambda$", "\u03bb").replace("$\\Sigma$", "\u03a3")


def _controls(limits):
    """Slider and buttons: play from ignorance to truth, or stop."""
    now = {"mode": "immediate", "transition": {"duration": 0}}
    steps = [
        {"label": f"{x:.2f}", "method": "animate", "args": [[f"{x:.2f}"], now | {"frame": {"duration": 0}}]}
        for x in limits
    ]
    play = now | {"frame": {"duration": 250, "redraw": True}}
    buttons = [
        {"label": "\u25b6", "method": "animate", "args": [None, play]},
        {"label": "\u25a0", "method": "animate", "args": [[None], now | {"frame": {"duration": 0}}]},
    ]
    menu = {"type": "buttons", "direction": "left", "buttons": buttons, "showactive": False}
    slider = {"active": len(limits) - 1, "steps": steps, "currentvalue": {"prefix": "progress up to "}}
    return {
        "sliders": [slider | {"x": 0.12, "len": 0.88}],
        "updatemenus": [menu | {"x": 0.0, "y": 0.0, "xanchor": "left", "yanchor": "top", "pad": {"t": 45}}],
    }


def _family(coordinates, rows, name, colour, runs, size):
    """One trace: the points of a family, with a gap between runs so that lines do not join them."""
    points = coordinates[rows, :3].astype(float)
    if runs is not None and len(rows):
        breaks = np.flatnonzero(runs[rows][1:] != runs[rows][:-1]) + 1
        points = np.insert(points, breaks, np.nan, axis=0)
    if not len(points):
        points = np.full((1, 3), np.nan)  # an empty trace would leave the legend
    return go.Scatter3d(
        **dict(zip("xyz", np.float32(points).T, strict=True)),
        mode="markers" if runs is None else "lines+markers",
        name=str(name),
        marker={"size": size, "color": colour, "opacity": 0.7},
        line={"color": colour, "width": 1},
    )


def _reference(reference):
    """The geodesic, ignorance and truth, in black."""
    ends = {"ignorance": (0, "square"), "truth": (-1, "diamond")}
    line = {"mode": "lines", "name": "geodesic", "line": {"color": "black", "width": 6}}
    traces = [go.Scatter3d(**dict(zip("xyz", reference[:, :3].T, strict=True)), **line)]
    for name, (k, symbol) in ends.items():
        place = dict(zip("xyz", reference[[k], :3].T, strict=True))
        marker = {"color": "black", "size": 6, "symbol": symbol}
        traces.append(go.Scatter3d(**place, mode="markers", name=name, marker=marker))
    return traces


def save_interactive(figure, path):
    """Write the figure as one HTML file with plotly's script inside, and return it for display in the notebook.

    The file is complete by itself; the notebook's output embeds it as well, so that both work without a network.
    """
    from IPython.display import HTML

    with atomic_path(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, full_html=True, auto_play=False)
    return HTML(figure.to_html(include_plotlyjs=True, full_html=False, auto_play=False))
