"""Shared code of the manifold book: how the predictions of many networks move while they train.

Importing the package imports nothing heavy; each room is imported by name, for example
``from manifold_utils.inpca import InPCA``. The rooms are listed in the README.
"""

__version__ = "0.1.0"
