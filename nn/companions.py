"""What goes along with training: constraints, statistics, averages, deletion while the net learns."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from nn.arguments import whole
from nn.backend import Array, get_array_module
from nn.module import Module
from nn.optimizers import Optimizer

State: TypeAlias = Mapping[str, Any]
"""What a companion remembers: each value an array, or something that JSON can hold."""


class Companion:
    """Called by `nn.training.train` in every step, and saved with the run; what a subclass leaves out does nothing.

    Steps are counted by the optimizer, from 1 and over all its runs: ``step`` is the number of the one being made.

    Examples
    --------
    >>> class Ridge(Companion):
    ...     def __init__(self, net, lam):
    ...         self.net, self.lam = net, lam
    ...     def after_backward(self, step):
    ...         for u in self.net.parameters():
    ...             u.grad = u.grad + 2 * self.lam * u.data
    ...     def penalty(self):
    ...         return self.lam * sum(float((u.data * u.data).sum()) for u in self.net.parameters())
    """

    net: Any = None
    """The net that it was made for, the only one that it may go along with; None goes along with any."""

    def after_backward(self, step: int) -> None:
        """Do something when the gradients of the loss are there; a smooth penalty adds its own."""

    def after_step(self, step: int) -> None:
        """Do something when the weights have moved; a proximal step follows, or a deletion."""

    def penalty(self) -> float:
        """Return what the companion adds to the loss, with the weights as they are; the history shows it."""
        return 0.0

    def state(self) -> State:
        """Return all that later steps depend on and neither the net nor the constructor's arguments say."""
        return {}

    def load(self, state: State) -> None:
        """Take up what ``state`` returned in another process, arrays now in NumPy; the net has its old weights yet.

        Raises
        ------
        ValueError
            If the state does not fit; nothing is changed then.
        """
        if state:
            raise ValueError(f"expected no state for {type(self).__name__}, got one of {', '.join(state)}")


class OwnGradients(Companion):
    """A companion that fills the gradients itself, in the place of the forward and the backward sweep of one batch.

    At most one goes along with a training.  What it draws with is no layer's: ``state`` has to return it.

    Examples
    --------
    The loss of two batches at once, of the images and of their negatives:

    >>> import nn
    >>> class Both(nn.OwnGradients):
    ...     def gradients(self, net, loss, x, t):
    ...         E = loss.forward(net.forward(x), t)
    ...         net.backward_parameters(loss.backward())
    ...         first = [u.grad for u in net.parameters()]
    ...         E = E + loss.forward(net.forward(-x), t)
    ...         net.backward_parameters(loss.backward())
    ...         for u, grad in zip(net.parameters(), first):
    ...             u.grad = u.grad + grad
    ...         return E
    """

    def gradients(self, net: Module, loss: Any, x: Array, t: Any) -> Array:
        """Fill the gradients of all parameters of the net, in train mode, and return E, a 0-d array."""
        raise ValueError(f"{type(self).__name__} does not say what it differentiates: it has no gradients(...)")


class Ramp:
    """A number that goes from 0 to 1 while training makes so many steps: the strength of a penalty, or of a target.

    With k steps made,  value = (k - start) / steps,  not below 0 and not above 1.  It is asked by a companion, in any
    of its methods, and needs no state of its own: the optimizer counts the steps, and a run that goes on has its count.

    Parameters
    ----------
    optimizer : whose steps are counted.
    steps : how many take it from 0 to 1.
    start : how many are made before it begins.

    Raises
    ------
    TypeError
        If this is no optimizer.
    ValueError
        If a number of steps is no whole one, of 1 or more, or the start is below 0.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> u = nn.Parameter(np.zeros(1))
    >>> optimizer = nn.SGD([u], 0.1)
    >>> ramp, values = nn.Ramp(optimizer, steps=2, start=1), []
    >>> for _ in range(4):
    ...     u.grad = np.ones(1)
    ...     values.append(ramp.value)
    ...     optimizer.step()
    >>> values, ramp.value
    ([0.0, 0.0, 0.5, 1.0], 1.0)
    """

    def __init__(self, optimizer: Optimizer, steps: int, start: int = 0):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"expected an optimizer, whose steps are counted, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.steps, self.start = whole(steps, "number of steps", 1), whole(start, "start", 0)

    @property
    def value(self) -> float:
        """The number, 0 to 1: in the first step 0, and 1 when the steps are made."""
        return min(1.0, max(0.0, (self.optimizer.steps - self.start) / self.steps))


def is_array(value: Any) -> bool:
    """Whether this is an array of any library, which a checkpoint keeps as such."""
    try:
        get_array_module(value)
    except TypeError:
        return False
    return True


def check_companions(companions: list[Companion], net: Module) -> None:
    """Refuse what could not go along with the training of this net.

    Raises
    ------
    TypeError
        If one of them is no `Companion`.
    ValueError
        If one was made for another net, or stands twice, or two have gradients of their own.
    """
    if len({id(companion) for companion in companions}) < len(companions):
        raise ValueError("expected every companion once, got one twice: it would act twice in every step")
    for companion in companions:
        if not isinstance(companion, Companion):
            raise TypeError(f"expected companions derived from nn.Companion, got a {type(companion).__name__}")
        if companion.net is not None and companion.net is not net:
            raise ValueError(
                f"expected companions of this net, got a {type(companion).__name__} of another: a net that was copied,"
                " cut or loaded needs its own"
            )
    own = [type(companion).__name__ for companion in companions if isinstance(companion, OwnGradients)]
    if len(own) > 1:
        raise ValueError(f"expected at most one companion with gradients of its own, got {' and '.join(own)}")
