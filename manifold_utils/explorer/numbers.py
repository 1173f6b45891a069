"""What the explorer shows, as one dictionary of numbers: points, runs, axes, geodesic, null world, final predictions.

Arrays travel as base64 of little-endian numbers: coordinates as uint16 between the least and the greatest of their axis
(a screen has fewer steps), progress and losses as float32, final probabilities of the true class as uint8. It writes no
page (see the room's face) and shows nothing.
"""

import base64
from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from tqdm import tqdm

from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, truth
from manifold_utils.inpca import InPCA
from manifold_utils.plots import SEQUENTIAL, axis_label, factor_name, level_colour
from manifold_utils.statistics import null_world

N_AXES = 6  # axes that can be chosen
MAX_NULL = 2000  # points of the null world: its matrix is computed when the page is made
MAX_SAMPLES = 2000  # samples whose final predictions are kept, evenly thinned
MAX_LEVELS = 24  # a numeric factor with more levels is coloured by a scale
PICTURE = 32  # pixels a side of a picture, at most
GREATEST = {np.uint8: 255, np.uint16: 65535}


def packed(values, dtype=np.float32):
    """An array as base64 text: little-endian, in C order.

    Examples
    --------
    >>> packed([1, 2], np.uint8)
    'AQI='
    """
    array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode("ascii")


def quantised(values, dtype=np.uint16):
    """Columns of numbers as whole numbers between their least and greatest value.

    Parameters
    ----------
    values : ndarray of shape (n, k), finite
    dtype : np.uint8 or np.uint16

    Returns
    -------
    dict: values (base64, columns one after the other), low, high (lists of k floats)

    Examples
    --------
    >>> quantised(np.array([[0.0], [1.0]]), np.uint8)
    {'values': 'AP8=', 'low': [0.0], 'high': [1.0]}
    """
    values = np.asarray(values, dtype=np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    whole = np.rint((values - low) / span * GREATEST[dtype])
    return {"values": packed(whole.T, dtype), "low": low.tolist(), "high": high.tolist()}


def contents(atlas, pictures=None, show_progress=False):
    """All that the page needs of an atlas, as a JSON-able dictionary.

    Parameters
    ----------
    atlas : Atlas with embeddings and progress (chapters 30 and 31)
    pictures : callable, optional
        From a split to an array of its recorded samples, (n_samples, height, width, 1 or 3) uint8, or None.
    show_progress : bool

    Returns
    -------
    dict with title, viridis, factors, runs, points, splits
    """
    points, runs = atlas.points, atlas.runs
    names = list(dict.fromkeys(points.run))
    table, number = runs.loc[names], points.run.map({name: k for k, name in enumerate(names)})
    return {
        "title": atlas.path.name,
        "viridis": packed(np.rint(255 * colormaps[SEQUENTIAL](np.linspace(0, 1, 256))[:, :3]), np.uint8),
        "factors": [_factor(name, table[name]) for name in shown_factors(atlas, table)],
        "runs": names,
        "points": {
            "run": packed(number, np.uint32),
            "step": packed(points.step, np.int32),
            "epoch": packed(points.epoch),
        },
        "splits": {
            split: _split(atlas, split, points, pictures, show_progress)
            for split in atlas.splits
            if _has(atlas, split)
        },
    }


def shown_factors(atlas, runs):
    """Columns that colours can show: the family first, then what varies, the grid and the seed."""
    others = [*atlas.factors, "grid", *([atlas.seed] if atlas.seed else [])]
    varied = [name for name in others if name in runs and runs[name].nunique(dropna=False) > 1]
    return list(dict.fromkeys([atlas.family, *varied]))


def _has(atlas, split):
    return f"progress_{split}" in atlas.points and atlas.embedding_path(split).exists()


def _factor(name, column):
    """A factor: its levels with colours, or numbers for a scale."""
    known = pd.Series(column).dropna()
    numeric = pd.api.types.is_numeric_dtype(known) and known.nunique() > MAX_LEVELS
    found = {"name": name, "label": factor_name(name)}
    if numeric:
        return found | {"values": packed(column.astype(float))}
    levels = list(dict.fromkeys(known.sort_values(key=lambda c: c if _sorts(c) else c.astype(str))))
    colours = [[round(255 * part) for part in to_rgb(level_colour(name, level, levels))] for level in levels]
    codes = [levels.index(value) if pd.notna(value) else len(levels) for value in column]
    if len(levels) in codes:
        levels, colours = [*levels, "none"], [*colours, [153, 153, 153]]
    return found | {"levels": [str(level) for level in levels], "colours": colours, "codes": packed(codes, np.uint16)}


def _sorts(column):
    return pd.api.types.is_numeric_dtype(column)


def _split(atlas, split, points, pictures, show_progress):
    embedding = atlas.embedding(split)
    k = min(N_AXES, embedding.sizes["component"])
    coordinates, road = embedding.embedding.values[:, :k], embedding.reference_embedding.values[:, :k]
    progress = points.groupby("run", sort=False)[f"progress_{split}"].cummax()  # a trajectory only grows
    labels = [
        axis_label(i, embedding.eigenvalues.values, embedding.explained_stress.values)
        .replace("$\\lambda$", "\u03bb")
        .replace("$\\Sigma$", "\u03a3")
        for i in range(k)
    ]
    found = {
        "axes": labels,
        "real": _world(np.arange(len(points)), coordinates, road),
        "progress": packed(progress),
        "loss": packed(points[f"loss_{split}"]),
        "error": packed(points[f"error_{split}"]),
    }
    null = _null(atlas, split, points, coordinates)
    if null is not None:
        found["null"] = _world(*null)
    found["samples"] = _samples(atlas, split, points, pictures, show_progress)
    return found


def _world(index, coordinates, road):
    return {
        "index": packed(index, np.uint32),
        "coordinates": quantised(np.nan_to_num(np.concatenate([coordinates, road]))),
        "n": len(index),
        "n_road": len(road),
    }


def _null(atlas, split, points, coordinates):
    """The world in which each run's samples changed places within their classes: thinned points, embedded anew.

    Axes are turned so that they agree with the real ones in sign. None where too few points are there.
    """
    fitted = np.flatnonzero(atlas.embedding(split).fitted.values)
    chosen = fitted[np.unique(np.linspace(0, len(fitted) - 1, min(MAX_NULL, len(fitted))).astype(int))]
    if len(chosen) < 4:
        return None
    run, labels = points.run.to_numpy()[chosen], atlas.labels(split)
    parts = [(name, chosen[run == name]) for name in dict.fromkeys(run)]
    first = {name: group.index[0] for name, group in points.groupby("run", sort=False)}
    own = [atlas.run_log_probs(name, split)[rows - first[name]] for name, rows in parts]
    log_probs, index = np.concatenate(own), np.concatenate([rows for _, rows in parts])
    rng = np.random.default_rng(0)
    moved = null_world(log_probs, points.run.to_numpy()[index], labels, "class", rng=rng)
    ends = ignorance(*moved.shape[1:]), truth(labels, moved.shape[2])
    road = geodesic(*ends, np.linspace(0, 1, 51)).astype(np.float32)
    model = InPCA(n_components=min(coordinates.shape[1], len(index) - 1)).fit(pairwise(moved))
    placed = np.asarray(model.embedding_), model.transform(pairwise(road, moved))
    real = coordinates[index][:, : placed[0].shape[1]]
    sign = np.where((placed[0] * real).sum(axis=0) < 0, -1.0, 1.0)
    wide = [np.pad(part * sign, ((0, 0), (0, coordinates.shape[1] - len(sign)))) for part in placed]
    return index, *wide


def _samples(atlas, split, points, pictures, show_progress):
    """Probability of the true class of each sample at the end of each run, and the pictures where there are any."""
    labels = atlas.labels(split)
    kept = np.unique(np.linspace(0, len(labels) - 1, min(MAX_SAMPLES, len(labels))).astype(int))
    names = tqdm(list(dict.fromkeys(points.run)), f"{split} predictions", disable=not show_progress, leave=False)
    final = [np.exp(atlas.run_log_probs(name, split)[-1, kept, labels[kept]]) for name in names]
    found = {"n": len(kept), "number": kept.tolist(), "label": labels[kept].tolist()}
    found["probability"] = packed(np.rint(255 * np.clip(final, 0, 1)), np.uint8)
    images = None if pictures is None else pictures(split)
    if images is not None and len(images) == len(labels):
        found |= _sprite(images[kept])
    return found


def _sprite(images):
    """All pictures in one PNG, row by row: dict of sprite (base64), columns, width, height."""
    from PIL import Image

    images = np.asarray(images, dtype=np.uint8)
    step = max(1, -(-max(images.shape[1:3]) // PICTURE))
    images = images[:, ::step, ::step]
    n, height, width, depth = images.shape
    columns = int(np.ceil(np.sqrt(n)))
    sheet = np.zeros((-(-n // columns) * columns, height, width, depth), np.uint8)
    sheet[:n] = images
    sheet = sheet.reshape(-1, columns, height, width, depth).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(-1, columns * width, depth)
    buffer = BytesIO()
    Image.fromarray(sheet[..., 0] if depth == 1 else sheet).save(buffer, format="PNG", optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"sprite": text, "columns": columns, "width": width, "height": height}
