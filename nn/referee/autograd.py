"""Torch as a referee: autograd differentiates the subject's own forward, once and twice."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from nn.referee.judges import Judge, installed


def present() -> bool:
    """Return whether torch, and what layers need to compute with its tensors, is installed."""
    return installed("torch", "array_api_compat")


def library() -> Any:
    """Return torch as the library that layers are moved to."""
    import torch

    return SimpleNamespace(asarray=lambda array: torch.from_numpy(np.array(array)))


def derivatives(judge: Judge, twice: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first derivative by the judged entries, and the matrix of the second (empty if not asked).

    Whatever a forward raises that was not written for tensors is passed on.
    """
    import torch

    twin = judge.trial.moved(library())
    u = twin.variables[judge.key].requires_grad_()
    entries = torch.from_numpy(judge.entries)
    (g,) = torch.autograd.grad(twin.energy(), u, create_graph=twice, materialize_grads=True)
    g = torch.reshape(g, (-1,))[entries]
    if not twice:
        return g.numpy(), np.zeros((0, 0))
    rows = [_row(each, u)[entries] for each in g] if g.requires_grad else [torch.zeros_like(g)] * len(g)
    return g.detach().numpy(), torch.stack(rows).numpy()


def _row(g: Any, u: Any) -> Any:
    import torch

    (row,) = torch.autograd.grad(g, u, retain_graph=True, materialize_grads=True)
    return torch.reshape(row, (-1,))
