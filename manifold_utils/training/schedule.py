"""When a run takes its predictions, and its learning rate at each step (PAPER.md section 2).

Steps count batches from 0; nothing here trains.
"""

import math

import numpy as np

PAPER_EPOCHS = 200
THINNING = 0.4  # checkpoints of a short run: 67 (epochs / 200)^0.4
MIN_CHECKPOINTS = 6  # of a short run


def checkpoint_steps(epochs, n_batches):
    """Steps (batches done) at which predictions are recorded: the paper's schedule, scaled for fewer than 200 epochs.

    From 200 epochs on (PAPER.md section 2; e and i count from 0): step 0; for e < 5 after batches i with i %
    (n_batches // 4) = 0; each epoch's end for 5 <= e <= 25; every 4th epoch up to 65; then every 15th; and the
    last. That is 67 checkpoints for 250 or 50 batches an epoch, 62 for 100. Below 200 epochs the same schedule is
    shrunk in time and thinned with its power 0.4: 27 checkpoints for 20 epochs, still dense early.

    Parameters
    ----------
    epochs, n_batches : int, at least 1

    Returns
    -------
    list of int, strictly increasing, from 0 to epochs * n_batches

    Examples
    --------
    >>> len(checkpoint_steps(200, 250)), len(checkpoint_steps(200, 100)), checkpoint_steps(3, 4)[-1]
    (67, 62, 12)
    """
    if epochs >= PAPER_EPOCHS:
        return _paper_schedule(epochs, n_batches)
    full, last = np.array(_paper_schedule(PAPER_EPOCHS, n_batches)), epochs * n_batches
    n = max(MIN_CHECKPOINTS, round(len(full) * (epochs / PAPER_EPOCHS) ** THINNING))
    n = min(n, last + 1)
    steps = np.round(full[np.round(np.linspace(0, len(full) - 1, n)).astype(int)] * (epochs / PAPER_EPOCHS)).astype(int)
    rank = np.arange(n)
    steps = np.maximum.accumulate(steps - rank) + rank  # no two alike: later ones move up
    return np.minimum(steps, last - rank[::-1]).tolist()  # and none beyond the end


def _paper_schedule(epochs, n_batches):
    quarter = max(1, n_batches // 4)
    steps = {0, epochs * n_batches}
    for e in range(epochs):
        if e < 5:
            steps |= {e * n_batches + i + 1 for i in range(0, n_batches, quarter)}
        elif e <= 25 or (e % 4 == 0 if e <= 65 else e % 15 == 0):
            steps.add((e + 1) * n_batches)
    return sorted(steps)


def learning_rate_at(step, n_steps, peak, n_warmup=0):
    """Learning rate of a step (from 0): linear to `peak` over `n_warmup` steps, then a half cosine to 0."""
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
