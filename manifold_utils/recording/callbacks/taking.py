"""What all callbacks share: when to record, what to do when training diverges, where to save at the end."""

import warnings

from manifold_utils.atlas.records import place_of_run
from manifold_utils.recording.errors import Diverged
from manifold_utils.recording.moments import Moments


class Taking:
    """Records a network at the steps that are due; a base of the callbacks.

    Parameters
    ----------
    recorder : Recorder
    steps : None, int or iterable of int
        See `moments.Moments`: by default dense early; an int for every so many steps. The first step and the last are
        always recorded.
    save : str or Path, optional
        Folder that the run is written to at the end of training, and when training is interrupted. A training that
        begins after step 0, from a checkpoint, goes on with what lies there.

    Raises
    ------
    FileExistsError
        `save` holds files that are no run's: said before anything is trained.

    Examples
    --------
    >>> import torch
    >>> from manifold_utils.recording import Recorder
    >>> taking, model = Taking(Recorder({"test": (torch.eye(2), [0, 1])}), steps=10), torch.nn.Linear(2, 2)
    >>> for step in range(13):
    ...     taking.take(model, step, epoch=step / 13)
    >>> taking.take(model, 12, epoch=1.0, anyway=True)
    >>> taking.recorder.run().points.step.tolist()
    [0, 10, 12]
    """

    def __init__(self, recorder, steps=None, save=None):
        super().__init__()
        self.recorder, self.moments = recorder, Moments(steps)
        self.save_to = None if save is None else place_of_run(save)

    def take(self, model, step, epoch, anyway=False):
        """Record if the step is due (or `anyway`), is new, and training has not diverged."""
        if self.recorder.last_step is None and step > 0 and self.save_to is not None:
            self.recorder.resume(self.save_to, step)
        last, diverged = self.recorder.last_step, self.recorder.diverged_step
        if diverged is not None or (last is not None and step <= last):
            return
        if not (anyway or last is None or self.moments.due(step)):
            return
        try:
            self.recorder.record(model, step, epoch)
        except Diverged as error:
            warnings.warn(f"{error}; nothing more is recorded", stacklevel=2)

    def finish(self):
        """Save what was recorded, where `save` says."""
        if self.save_to is not None and (self.recorder.last_step is not None or self.recorder.waits):
            self.recorder.save(self.save_to)
