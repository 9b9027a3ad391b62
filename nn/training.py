"""Minibatch training."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nn import checkpoint
from nn.arguments import whole
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.batches import Targets, check_data, evaluate
from nn.batchnorm import BatchNorm
from nn.companions import Companion, OwnGradients, check_companions
from nn.files import check_folder
from nn.initializers import check_generator
from nn.module import Module
from nn.optimizers import Optimizer

Augment = Callable[[Array, np.random.Generator], Array]


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
    augment: Augment | None = None,
    companions: Sequence[Companion] = (),
    checkpoint_path: str | Path | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train on shuffled minibatches and return one record per epoch.

    Parameters
    ----------
    net, loss, optimizer : trained in place; the optimizer holds ``net.parameters()``.
    x : (..., N) inputs.  t : (N,) or (T, N) labels or (K, N) targets, or the tuple of them that the loss takes.
    epochs, batch_size : passes over the data; patterns per step (the last batch of an epoch may be smaller).
    rng : draws one permutation per epoch (and one seed, with `augment`), and nothing else.
    schedule : epoch -> learning rate, for instance `step_decay`; None keeps the optimizer's.
    test : (x, t) to evaluate after every epoch.
    augment : (x, rng) -> x applied to every batch, as a NumPy array, with a generator of its own for every step.
    companions : what goes along (`nn.Companion`), such as ADMM or the deletion of groups, called in this order in
        every step when the gradients of the loss are there and when the weights have moved; saved with the run.  One
        of them may fill the gradients itself (`nn.OwnGradients`).
    checkpoint_path : .npz file to resume from if it exists, and to write to after every epoch and, with
        `checkpoint_every`, every so many steps.  A run killed at any moment and started again with the same
        arguments ends in the same bits as one that was not, companions included.
    progress : show a progress bar.

    Returns
    -------
    list of {"epoch", "learning_rate", "train_loss" (mean over the epoch's batches), "penalty" (with companions: the
    sum of theirs at the end of the epoch), "test_loss", "test_accuracy"}.

    Raises
    ------
    ValueError
        Before the first step, for data that cannot be used (`check_data`), a batch size below 1, a last batch of one
        pattern that batch norm cannot take, a test that the net cannot take, an optimizer or companion of another net,
        a checkpoint of another run, or a layer that draws from `rng`; later for a learning rate that is none.
    FileNotFoundError
        Before the first step, if the folder of the checkpoint is not there.
    FloatingPointError
        When loss, penalty or weights stop being finite; the checkpoint on disk is then of a step before.

    Notes
    -----
    The same run gives the same bits on the same machine with the same number of BLAS threads.  With another number
    (OPENBLAS_NUM_THREADS) the sums in matrix products are added in another order, and the last digits differ.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> rng = np.random.default_rng(0)
    >>> net, data = nn.models.mlp((64, 30, 10), rng), nn.data.load("digits")
    >>> optimizer = nn.SGD(net.parameters(), learning_rate=0.1, momentum=0.9)
    >>> history = nn.training.train(
    ...     net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=3, batch_size=32, rng=rng, progress=False
    ... )
    >>> [record["epoch"] for record in history]
    [0, 1, 2]
    >>> history[2]["train_loss"] < history[0]["train_loss"]
    True
    """
    companions = list(companions)
    epochs, batch_size = _checked_arguments(net, optimizer, x, t, epochs, batch_size, rng, companions)
    _check_last_batch(net, x, batch_size, augment)
    if test is not None:
        _check_test(net, loss, test)
    run = _Run(net, optimizer, rng, companions, checkpoint_path, checkpoint_every)
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
                E = training_step(net, loss, optimizer, x_batch, take(t, batch), companions)
                run.add(float(E), len(batch) / N)
                bar.update()
            run.finish_epoch(loss, test)
            bar.set_postfix({name: f"{value:.4g}" for name, value in run.history[-1].items() if name != "epoch"})
    return run.history


def training_step(
    net: Module, loss: Any, optimizer: Optimizer, x: Array, t: Targets, companions: Sequence[Companion] = ()
) -> Array:
    """Forward, backward, one step of the optimizer; return the loss before it.  Nothing is checked: `train` does."""
    E = _gradients(net, loss, x, t, companions)
    step = optimizer.steps + 1
    for companion in companions:
        companion.after_backward(step)
    optimizer.step()
    for companion in companions:
        companion.after_step(step)
    return E


def _gradients(net: Module, loss: Any, x: Array, t: Targets, companions: Sequence[Companion]) -> Array:
    for companion in companions:
        if isinstance(companion, OwnGradients):
            return companion.gradients(net, loss, x, t)
    E = loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    return E


def take(x: Targets, indices: np.ndarray) -> Targets:
    """Return the patterns `indices` of x (..., N), a contiguous copy, or those of each array of a tuple.

    Raises
    ------
    ValueError
        If the indices are no integers: a mask of truth values would pick the patterns 0 and 1.
    """
    if isinstance(x, tuple):
        return tuple(take(part, indices) for part in x)
    xp = get_array_module(x)
    if not np.issubdtype(np.asarray(indices).dtype, np.integer):
        raise ValueError(
            f"expected the indices of patterns, got {np.asarray(indices).dtype}; np.flatnonzero finds them"
        )
    return xp.take(x, asarray(indices, like=x, dtype=xp.int64), axis=-1)


def _checked_arguments(
    net: Module,
    optimizer: Optimizer,
    x: Array,
    t: Targets,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    companions: list[Companion],
) -> tuple[int, int]:
    check_data(net, x, t)
    try:
        counts = whole(epochs, "number of epochs", 0), whole(batch_size, "batch size", 1)
    except ValueError:
        raise ValueError(
            f"expected whole numbers, epochs >= 0 and a batch size >= 1, got {epochs} and {batch_size}"
        ) from None
    check_generator(rng, outline=False)
    for name, generator in net.named_generators():
        if generator.bit_generator is rng.bit_generator:
            raise ValueError(f"expected a generator of its own as {name}, got the one that shuffles the batches")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"expected an optimizer such as nn.SGD(net.parameters(), 0.1), got {optimizer!r}")
    optimizer.check_net(net)
    check_companions(companions, net)
    return counts


def _check_last_batch(net: Module, x: Array, batch_size: int, augment: Augment | None) -> None:
    # Tried on a copy: whether one pattern is one number a channel depends on where in the net the norm stands.
    N = x.shape[-1]
    if (N - 1) % batch_size or not any(isinstance(module, BatchNorm) for module in net.modules()):
        return
    one = x[..., :1]
    if augment is not None:
        one = asarray(augment(to_numpy(one), np.random.default_rng(0)), like=x)
    try:
        copy.deepcopy(net).train().forward(one)
    except ValueError as error:
        raise ValueError(
            f"the last of the batches of {batch_size} has one of the {N} patterns, and this net cannot be trained on"
            f" one: {error}"
        ) from None


def _check_test(net: Module, loss: Any, test: tuple[Array, Targets]) -> None:
    # One pattern will do, or the two with the smallest and the largest label.
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise ValueError(f"expected the pair (x, t) to test on, got {type(test).__name__}")
    x, t = test
    check_data(net, x, t)
    labels = to_numpy(t[0] if isinstance(t, tuple) else t)
    few = np.array([0])
    if np.issubdtype(labels.dtype, np.integer):
        by_pattern = labels.reshape(-1, labels.shape[-1])
        few = np.array([by_pattern.min(axis=0).argmin(), by_pattern.max(axis=0).argmax()])
    try:
        evaluate(net, loss, take(x, few), take(t, few))
    except ValueError as error:
        raise ValueError(f"the net cannot be evaluated on the test data: {error}") from None


class _Run:
    """Where a run of `train` stands: all that a checkpoint needs to go on to the bit."""

    def __init__(
        self,
        net: Module,
        optimizer: Optimizer,
        rng: np.random.Generator,
        companions: list[Companion],
        path: str | Path | None,
        every: int | None,
    ):
        self.net, self.optimizer, self.rng, self.companions = net, optimizer, rng, companions
        self.path = None if path is None else Path(path)
        self.every = None if every is None else whole(every, "checkpoint_every", 1)
        self.epoch, self.step, self.epoch_loss = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        if self.path is not None:
            check_folder(self.path)
            if self.path.exists():
                self._resume(checkpoint.restore(self.path, net, optimizer, rng, companions))
        self.epoch_start = self.rng.bit_generator.state

    def _resume(self, progress: dict[str, Any]) -> None:
        self.epoch, self.step, self.epoch_loss = progress["epoch"], progress["step"], progress["epoch_loss"]
        self.history = progress["history"]

    def add(self, E: float, weight: float) -> None:
        self._check_finite("the training loss", E)
        self.epoch_loss += weight * E
        self.step += 1
        if self.every is not None and self.step % self.every == 0:
            self.save()

    def finish_epoch(self, loss: Any, test: tuple[Array, Targets] | None) -> None:
        record = {
            "epoch": self.epoch,
            "learning_rate": self.optimizer.learning_rate,
            "train_loss": self.epoch_loss,
        }
        if self.companions:
            record["penalty"] = float(sum(companion.penalty() for companion in self.companions))
            self._check_finite("the penalty", record["penalty"])
        if test is not None:
            record["test_loss"], record["test_accuracy"] = evaluate(self.net, loss, *test)
        self.history.append(record)
        self.epoch, self.step, self.epoch_loss = self.epoch + 1, 0, 0.0
        self.epoch_start = self.rng.bit_generator.state
        self.save()

    def save(self) -> None:
        if self.path is None:
            return
        for name, array in [*((n, p.data) for n, p in self.net.named_parameters()), *self.net.named_buffers()]:
            xp = get_array_module(array)
            self._check_finite(name, 0.0 if bool(xp.all(xp.isfinite(array))) else math.nan)
        progress = {"epoch": self.epoch, "step": self.step, "epoch_loss": self.epoch_loss, "history": self.history}
        # Inside an epoch the generator goes back to where the epoch's permutation was drawn.
        checkpoint.save(self.path, self.net, self.optimizer, self.epoch_start, progress, self.companions)

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{what} became {value} in epoch {self.epoch}, step {self.step}"
                f" (learning rate {self.optimizer.learning_rate}); a smaller learning rate may help"
            )
