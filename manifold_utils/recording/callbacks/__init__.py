"""Recording inside the training loops of others: Lightning, Hugging Face's Trainer, Keras 3, scikit-learn.

Each class takes a `Recorder` and asks it at the right steps. A library is imported only when its class is asked for; a
missing one is one line with the command that brings it.
"""

__all__ = ["KerasRecorder", "LightningRecorder", "TransformersRecorder", "record_estimator"]


def __getattr__(name):
    """The callbacks, imported when they are first asked for: each of their libraries takes seconds."""
    if name == "LightningRecorder":
        from manifold_utils.recording.callbacks.of_lightning import LightningRecorder as found  # heavy: lightning
    elif name == "TransformersRecorder":
        from manifold_utils.recording.callbacks.of_transformers import TransformersRecorder as found  # heavy: its own
    elif name == "KerasRecorder":
        from manifold_utils.recording.callbacks.of_keras import KerasRecorder as found  # heavy: keras, and its backend
    elif name == "record_estimator":
        from manifold_utils.recording.callbacks.of_sklearn import record_estimator as found  # heavy: scikit-learn
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
