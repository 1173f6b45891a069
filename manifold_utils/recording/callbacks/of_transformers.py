"""A callback of Hugging Face's Trainer that records the network while it is trained."""

from manifold_utils.recording.callbacks.taking import Taking

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        f"TransformersRecorder needs transformers ({error}): pip install 'manifold-book[callbacks]', or pip install "
        "transformers accelerate"
    ) from error


class TransformersRecorder(Taking, TrainerCallback):
    """Give it to `Trainer(callbacks=[TransformersRecorder(recorder)])`.

    Parameters
    ----------
    recorder : Recorder
        On batches as the model takes them: a Hugging Face data set with `collate=`, or a dictionary of tensors.
    steps, save : as of `taking.Taking`; steps are those of the optimiser (`state.global_step`)
    """

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """The network before its first step."""
        self.take(model, state.global_step, float(state.epoch or 0.0))

    def on_step_end(self, args, state, control, model=None, **kwargs):
        """The network after a step."""
        self.take(model, state.global_step, float(state.epoch), anyway=state.global_step >= state.max_steps)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """The trained network, unless the Trainer has put an earlier one in its place."""
        if not args.load_best_model_at_end:
            self.take(model, state.global_step, float(state.epoch), anyway=True)
        self.finish()
