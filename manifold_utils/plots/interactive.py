"""Interactive three-dimensional embeddings (plotly), in one self-contained HTML file that needs no network.

A trajectory grows with progress: a slider, or the play button, shows it up to each value. It draws only; coordinates
come from `inpca`.
"""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from manifold_utils.files import atomic_path
from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import as_series, axis_label
from manifold_utils.plots.style import style_of

PLOTLY = "application/vnd.plotly.v1+json"


def embedding_3d(coordinates, reference, levels, progress, eigenvalues, explained_stress, *, title, runs=None,
                 hover=None, n_frames=21, size=2.5):  # fmt: skip
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
    hover : (n_points,) sequence of str, optional
        What is said of a point under the mouse, see `hover_text`; by default its run (if `runs` are given) and its
        progress.
    n_frames : int
        Positions of the slider.

    Returns
    -------
    plotly Figure
    """
    levels, progress = as_series(levels), np.asarray(progress, dtype=float)
    clock = pd.Series(progress)
    if runs is not None:  # progress need not be monotone, a drawn line is
        runs = np.asarray(runs)
        clock = clock.groupby(runs).cummax()
    if hover is None:
        known = [""] * len(levels) if runs is None else [f"{run}<br>" for run in runs]
        hover = [f"{name}progress {s:.2f}" for name, s in zip(known, progress, strict=True)]
    names, limits = sorted_levels(levels), np.linspace(0, 1, n_frames)
    rows = [_rows((levels == name).to_numpy(), runs) for name in names]
    colours = [style_of(name, levels)[0] for name in names]
    traces = [_family(coordinates, *one, hover, runs, size) for one in zip(rows, names, colours, strict=True)]
    figure = go.Figure([*traces, *_reference(reference)])
    figure.frames = [_frame(traces, rows, clock.to_numpy(), x) for x in limits]
    titles = [_plain(axis_label(k, eigenvalues, explained_stress)) for k in range(3)]
    axes = {f"{a}axis": {"title": {"text": text}} for a, text in zip("xyz", titles, strict=True)}
    figure.update_layout(
        title=title,
        height=640,
        template="plotly_white",
        scene={**axes, "aspectmode": "data", "camera": {"eye": {"x": 0.15, "y": -1.75, "z": 0.7}}},
        margin={"l": 20, "r": 20, "t": 100, "b": 30},
        legend={"itemsizing": "constant", "orientation": "h", "y": 1.0, "yanchor": "bottom"},  # the scene has all width
        **_controls(limits),
    )
    return figure


def hover_text(points, split, shown=None):
    """What is said of a point under the mouse: its run, its step, its loss, and its progress.

    Parameters
    ----------
    points : DataFrame (n_points, ...) with run, step, loss_<split> and progress_<split>, see `Atlas.table`
    split : str
    shown : sequence of str, optional
        More columns to name, such as factors.

    Returns
    -------
    list of n_points str

    Examples
    --------
    >>> row = {"run": ["a1"], "step": [40], "loss_train": [0.1234], "progress_train": [0.5], "seed": [3]}
    >>> hover_text(pd.DataFrame(row), "train", ["seed"])
    ['run a1, step 40<br>loss 0.123 nats, progress 0.50<br>seed 3']
    """
    loss, progress = points[f"loss_{split}"], points[f"progress_{split}"]
    said = [
        f"run {run}, step {step}<br>loss {value:.3g} nats, progress {s:.2f}"
        for run, step, value, s in zip(points.run, points.step, loss, progress, strict=True)
    ]
    for column in shown or []:
        said = [f"{text}<br>{column} {level}" for text, level in zip(said, points[column], strict=True)]
    return said


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


def _rows(member, runs):
    """Row numbers of a family's points, with -1 between two runs, so that lines do not join them."""
    rows = np.flatnonzero(member)
    if runs is None or not len(rows):
        return rows
    return np.insert(rows, np.flatnonzero(runs[rows][1:] != runs[rows][:-1]) + 1, -1)


def _family(coordinates, rows, name, colour, hover, runs, size):
    """One trace: the points of a family, all of them."""
    points = np.where((rows < 0)[:, None], np.nan, coordinates[rows, :3].astype(float))
    return go.Scatter3d(
        **dict(zip("xyz", np.float32(points).T, strict=True)),
        mode="markers" if runs is None else "lines+markers",
        name=str(name),
        text=["" if k < 0 else hover[k] for k in rows],
        hoverinfo="text+name",
        marker={"size": size, "color": colour, "opacity": 0.7},
        line={"color": colour, "width": 1},
    )


def _frame(traces, rows, clock, limit):
    """The points up to a value of progress: the others have no third coordinate, and so are not drawn."""
    late = [np.where(r < 0, True, clock[r] > limit + 1e-9) for r in rows]
    data = [{"type": "scatter3d", "z": np.where(hide, np.nan, t.z)} for t, hide in zip(traces, late, strict=True)]
    return go.Frame(data=data, traces=list(range(len(traces))), name=f"{limit:.2f}")


def _reference(reference):
    """The geodesic, ignorance (a square) and truth (a star, as in every figure of the book), in black."""
    road = dict(zip("xyz", reference[:, :3].T, strict=True))
    first, last = (dict(zip("xyz", reference[[k], :3].T, strict=True)) for k in (0, -1))
    line = {"mode": "lines", "name": "geodesic to truth \u2605", "hoverinfo": "name"}
    square = {"color": "black", "size": 6, "symbol": "square"}
    star = {"text": ["\u2605"], "textfont": {"color": "black", "size": 22}, "mode": "text"}
    star |= {"textposition": "middle center", "showlegend": False}
    return [
        go.Scatter3d(**road, **line, line={"color": "black", "width": 6}),
        go.Scatter3d(**first, mode="markers", name="ignorance", marker=square, hoverinfo="name"),
        go.Scatter3d(**last, **star, name="truth", hoverinfo="name"),
    ]


class Shown:
    """A figure as a notebook keeps it: numbers only, which JupyterLab and the book's pages draw with one library."""

    def __init__(self, figure):
        self.figure = figure

    def _repr_mimebundle_(self, include=None, exclude=None):
        title = self.figure.layout.title.text or "interactive figure"
        return {PLOTLY: json.loads(self.figure.to_json()), "text/plain": title}


def save_interactive(figure, path):
    """Write the figure as one HTML file with plotly's script inside, and return it for display in the notebook.

    The file is complete by itself. The notebook's output has the figure's numbers without the script.
    """
    with atomic_path(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, full_html=True, auto_play=False)
    return Shown(figure)
