"""A Keras 3 callback that records the network while `fit` trains it, on any backend of Keras."""

import importlib.util
import os
import sys

from manifold_utils.recording.callbacks.taking import Taking

if "keras" not in sys.modules and not importlib.util.find_spec("tensorflow"):
    os.environ.setdefault("KERAS_BACKEND", "torch")  # the backend that is there; Keras' own default is tensorflow

try:
    import keras
except ImportError as error:
    raise ImportError(
        f"KerasRecorder needs Keras 3 and a backend, torch for instance ({error}): pip install "
        "'manifold-book[callbacks]', or pip install keras, and set KERAS_BACKEND=torch"
    ) from error

NORMALISED = ("softmax", "sigmoid")  # activations of a last layer that returns probabilities


class KerasRecorder(Taking, keras.callbacks.Callback):
    """Give it to `model.fit(..., callbacks=[KerasRecorder(recorder)])`.

    Whether the model returns probabilities or logits is read from the activation of its last layer, unless the
    recorder was told (`Recorder(kind=...)`).

    Parameters
    ----------
    recorder : Recorder
    steps, save : as of `taking.Taking`; steps are batches
    """

    def __init__(self, recorder, steps=None, save=None):
        super().__init__(recorder, steps, save)
        self._step = self._before = self._epoch = 0

    def on_train_begin(self, logs=None):
        """The network before its first batch."""
        if self.recorder.kind is None and _returns_probabilities(self.model):
            self.recorder.kind = "probabilities"
        self.take(self._predict, self._step, 0.0)

    def on_epoch_begin(self, epoch, logs=None):
        """Batches are counted anew in each epoch; steps go on."""
        self._before, self._epoch = self._step, epoch

    def on_train_batch_end(self, batch, logs=None):
        """The network after a batch."""
        self._step = self._before + batch + 1
        length = self.params.get("steps")
        self.take(self._predict, self._step, self._epoch + ((batch + 1) / length if length else 0.0))

    def on_train_end(self, logs=None):
        """The trained network."""
        self.take(self._predict, self._step, self._epoch + 1.0, anyway=True)
        self.finish()

    def _predict(self, inputs):
        """Outputs of the model as numpy, whatever its backend."""
        given = list(inputs) if isinstance(inputs, tuple) else inputs
        given = given if keras.backend.backend() == "torch" else keras.tree.map_structure(lambda x: x.numpy(), given)
        return keras.ops.convert_to_numpy(self.model(given, training=False))


def _returns_probabilities(model):
    last = model.layers[-1]
    return type(last).__name__.lower() in NORMALISED or getattr(last, "activation", None) in [
        keras.activations.get(name) for name in NORMALISED
    ]
