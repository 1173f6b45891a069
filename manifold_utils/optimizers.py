"""The optimisers of the paper's grid as one small class: sgd, nesterov, adam (weight decay as L2), adamw (decoupled).

The updates are torch's own fused kernels, through the functional form of torch.optim. Its classes import the
compiler the first time one is made, which costs each worker process several seconds: more than most runs of a small
profile. No schedule (see `training`).
"""

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

MOMENTUM = 0.9  # of "nesterov"
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of adam and adamw: torch's defaults


class Optimizer:
    """Update a network's parameters from their gradients.

    Parameters
    ----------
    network : torch.nn.Module
        On its final device: the state lives beside the parameters.
    name : {"sgd", "nesterov", "adam", "adamw"}
    weight_decay : float
        Factor of the parameters added to the gradient; for adamw, times the learning rate, taken off the parameters.

    Examples
    --------
    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = Optimizer(layer, "sgd")
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step(0.1)
    """

    def __init__(self, network, name, weight_decay=0.0):
        if name not in ("sgd", "nesterov", "adam", "adamw"):
            raise ValueError(f"unknown optimizer {name!r}; known: sgd, nesterov, adam, adamw")
        self.name, self.weight_decay = name, weight_decay
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.buffers = [None] * len(self.parameters)
        if name.startswith("adam"):
            self.means, self.squares = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
            self.counts = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, learning_rate):
        """One update with this learning rate, in place."""
        gradients = [p.grad for p in self.parameters]
        common = dict(lr=learning_rate, weight_decay=self.weight_decay, maximize=False, fused=True)
        if self.name.startswith("adam"):
            state = (self.means, self.squares, [], self.counts)
            settings = dict(amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON)
            adam(self.parameters, gradients, *state, decoupled_weight_decay=self.name == "adamw", **settings, **common)
        else:
            nesterov = self.name == "nesterov"
            momentum = MOMENTUM if nesterov else 0.0
            sgd(self.parameters, gradients, self.buffers, dampening=0.0, momentum=momentum, nesterov=nesterov, **common)
