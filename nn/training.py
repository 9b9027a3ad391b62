"""Minibatch training."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn import checkpoint
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.batches import Targets, check_data, evaluate
from nn.module import Module
from nn.optimizers import Optimizer


def train(
    net: Module,
    loss: Any,
    optimizer: Optimizer,
    x: Array,
    t: Targets,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    schedule: Callable[[int], float] | None = None,
    test: tuple[Array, Targets] | None = None,
    augment: Callable[[Array, np.random.Generator], Array] | None = None,
    after_backward: Callable[[], None] | None = None,
    after_step: Callable[[], None] | None = None,
    checkpoint_path: str | Path | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train on shuffled minibatches and return one record per epoch.

    Parameters
    ----------
    net, loss, optimizer : trained in place; the optimizer holds ``net.parameters()``.
    x : (..., N) inputs.  t : (N,) labels or (K, N) targets, or the tuple of them that the loss takes.
    epochs, batch_size : passes over the data; patterns per step (the last batch of an epoch may be smaller).
    rng : draws one permutation per epoch (and one seed, with `augment`), and nothing else.
    schedule : epoch -> learning rate, for instance `step_decay`; None keeps the optimizer's.
    test : (x, t) to evaluate after every epoch.
    augment : (x, rng) -> x applied to every batch, as a NumPy array, with a generator of its own for every step.
    after_backward, after_step : called in every step, the first when the gradients of the loss are there (a smooth
        penalty adds its own), the second when the weights have moved (a proximal step follows).  No checkpoint holds
        what they remember, such as ADMM's multipliers: a resumed run needs them to remember nothing.
    checkpoint_path : .npz file to resume from if it exists, and to write to after every epoch and, with
        `checkpoint_every`, every so many steps.  A run killed at any moment and started again with the same
        arguments ends in the same bits as one that was not.
    progress : show a progress bar.

    Returns
    -------
    list of {"epoch", "learning_rate", "train_loss" (mean over the epoch's batches), "test_loss", "test_accuracy"}.

    Raises
    ------
    ValueError
        For data that cannot be used (`check_data`), a batch size below 1, a checkpoint of another net, or a Dropout
        that draws from `rng`.
    FloatingPointError
        When the loss stops being finite; the checkpoint on disk is then of a step before.
    """
    check_data(net, x, t)
    if batch_size < 1 or epochs < 0:
        raise ValueError(f"expected epochs >= 0 and a batch size >= 1, got {epochs} and {batch_size}")
    if any(getattr(module, "rng", None) is rng for module in net.modules()):
        raise ValueError("expected a generator of its own for Dropout, got the one that shuffles the batches")
    run = _Run(net, optimizer, rng, checkpoint_path)
    N = x.shape[-1]
    steps = math.ceil(N / batch_size)
    with tqdm(total=epochs * steps, initial=run.epoch * steps + run.step, disable=not progress, unit="step") as bar:
        while run.epoch < epochs:
            optimizer.learning_rate = schedule(run.epoch) if schedule else optimizer.learning_rate
            net.train()
            order = rng.permutation(N)
            seed = 0 if augment is None else int(rng.integers(2**63))
            while run.step < steps:
                batch = order[run.step * batch_size : (run.step + 1) * batch_size]
                x_batch = take(x, batch)
                if augment is not None:
                    # A generator per step: a run that goes on inside an epoch need not draw what came before.
                    x_batch = asarray(augment(to_numpy(x_batch), np.random.default_rng([seed, run.step])), like=x)
                E = training_step(net, loss, optimizer, x_batch, take(t, batch), after_backward, after_step)
                run.add(float(E), len(batch) / N)
                bar.update()
                if checkpoint_every and run.step % checkpoint_every == 0:
                    run.save()
            run.finish_epoch(loss, test)
            bar.set_postfix({name: f"{value:.4g}" for name, value in run.history[-1].items() if name != "epoch"})
            run.save()
    return run.history


def training_step(
    net: Module,
    loss: Any,
    optimizer: Optimizer,
    x: Array,
    t: Targets,
    after_backward: Callable[[], None] | None = None,
    after_step: Callable[[], None] | None = None,
) -> Array:
    """Forward, backward, one step of the optimizer; return the loss before it."""
    E = loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    if after_backward is not None:
        after_backward()
    optimizer.step()
    if after_step is not None:
        after_step()
    return E


def take(x: Targets, indices: np.ndarray) -> Targets:
    """Return the patterns `indices` of x (..., N), a contiguous copy, or those of each array of a tuple."""
    if isinstance(x, tuple):
        return tuple(take(part, indices) for part in x)
    xp = get_array_module(x)
    return xp.take(x, asarray(indices, like=x, dtype=xp.int64), axis=-1)


class _Run:
    """Where a run of `train` stands: all that a checkpoint needs to go on to the bit."""

    def __init__(self, net: Module, optimizer: Optimizer, rng: np.random.Generator, path: str | Path | None):
        self.net, self.optimizer, self.rng = net, optimizer, rng
        self.path = None if path is None else Path(path)
        self.epoch, self.step, self.epoch_loss = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        if self.path is not None and self.path.exists():
            progress = checkpoint.restore(self.path, net, optimizer, rng)
            self.epoch, self.step, self.epoch_loss = progress["epoch"], progress["step"], progress["epoch_loss"]
            self.history = progress["history"]
        self.epoch_start = self.rng.bit_generator.state

    def add(self, E: float, weight: float) -> None:
        if not math.isfinite(E):
            raise FloatingPointError(
                f"the training loss became {E} in epoch {self.epoch}, step {self.step}"
                f" (learning rate {self.optimizer.learning_rate}); a smaller learning rate may help"
            )
        self.epoch_loss += weight * E
        self.step += 1

    def finish_epoch(self, loss: Any, test: tuple[Array, Targets] | None) -> None:
        record = {
            "epoch": self.epoch,
            "learning_rate": self.optimizer.learning_rate,
            "train_loss": self.epoch_loss,
        }
        if test is not None:
            record["test_loss"], record["test_accuracy"] = evaluate(self.net, loss, *test)
        self.history.append(record)
        self.epoch, self.step, self.epoch_loss = self.epoch + 1, 0, 0.0
        self.epoch_start = self.rng.bit_generator.state

    def save(self) -> None:
        if self.path is None:
            return
        progress = {"epoch": self.epoch, "step": self.step, "epoch_loss": self.epoch_loss, "history": self.history}
        # Inside an epoch the generator goes back to where the epoch's permutation was drawn.
        checkpoint.save(self.path, self.net, self.optimizer, self.epoch_start, progress)
