"""The affine layer and the reshape in front of it."""

import math
from typing import Any

import numpy as np

from nn.backend import Array, diagonal, dtype_name, get_array_module
from nn.checks import check_floating, check_input, check_matrices, check_signal
from nn.initializers import Initializer, draw, he_normal, zeros
from nn.module import Module, Parameter


class Linear(Module):
    """Affine map a = W x + b of a column-stacked batch.

    Parameters
    ----------
    n_in, n_out : numbers I and O of inputs and outputs.  Shapes: x (I, N), W (O, I), b (O,), a (O, N).
    rng : np.random.Generator that draws W, or None for an outline without data.
    bias : whether there is a b; it starts at 0.
    init : function (shape, rng) -> array; see `nn.initializers`.
    dtype : float64 or float32.

    Notes
    -----
    ``backward_hessian`` is exact for W, b given the diagonal of d2E/da2; towards x it drops the terms
    w_li w_mi d2E/da_l da_m with l != m  (LeCun, Denker, Solla 1990; slide "Computing the second derivative").

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> layer = nn.Linear(3, 2, np.random.default_rng(0))
    >>> layer.W.data = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    >>> layer.forward(np.array([[1.0], [1.0], [1.0]]))
    array([[6.],
           [1.]])
    >>> layer.backward(np.array([[1.0], [0.0]]))
    array([[1.],
           [2.],
           [3.]])
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator | None,
        bias: bool = True,
        init: Initializer = he_normal,
        dtype: Any = np.float64,
    ):
        self.W = draw(init, (n_out, n_in), rng, dtype)
        self.n_in, self.n_out = int(n_in), int(n_out)
        self.b: Parameter | None = draw(zeros, (n_out,), rng, dtype) if bias else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None, so that they build an outline."""
        return {
            "n_in": self.n_in,
            "n_out": self.n_out,
            "rng": None,
            "bias": self.b is not None,
            "dtype": dtype_name(self.W.dtype),
        }

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(I,) -> (O,)."""
        if tuple(shape) != (self.n_in,):
            given = "".join(f"{n}, " for n in shape) + "N"
            raise ValueError(f"Linear({self.n_in}, {self.n_out}) expected inputs ({self.n_in}, N), got ({given})")
        return (self.n_out,)

    def forward(self, x: Array) -> Array:
        """Return a = W x + b."""
        check_floating(self, x)
        check_input(self, x)
        self.x = x
        a = self.W.data @ x
        return a if self.b is None else a + self.b.data[:, None]

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW, dE/db."""
        check_signal(self, ga)
        xp = get_array_module(ga)
        self.W.grad = ga @ self.x.T  # dE/dw_ij = dE/da_i x_j
        if self.b is not None:
            self.b.grad = xp.sum(ga, axis=1)

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx."""
        self.backward_parameters(ga)
        return self.W.data.T @ ga

    def backward_hessian_parameters(self, ga: Array, ha: Array) -> None:
        """d2E/da2 -> d2E/dW2, d2E/db2; exact, given an exact diagonal."""
        check_signal(self, ha)
        self.backward_parameters(ga)
        xp = get_array_module(ha)
        self.W.hess_diag = ha @ (self.x * self.x).T  # d2E/dw_ij2 = d2E/da_i2 x_j^2
        if self.b is not None:
            self.b.hess_diag = xp.sum(ha, axis=1)

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2, off-diagonal terms dropped."""
        self.backward_hessian_parameters(ga, ha)
        return self.W.data.T @ ga, (self.W.data * self.W.data).T @ ha

    def backward_hessian_full(self, ga: Array, Ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = W^T d2E/da2 W, one matrix per pattern, nothing dropped."""
        check_matrices(self, Ha)
        self.backward_hessian_parameters(ga, diagonal(Ha))
        W = self.W.data
        HaW = get_array_module(Ha).tensordot(W, Ha, axes=((0,), (0,)))  # (I, O, N): sum over l of w_li H_lm
        return W.T @ ga, W.T @ HaW


class Flatten(Module):
    """(C, H, W, N) -> (C*H*W, N), row (c, h, w) with w fastest; a (D, N) batch passes unchanged."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C*H*W,)."""
        return (math.prod(shape),)

    def forward(self, x: Array) -> Array:
        """Return x with one row per input."""
        shape = check_input(self, x)
        self.shape = x.shape
        return get_array_module(x).reshape(x, shape)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, the same numbers in the old shape."""
        check_signal(self, gy)
        return get_array_module(gy).reshape(gy, self.shape)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the same numbers in the old shape."""
        return self.backward(gy), self.backward(hy)

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 (D, D, N) stays as it is: rows and columns are numbered (c, h, w)."""
        check_matrices(self, Hy)
        return self.backward(gy), Hy
