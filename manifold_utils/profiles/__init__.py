"""Profiles: what a book is made from, and THE list of factors.

A profile spans a grid of runs to train, or says what recorded runs are about; both answer the chapters alike.
"""

from manifold_utils.profiles.design import BOOK_DESIGN, SPLITS, Design
from manifold_utils.profiles.frozen import freeze, is_frozen, unaltered
from manifold_utils.profiles.grids import Block, Grid
from manifold_utils.profiles.profile import PROFILE_FOLDER, Profile, known_profiles
from manifold_utils.profiles.recorded import RECORDED, Metric, RecordedProfile
from manifold_utils.profiles.runs import (
    CONFIGURATION,
    FACTORS,
    FAMILY,
    POOLED_FROM,
    SEED,
    Architecture,
    DatasetConfig,
    RunConfig,
)

__all__ = [
    "Architecture", "BOOK_DESIGN", "Block", "CONFIGURATION", "DatasetConfig", "Design", "FACTORS", "FAMILY", "Grid",
    "Metric", "POOLED_FROM", "PROFILE_FOLDER", "Profile", "RECORDED", "RecordedProfile", "RunConfig", "SEED",
    "SPLITS", "freeze", "is_frozen", "known_profiles", "unaltered",
]  # fmt: skip
