"""What a book has to show: counted in a profile's grids before anything is trained, or in an atlas of recorded runs.

A chapter asks for some of it in book.yaml (`Wants`); what is missing is said in words. It opens tables only.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from manifold_utils.atlas.checked import read_table
from manifold_utils.profiles import FAMILY, RECORDED, SEED


class Wants(BaseModel):
    """What a chapter asks for; the keys of book.yaml, explained at its top."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    grids: list[str] = []
    splits: list[str] = []
    runs: int = Field(1, ge=1)
    families: int = Field(1, ge=1)
    factors: int = Field(0, ge=0)
    seeds: int = Field(1, ge=1)
    checkpoints: int = Field(1, ge=1)
    trained: bool = False


@dataclass(frozen=True)
class Holdings:
    """What there is.

    Attributes
    ----------
    grids, splits : tuples of names
    runs, families, factors, seeds, checkpoints : int
        Of the grid `main`: its runs that did not diverge, levels of the family, factors that vary, runs that repeat a
        configuration (the most of any), checkpoints (of the median run). None where a profile does not say.
    trained : bool
        Whether the book has the data and trains the networks itself.
    family : str, the factor that is the family
    """

    grids: tuple
    splits: tuple
    runs: int
    families: int
    factors: int
    seeds: int
    checkpoints: int | None
    trained: bool
    family: str = FAMILY

    @classmethod
    def of(cls, profile, atlas):
        """Of a profile and the folder of its atlas, which is opened only if its runs were recorded elsewhere."""
        return cls.of_recorded(profile, atlas) if profile.kind == RECORDED else cls.of_grids(profile)

    @classmethod
    def of_grids(cls, profile):
        """What a profile plans."""
        table = pd.DataFrame([config.model_dump(exclude={"dataset"}) for _, config in profile.configs("main")])
        varied = int((table.drop(columns=SEED).nunique() > 1).sum())
        counts = len(table), table[FAMILY].nunique(), varied, table[SEED].nunique(), None
        return cls(tuple(profile.grids), tuple(profile.splits), *counts, True)

    @classmethod
    def of_recorded(cls, profile, atlas):
        """What an atlas holds; ValueError if its import did not come to its end."""
        path = Path(atlas) / "runs.parquet"
        if not (path.is_file() and (Path(atlas) / "recorded.json").is_file()):
            raise ValueError(f"the import of {profile.name!r} did not come to its end: call it again, and it goes on")
        runs, design = read_table(path, "import its runs again", names="run"), profile.design
        runs = runs[runs.status == "finished"]
        factors = [f for f in design.factors if runs[f].nunique(dropna=False) > 1]
        repeats = runs.groupby(list(design.factors), dropna=False).size().max() if len(runs) else 0
        families = runs[design.family].nunique(dropna=False)
        checkpoints = int(runs.n_points.median()) if len(runs) else 0
        counts = len(runs), families, len(factors), int(repeats), checkpoints
        return cls(("main",), tuple(profile.splits), *counts, False, design.family)

    def lacking(self, wants):
        """What of `wants` is not there: a list of phrases that a sentence can end with."""
        whose = "" if self.trained else " of networks that the book trains itself"
        found = [f"the grid {name}{whose}" for name in wants.grids if name not in self.grids]
        found += [f"predictions on {split} samples" for split in wants.splits if split not in self.splits]
        for key, phrase in COUNTED.items():
            n, have = getattr(wants, key), getattr(self, key)
            if have is not None and have < n:
                found.append(phrase.format(n=n, have=have, family=self.family))
        if wants.trained and not self.trained:
            found.append("networks that the book trains itself, on data that it has")
        return found


COUNTED = {
    "runs": "{n} runs that did not diverge (it has {have})",
    "families": "{n} levels of the family '{family}' (it has {have})",
    "factors": "{n} factors that vary (it has {have})",
    "seeds": "{n} seeds, or other repeats, of a configuration (it has {have})",
    "checkpoints": "{n} checkpoints a run (it has {have})",
}
