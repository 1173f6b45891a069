"""What goes wrong while predictions are recorded, as exceptions that a training loop can catch."""


class Diverged(ValueError):
    """A prediction is not finite: training has diverged. Nothing of that checkpoint is kept; `step` says which.

    Examples
    --------
    >>> Diverged("a loss of NaN", 7).step
    7
    """

    def __init__(self, message, step):
        super().__init__(message)
        self.step = step


class Unfitting(ValueError):
    """Outputs whose shape (`found`) does not belong to labels of shape `wanted`.

    Examples
    --------
    >>> Unfitting((5, 3), (4,)).found
    (5, 3)
    """

    def __init__(self, found, wanted):
        super().__init__(f"outputs of shape {found} for labels of shape {wanted}")
        self.found, self.wanted = found, wanted
