"""What the front of the book says about its headline: the explained stress, and what it can and cannot prove.

The same sentences, from named results, stand on the first HTML page (of its own atlas) and in the README (of the
published runs). It computes no number.
"""

from manifold_utils.claims import load_results, reference_cards

PROOF = (
    "The explained stress of all train points cannot prove that networks share a manifold, because every network that "
    "learns travels from ignorance to truth, and this way alone fills the first axes. What can prove it is the "
    "comparison at equal progress: there the common way drops out, and networks that shared nothing but their learning "
    "curves would need many more axes. Test predictions of hard data, which end far from truth, are as sharp a test."
)


def headline(found, name=""):
    """Three sentences on one run: the headline and its null, over all points and at equal progress.

    Parameters
    ----------
    found : dict of named results, see `claims.load_results`
    name : str
        What the run is called; "" for "this atlas".

    Returns
    -------
    str
        "" where chapter 42 has not run or had too few runs for a null.
    """
    parts = [_over_all_points(found, split) for split in ("train", "test")]
    if not parts[0]:
        return ""
    after = "in brackets: after shuffling the samples of each network within their classes"
    text = f"On {name or 'this atlas'}, 3 axes explain {' and '.join(part for part in parts if part)} ({after})."
    parts = [_at_equal_progress(found, split) for split in ("train", "test")]
    return " ".join([text, *(part for part in parts if part)])


def _over_all_points(found, split):
    """The same points in both worlds: the null's stress, and its gain in the real one."""
    null, gain = (found.get(f"42.{split}_stress_3_{end}", {}).get("value") for end in ("null", "gain"))
    if null is None or gain is None:
        return ""
    return f"{100 * (null + gain):.0f} % [{100 * null:.0f} %] of the {split} stress of all points"


def _at_equal_progress(found, split):
    real, null = (found.get(f"32.{split}_axes_{world}", {}).get("value") for world in ("real", "class"))
    ratio = found.get(f"42.{split}_axes_ratio", {})
    if real is None or null is None or ratio.get("value") is None:
        return ""
    ends = "" if ratio["low"] is None else f", {ratio['low']:.2f} to {ratio['high']:.2f}"
    text = f"At equal progress 90 % of the {split} stress needs {real:.0f} axes, and {null:.0f} after the shuffle"
    return f"{text} (a ratio of {ratio['value']:.2f}{ends})."


def headline_of_atlas(atlas_path):
    """The front page's paragraphs on an atlas: what its headline is, and what it can prove; '' without chapter 42."""
    said = headline(load_results(atlas_path / "results"))
    return f"{said}\n\n{PROOF}\n" if said else ""


def headlines_markdown(reference):
    """The README's paragraphs on all published runs, real images first."""
    folders = {name: reference / name for name in reference_cards(folder=reference)}
    said = [headline(load_results(folder), f"`{name}`") for name, folder in folders.items()]
    return "\n\n".join([PROOF, *(f"* {text}" for text in said if text)])
