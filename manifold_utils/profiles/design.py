"""What differs between the runs of an atlas: the names of its factors, of the family, and of the seed."""

from dataclasses import dataclass

from manifold_utils.profiles.runs import CONFIGURATION, FAMILY, SEED

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Design:
    """What differs between the runs of an atlas: names of columns of its `runs`.

    Attributes
    ----------
    factors : tuple of str
        All that makes a configuration, in the order in which tables and figures show them; never the seed.
    family : str
        The factor that colours figures and that claims generalise over; one of `factors`, or a column that is constant.
    seed : str or None
        The column that only repeats a configuration. None: runs that agree in all factors are repeats.
    """

    factors: tuple = CONFIGURATION
    family: str = FAMILY
    seed: str | None = SEED

    @property
    def columns(self):
        """All columns of `runs` that the design names: factors, family and seed."""
        return tuple(dict.fromkeys([*self.factors, self.family, *([self.seed] if self.seed else [])]))


BOOK_DESIGN = Design()
