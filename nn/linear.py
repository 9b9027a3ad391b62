"""The affine layer and the reshape in front of it."""

import math
from typing import Any

import numpy as np

from nn.backend import Array, diagonal, get_array_module
from nn.initializers import Initializer, draw, he_normal, zeros
from nn.module import Module, Parameter, check_floating


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
    """

    exact_diagonal = True

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator | None,
        bias: bool = True,
        init: Initializer = he_normal,
        dtype: Any = np.float64,
    ):
        self.n_in, self.n_out = n_in, n_out
        self.W = draw(init, (n_out, n_in), rng, dtype)
        self.b: Parameter | None = draw(zeros, (n_out,), rng, dtype) if bias else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None, so that they build an outline."""
        return {
            "n_in": self.n_in,
            "n_out": self.n_out,
            "rng": None,
            "bias": self.b is not None,
            "dtype": str(self.W.dtype).rpartition(".")[2],  # "torch.float64" has a prefix, NumPy's has none
        }

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(I,) -> (O,)."""
        if tuple(shape) != (self.n_in,):
            given = "".join(f"{n}, " for n in shape) + "N"
            raise ValueError(f"Linear({self.n_in}, {self.n_out}) expected inputs ({self.n_in}, N), got ({given})")
        return (self.n_out,)

    def forward(self, x: Array) -> Array:
        """Return a = W x + b."""
        self.output_shape(x.shape[:-1])
        check_floating(self, x)
        self.x = x
        a = self.W.data @ x
        return a if self.b is None else a + self.b.data[:, None]

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW, dE/db."""
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
        self.backward_hessian_parameters(ga, diagonal(Ha))
        W = self.W.data
        HaW = get_array_module(Ha).tensordot(W, Ha, axes=((0,), (0,)))  # (I, O, N): sum over l of w_li H_lm
        return W.T @ ga, W.T @ HaW

    def backward_hessian_full_diagonal(self, ga: Array, Ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx_i2 = sum over l and m of w_li w_mi d2E/da_l da_m."""
        self.backward_hessian_parameters(ga, diagonal(Ha))
        W = self.W.data
        HaW = get_array_module(Ha).tensordot(W, Ha, axes=((0,), (0,)))  # (I, O, N)
        return W.T @ ga, (W.T[:, None, :] @ HaW)[:, 0, :]

    def backward_squares_parameters(self, ga: Array) -> None:
        """Pattern n has the gradient ga_n x_n^T, whose square is (ga_n * ga_n) (x_n * x_n)^T."""
        xp = get_array_module(ga)
        self.W.hess_diag = (ga * ga) @ (self.x * self.x).T  # sum_n (dE_n/da_i x_jn)^2
        if self.b is not None:
            self.b.hess_diag = xp.sum(ga * ga, axis=1)

    def backward_squares(self, ga: Array) -> Array:
        """dE/da -> dE/dx."""
        self.backward_squares_parameters(ga)
        return self.W.data.T @ ga

    def forward_tangent(self, rx: Array) -> Array:
        """R{x} -> R{a} = W R{x} + V x + v_b, with the directions V and v_b of W and b."""
        self.rx = rx
        ra = self.W.data @ rx + self.W.direction @ self.x
        return ra if self.b is None else ra + self.b.direction[:, None]

    def backward_tangent_parameters(self, ga: Array, rga: Array) -> None:
        """R{dE/da} -> R{dE/dW}, R{dE/db}."""
        self.backward_parameters(ga)
        xp = get_array_module(ga)
        self.W.hess_vector = rga @ self.x.T + ga @ self.rx.T  # the product rule on ga x^T
        if self.b is not None:
            self.b.hess_vector = xp.sum(rga, axis=1)

    def backward_tangent(self, ga: Array, rga: Array) -> tuple[Array, Array]:
        """R{dE/da} -> R{dE/dx} = W^T R{dE/da} + V^T dE/da."""
        self.backward_tangent_parameters(ga, rga)
        return self.W.data.T @ ga, self.W.data.T @ rga + self.W.direction.T @ ga


class Flatten(Module):
    """(C, H, W, N) -> (C*H*W, N), row (c, h, w) with w fastest; a (D, N) batch passes unchanged."""

    exact_diagonal = True

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C*H*W,)."""
        return (math.prod(shape),)

    def forward(self, x: Array) -> Array:
        """Return x with one row per input."""
        self.shape = x.shape
        return self._reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx, the same numbers in the old shape."""
        return self._reshape(gy, self.shape)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2, the same numbers in the old shape."""
        return self.backward(gy), self._reshape(hy, self.shape)

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 (D, D, N) stays as it is: rows and columns are numbered (c, h, w)."""
        return self.backward(gy), Hy

    def forward_tangent(self, rx: Array) -> Array:
        """R{x} -> R{y}, with one row per input."""
        return self.forward(rx)

    def backward_tangent(self, gy: Array, rgy: Array) -> tuple[Array, Array]:
        """R{dE/dy} -> R{dE/dx}, the same numbers in the old shape."""
        return self.backward(gy), self.backward(rgy)

    @staticmethod
    def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
        return get_array_module(x).reshape(x, shape)
