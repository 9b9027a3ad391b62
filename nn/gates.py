"""Gates: one factor a channel that is drawn anew in every training step, and a tap for losses on hidden layers."""

import operator
from typing import Any

import numpy as np

from nn.activations import Identity
from nn.backend import Array, asarray, dtype_name, get_array_module, sum_positions
from nn.batchnorm import dot_rows
from nn.channelwise import Channelwise
from nn.checks import check_floating, check_input, check_matrices, check_signal
from nn.initializers import check_generator
from nn.scale import Scale


class Gate(Channelwise):
    """y_c = z_c x_c on axis 0 of (C, N) or (C, H, W, N); z (C,) or (C, N), one a pattern, is drawn in train mode.

    A subclass says how.  ``draw`` gives the noise, ``gates`` makes z of it, ``factor`` is z in eval mode, made of its
    parameters and buffers alone, and ``backward_gates`` turns dE/dz into the gradients of its parameters.

    Parameters
    ----------
    channels : number C.
    rng : draws the noise, one array a forward pass in train mode; None builds an outline that has no train mode.

    Attributes
    ----------
    noise : None, or what stands in the place of every draw, so that E is a function that can be differentiated.

    Raises
    ------
    ValueError
        In train mode without a generator, or if z has another shape.

    Notes
    -----
    ``backward_hessian`` is exact towards x for the z that was drawn; of its own parameters no second derivative is
    known.  In eval mode they have no derivatives at all, since z is then a constant: ``grad`` is None behind a sweep.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> class Half(nn.Gate):
    ...     def draw(self, N):
    ...         return self.rng.random(self.channels)
    ...     def gates(self, noise):
    ...         return 1.0 * (noise < 0.5)
    ...     def factor(self):
    ...         return np.full(self.channels, 0.5)
    >>> gate, x = Half(3, np.random.default_rng(0)), np.ones((3, 2))
    >>> gate.forward(x)[:, 0], gate.eval().forward(x)[:, 0]
    (array([0., 1., 1.]), array([0.5, 0.5, 0.5]))
    """

    noise: Array | None = None
    drawn: Array | None = None
    """The noise of the last forward pass, for ``backward_gates``; None in eval mode."""

    def __init__(self, channels: int, rng: np.random.Generator | None):
        check_generator(rng)
        self.channels, self.rng = operator.index(channels), rng
        if self.channels < 1:
            raise ValueError(f"expected at least one channel, got {channels}")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {"channels": self.channels, "rng": None}

    def draw(self, N: int) -> np.ndarray:
        """Return the noise of a batch of N patterns, drawn in NumPy with ``self.rng``."""
        raise ValueError(f"{type(self).__name__} does not say what it draws: it has no draw(N)")

    def gates(self, noise: Array) -> Array:
        """Return z (C,) or (C, N) of train mode, of the noise in the library and dtype of x."""
        raise ValueError(f"{type(self).__name__} does not say what it makes of the noise: it has no gates(noise)")

    def backward_gates(self, gz: Array) -> None:
        """dE/dz, of the shape of z, -> the gradients of the parameters, if there are any; in train mode only."""

    def hardened(self) -> Scale:
        """Return the plain layer that computes what this one does in eval mode: `pruning.surgery.harden` asks."""
        z = self.factor()
        scale = Scale(self.channels, self.channels, dtype_name(z.dtype))
        scale.s.data = 0 + z
        return scale

    def forward(self, x: Array) -> Array:
        """Return y = z x."""
        check_floating(self, x)
        check_input(self, x)
        self.x, self.drawn = x, self._noise(x) if self.training else None
        self.z = self.factor() if self.drawn is None else self.gates(self.drawn)
        return self.spread(self.z) * x

    def backward_parameters(self, gy: Array) -> None:
        """dE/dy -> dE/dz = sum over positions of dE/dy x, over the patterns too if they share z."""
        check_signal(self, gy)
        if self.drawn is None:
            for u in self.parameters():  # not those of the last step in train mode
                u.grad = None
        elif len(self.z.shape) == 1:
            xp, rows = get_array_module(gy), (self.channels, -1)
            self.backward_gates(dot_rows(xp.reshape(gy, rows), xp.reshape(self.x, rows)))
        else:
            self.backward_gates(sum_positions(gy * self.x))

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx = z dE/dy."""
        self.backward_parameters(gy)
        return self.spread(self.z) * gy

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2 = z^2 d2E/dy2."""
        check_signal(self, gy, hy)
        for u in self.parameters():
            u.hess_diag = None
        return self.backward(gy), self.spread(self.z * self.z) * hy

    def spread(self, z: Array) -> Array:
        """Return z with axes of length 1 for the positions of the last input, and for its patterns if they share z."""
        C, *positions, N = self.x.shape
        if tuple(z.shape) not in ((C,), (C, N)):
            raise ValueError(
                f"{type(self).__name__} expected gates of shape ({C},) or ({C}, {N}), got {tuple(z.shape)}"
            )
        return get_array_module(z).reshape(z, (C, *(1 for _ in positions), N if len(z.shape) == 2 else 1))

    def _noise(self, x: Array) -> Array:
        if self.noise is None and self.rng is None:
            raise ValueError(
                f"{type(self).__name__} has no rng to draw gates with (an outline, or loaded): set its rng"
            )
        return asarray(self.draw(x.shape[-1]) if self.noise is None else self.noise, like=x)


class Tap(Identity):
    """y = x, which is kept, and dE/dx = dE/dy + extra, of a loss that looks at a hidden layer.

    Attributes
    ----------
    y : the last output.
    extra : None, or what that loss adds to dE/dy, of the shape of y: set between forward and backward, None behind
        every forward pass.

    Notes
    -----
    Second derivatives are those of the loss behind the net: what ``extra`` would add to them is dropped.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> tap = nn.Tap()
    >>> y = tap.forward(np.array([[1.0, 2.0]]))
    >>> tap.extra = 2 * tap.y  # of the sum of y^2
    >>> tap.backward(np.ones((1, 2)))
    array([[3., 5.]])
    """

    extra: Array | None = None

    def forward(self, a: Array) -> Array:
        """Return y = x."""
        self.y, self.extra = super().forward(a), None
        return self.y

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx = dE/dy + extra."""
        check_signal(self, gy)
        if self.extra is None:
            return gy
        check_signal(self, self.extra)
        return gy + self.extra

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, as it is."""
        check_signal(self, hy)
        return self.backward(gy), hy

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 (D, D, N) -> d2E/dx2, as it is."""
        check_matrices(self, Hy)
        return self.backward(gy), Hy
