"""The experiment: one run (`run`), when it records (`schedule`), a grid of runs (`grid`), its cost (`planning`)."""

from manifold_utils.training.run import (
    MOMENTUM,
    Optimizer,
    fitted_labels,
    noisy,
    phases,
    start_network,
    train_run,
)
from manifold_utils.training.schedule import checkpoint_steps, learning_rate_at

__all__ = [
    "MOMENTUM", "Optimizer", "checkpoint_steps", "fitted_labels", "learning_rate_at", "noisy", "phases",
    "start_network", "train_run",
]  # fmt: skip
