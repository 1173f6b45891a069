"""Shared code of the manifold book: how the predictions of many networks move while they train.

Importing the package imports nothing heavy; each room is imported by name, for example
``from manifold_utils.inpca import InPCA``. The rooms are listed in the README.
"""

from manifold_utils.compat import give_numba_a_cache

__version__ = "0.1.0"
give_numba_a_cache()
