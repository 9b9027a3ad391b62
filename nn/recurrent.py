"""Sequences: symbols looked up in a table, a recurrence without matrix products in time, layers at every position.

A batch of N sequences of T positions is (D, T, N); of symbols, whole numbers, it is (T, N).  The weights see the
positions as T N patterns, all at once, and only products of single numbers run along time.  Every sequence begins with
the state 0: nothing is carried from one window of a text to the next.
"""

import math
from typing import Any

import numpy as np

from nn.activations import Sigmoid, Tanh
from nn.backend import Array, dtype_name, get_array_module, zeros
from nn.checks import check_floating, check_input, check_signal
from nn.initializers import Initializer, draw, standard_normal
from nn.losses import one_hot
from nn.module import Module, check_layers


class Embedding(Module):
    """y = W[x], the row of every symbol: y (D, T, N) of whole numbers x (T, N), and W (symbols, D).

    dE/dW[s] is the sum of dE/dy over the positions with x = s, a matrix product with their one-hot columns.

    Parameters
    ----------
    symbols : how many there are; x is in 0 .. symbols - 1.
    D : how many numbers stand for one.
    rng : draws W, or None for an outline.

    Raises
    ------
    ValueError
        In ``forward``, for a symbol outside the table, or numbers that are not whole.

    Notes
    -----
    A symbol has no derivative: ``backward`` returns zeros of the shape of x.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> layer = nn.Embedding(3, 2, np.random.default_rng(0))
    >>> layer.W.data = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> layer.forward(np.array([[2], [0]]))[:, :, 0]  # columns: the rows 2 and 0
    array([[4., 0.],
           [5., 1.]])
    """

    takes_integers = True

    def __init__(
        self,
        symbols: int,
        D: int,
        rng: np.random.Generator | None,
        init: Initializer = standard_normal,
        dtype: Any = np.float64,
    ):
        self.W = draw(init, (symbols, D), rng, dtype)
        self.symbols, self.D = int(symbols), int(D)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {"symbols": self.symbols, "D": self.D, "rng": None, "dtype": dtype_name(self.W.dtype)}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(T,) -> (D, T)."""
        return (self.D, *shape)

    def forward(self, x: Array) -> Array:
        """Return y = W[x]."""
        xp = get_array_module(x)
        check_input(self, x)
        if not xp.isdtype(x.dtype, "integral"):
            raise ValueError(f"Embedding expected the whole numbers of symbols, got {x.dtype}")
        if 0 not in x.shape and not 0 <= int(xp.min(x)) <= int(xp.max(x)) < self.symbols:
            least, most = int(xp.min(x)), int(xp.max(x))
            raise ValueError(f"Embedding expected symbols in 0 .. {self.symbols - 1}, got some from {least} to {most}")
        self.x = xp.astype(x, xp.int64)
        rows = xp.take(self.W.data, xp.reshape(self.x, (-1,)), axis=0)
        return xp.reshape(rows.T, self.y_shape)

    def backward_parameters(self, gy: Array) -> None:
        """dE/dy -> dE/dW."""
        check_signal(self, gy)
        xp = get_array_module(gy)
        where = one_hot(xp.reshape(self.x, (-1,)), self.symbols, like=gy)
        self.W.grad = where @ xp.reshape(gy, (self.D, -1)).T  # dE/dw_sd = sum of dE/dy_d over x = s

    def backward(self, gy: Array) -> Array:
        """dE/dy -> zeros, for a symbol has no derivative."""
        self.backward_parameters(gy)
        return zeros(self.x.shape, like=gy)


class Positionwise(Module):
    """The layer inside at every position of (D, T, N), as if these were T N patterns (D, T N).

    All derivatives are those of the layer.  Statistics of a batch, and noise of its own for each pattern, are over all
    positions.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> layer = nn.Positionwise(nn.Linear(4, 3, np.random.default_rng(0)))
    >>> layer.forward(np.ones((4, 7, 2))).shape
    (3, 7, 2)
    """

    exact_diagonal = False

    def __init__(self, layer: Module):
        check_layers(layer)
        self.layer = layer

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(D, T) -> (K, T)."""
        _check_sequence(self, shape)
        return (*self.layer.output_shape((shape[0],)), shape[1])

    def forward(self, x: Array) -> Array:
        """Return the outputs of the layer."""
        check_floating(self, x)
        check_input(self, x)
        self.x_shape = x.shape
        return get_array_module(x).reshape(self.layer.forward(_patterns(x)), self.y_shape)

    def backward_parameters(self, gy: Array) -> None:
        """Fill the gradients of the layer."""
        check_signal(self, gy)
        self.layer.backward_parameters(_patterns(gy))

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx."""
        check_signal(self, gy)
        return get_array_module(gy).reshape(self.layer.backward(_patterns(gy)), self.x_shape)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, by the rule of the layer."""
        check_signal(self, gy, hy)
        gx, hx = self.layer.backward_hessian(_patterns(gy), _patterns(hy))
        return get_array_module(gy).reshape(gx, self.x_shape), get_array_module(hy).reshape(hx, self.x_shape)


class SRU(Module):
    """The simple recurrent unit: h = r tanh(c) + (1 - r) x  with  c_t = f_t c_(t-1) + (1 - f_t) u_t,  on x (n, T, N).

    u, f and r come from x_t alone:  (u, a_f, a_r) = inner(x_t),  f = sigmoid(a_f),  r = sigmoid(a_r);  c_0 = 0.  Back
    in time goes  dE/dc_t = r_t (1 - tanh(c_t)^2) dE/dh_t + f_(t+1) dE/dc_(t+1).

    Parameters
    ----------
    inner : any net of features (n, N) -> (3 n, N), such as ``nn.Linear(n, 3 * n, rng)``; it sees T N patterns.
    n : number of inputs, and of outputs.

    Raises
    ------
    ValueError
        If inner does not make 3 n outputs of n inputs.

    Notes
    -----
    Lei, Zhang, Wang, Dai, Artzi 2018, Simple recurrent units for highly parallelizable recurrence, arXiv:1709.02755,
    without the vectors that multiply c_(t-1) inside the gates.  The diagonal of the second derivative has no exact
    rule, for steps in time mix: ``backward_hessian`` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> layer = nn.SRU(nn.Linear(4, 12, np.random.default_rng(0)), 4)
    >>> layer.forward(np.ones((4, 7, 2))).shape
    (4, 7, 2)
    """

    def __init__(self, inner: Module, n: int):
        check_layers(inner)
        self.inner, self.n = inner, int(n)
        made = inner.output_shape((self.n,))
        if tuple(made) != (3 * self.n,):
            raise ValueError(f"SRU({self.n}) expected an inner net with {3 * self.n} outputs, got shape {tuple(made)}")

    def config(self) -> dict[str, Any]:
        """Return the number of inputs; the net inside is a child."""
        return {"n": self.n}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(n, T), as it is."""
        _check_sequence(self, shape)
        if shape[0] != self.n:
            raise ValueError(f"SRU({self.n}) expected inputs ({self.n}, T, N), got ({shape[0]}, {shape[1]}, N)")
        return shape

    def forward(self, x: Array) -> Array:
        """Return h."""
        check_floating(self, x)
        check_input(self, x)
        xp, (n, T, N) = get_array_module(x), x.shape
        a = xp.reshape(self.inner.forward(_patterns(x)), (3 * n, T, N))
        self.x, self.u = x, a[:n, :, :]
        self.f, self.r = Sigmoid().f(a[n : 2 * n, :, :]), Sigmoid().f(a[2 * n :, :, :])
        c = [zeros((n, N), like=a)]
        for t in range(T):
            f = self.f[:, t, :]
            c.append(f * c[t] + (1 - f) * self.u[:, t, :])
        self.c_before, self.c = xp.stack(c[:-1], axis=1), xp.stack(c[1:], axis=1)
        return self.r * xp.tanh(self.c) + (1 - self.r) * x

    def backward_parameters(self, gh: Array) -> None:
        """Fill the gradients of the net inside."""
        self.inner.backward_parameters(self._signal_inside(gh))

    def backward(self, gh: Array) -> Array:
        """dE/dh -> dE/dx, past the recurrence and through it."""
        inside = self.inner.backward(self._signal_inside(gh))
        return (1 - self.r) * gh + get_array_module(gh).reshape(inside, gh.shape)

    def _signal_inside(self, gh: Array) -> Array:
        # dE/dh -> dE/d(u, a_f, a_r), (3 n, T N).
        check_signal(self, gh)
        xp, f, r, T = get_array_module(gh), self.f, self.r, gh.shape[1]
        from_h, carry, gc = gh * r * Tanh().df(self.c), zeros(gh[:, 0, :].shape, like=gh), []
        for t in reversed(range(T)):
            gc.append(from_h[:, t, :] + carry)
            carry = gc[-1] * f[:, t, :]  # dE/dc_t = ... + dE/dc_(t+1) f_(t+1)
        gC = xp.stack(gc[::-1], axis=1)
        gu = gC * (1 - f)
        ga_f = gC * (self.c_before - self.u) * f * (1 - f)
        ga_r = gh * (xp.tanh(self.c) - self.x) * r * (1 - r)
        return _patterns(xp.concat([gu, ga_f, ga_r], axis=0))


def _patterns(x: Array) -> Array:
    # (D, T, N) -> (D, T N).
    return get_array_module(x).reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def _check_sequence(layer: Module, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] < 1:
        given = "".join(f"{size}, " for size in shape) + "N"
        raise ValueError(f"{type(layer).__name__} expected sequences (D, T, N), got ({given})")
