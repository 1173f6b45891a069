"""The open door: predictions recorded in anybody's training loop, kept, placed in an atlas and judged there.

`Recorder` is the one way in which predictions are taken, for the book's own grids as for a reader's network.
"""

from manifold_utils.atlas.records import RunRecord, load_run
from manifold_utils.recording.errors import Diverged
from manifold_utils.recording.own_errors import Recorded
from manifold_utils.recording.recorder import Recorder
from manifold_utils.recording.spaces import check_same_space, log_probs_from_logits

__all__ = [
    "Diverged", "Recorded", "Recorder", "RunRecord", "Yardstick", "check_same_space", "judge", "judge_point",
    "load_run", "log_probs_from_logits", "place",
]  # fmt: skip


def __getattr__(name):
    """`place`, `judge` and what belongs to them, imported when they are first asked for."""
    if name not in ("Yardstick", "judge", "judge_point", "place"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # scikit-learn: a second at the start of every training worker, which places nothing
    from manifold_utils.recording.guests import judge, judge_point, place
    from manifold_utils.recording.yardsticks import Yardstick

    return {"Yardstick": Yardstick, "judge": judge, "judge_point": judge_point, "place": place}[name]
