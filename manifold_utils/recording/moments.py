"""At which steps a training of unknown length is recorded: dense early, where predictions move fast.

It counts and decides; nothing is predicted here. (The book's own grids know their length and use the paper's schedule,
`training.checkpoint_steps`.)
"""

import math
from collections.abc import Iterable

PER_DOUBLING = 4  # checkpoints while the number of steps doubles: 50 up to step 5,000


class Moments:
    """Says of each step whether a checkpoint is due.

    Parameters
    ----------
    steps : None, int or iterable of int
        None: steps 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, ...: four each time that the number doubles. An int: every so
        many steps. Else: the steps themselves.

    Raises
    ------
    ValueError
        A number of steps below 1.

    Examples
    --------
    >>> [step for step in range(30) if Moments().due(step)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 23, 27]
    >>> [step for step in range(30) if Moments(10).due(step)], Moments([5, 7]).due(7)
    ([0, 10, 20], True)
    """

    def __init__(self, steps=None):
        self.every = self.listed = None
        if isinstance(steps, Iterable):
            self.listed = {int(step) for step in steps}
        elif steps is not None:
            self.every = int(steps)
            if self.every < 1:
                raise ValueError(f"a checkpoint every {steps} steps: at least 1 is needed")

    def due(self, step):
        """Whether `step` (batches, stages or samples done so far) is one to record."""
        if self.listed is not None:
            return step in self.listed
        if self.every is not None:
            return step % self.every == 0
        return step < 2 or _octave(step) > _octave(step - 1)

    def up_to(self, last):
        """All steps from 1 on that are due, and `last`, in order.

        Examples
        --------
        >>> Moments(4).up_to(10)
        [4, 8, 10]
        """
        return sorted({step for step in range(1, last) if self.due(step)} | {last})


def _octave(step):
    return math.floor(PER_DOUBLING * math.log2(step) + 1e-9)
