"""A Lightning callback that records the network while `Trainer.fit` trains it."""

import sys

from manifold_utils.compat import import_torchvision
from manifold_utils.recording.callbacks.taking import Taking

try:
    import_torchvision()  # Lightning imports it, and beside a CPU build of torch that fails
    if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
        from pytorch_lightning.callbacks import Callback
    else:
        from lightning.pytorch.callbacks import Callback
except ImportError as error:
    raise ImportError(
        f"LightningRecorder needs Lightning ({error}): pip install 'manifold-book[callbacks]', or pip install lightning"
    ) from error


class LightningRecorder(Taking, Callback):
    """Give it to `Trainer(callbacks=[LightningRecorder(recorder)])`.

    Parameters
    ----------
    recorder : Recorder
    steps, save : as of `taking.Taking`; steps are those of the optimiser (`trainer.global_step`)
    network : callable, optional
        The network in the LightningModule, such as `lambda module: module.net`; by default the module itself, whose
        `forward` returns logits.
    """

    def __init__(self, recorder, steps=None, save=None, network=None):
        super().__init__(recorder, steps, save)
        self.network = network or (lambda module: module)

    def on_train_start(self, trainer, pl_module):
        """The network before its first step."""
        self.take(self.network(pl_module), trainer.global_step, float(trainer.current_epoch))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """The network after a step."""
        self.take(self.network(pl_module), trainer.global_step, self._epoch(trainer, batch_idx + 1))

    def on_train_end(self, trainer, pl_module):
        """The trained network."""
        self.take(self.network(pl_module), trainer.global_step, float(trainer.current_epoch), anyway=True)
        self.finish()

    def on_exception(self, trainer, pl_module, exception):
        """What was recorded is kept when training is interrupted."""
        self.finish()

    @staticmethod
    def _epoch(trainer, n_batches):
        length = float(trainer.num_training_batches)
        return trainer.current_epoch + (n_batches / length if 0 < length < float("inf") else 0.0)
