"""Activations y = f(a).  Each writes f, f' and f''; the chain rule is written once, in the base class.

Everything here is complex-safe: no abs, no sign, comparisons by the real part.  That is what lets the complex step
check our own backprop to the last digit.
"""

from nn.backend import Array, diagonal_matrices, get_array_module
from nn.checks import check_floating, check_input, check_matrices, check_signal
from nn.module import Module


class Activation(Module):
    """y = f(a) elementwise; subclasses write ``f``, ``df`` and ``d2f``.  Exact in both derivatives.

    ``backward_hessian`` is  d2E/da2 = f'(a)^2 d2E/dy2 + f''(a) dE/dy  (slide "Computing the second derivative";
    dE/dy is the signal that arrives, before it is multiplied by f').
    """

    def f(self, a: Array) -> Array:
        """f(a)."""
        raise ValueError(f"{type(self).__name__} has no f")

    def df(self, a: Array) -> Array:
        """f'(a)."""
        raise ValueError(f"{type(self).__name__} has no df")

    def d2f(self, a: Array) -> Array:
        """f''(a)."""
        raise ValueError(f"{type(self).__name__} has no d2f")

    def forward(self, a: Array) -> Array:
        """Return y = f(a)."""
        check_floating(self, a)
        check_input(self, a)
        self.a = a
        return self.f(a)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/da = f'(a) dE/dy."""
        check_signal(self, gy)
        return self.df(self.a) * gy

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/da2 = f'(a)^2 d2E/dy2 + f''(a) dE/dy."""
        check_signal(self, gy, hy)
        df = self.df(self.a)
        return df * gy, df * df * hy + self.d2f(self.a) * gy

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/da2 = D d2E/dy2 D + diag(f''(a) dE/dy),  D = diag(f'(a)), one matrix per pattern."""
        if len(self.a.shape) != 2:
            raise ValueError(
                f"{type(self).__name__} has the full second-derivative rule for features (D, N) only, got shape"
                f" {tuple(self.a.shape)} (rule='exact' is for fully connected nets)"
            )
        check_signal(self, gy)
        check_matrices(self, Hy)
        df = self.df(self.a)
        return df * gy, df[:, None, :] * Hy * df[None, :, :] + diagonal_matrices(self.d2f(self.a) * gy)


class Identity(Activation):
    """f(a) = a."""

    def f(self, a: Array) -> Array:
        """The identity."""
        return a

    def df(self, a: Array) -> Array:
        """1."""
        return get_array_module(a).ones_like(a)

    def d2f(self, a: Array) -> Array:
        """0."""
        return get_array_module(a).zeros_like(a)


class ReLU(Activation):
    """f(a) = max(a, 0), with f'(0) = 0 and f'' = 0 everywhere (at the kink there is no second derivative)."""

    def f(self, a: Array) -> Array:
        """max(a, 0), written as a f'(a): ten times faster than a where, and autograd finds 0 at a = 0 too."""
        return a * self.df(a)

    def df(self, a: Array) -> Array:
        """1 where a > 0, else 0."""
        return get_array_module(a).astype(a > 0, a.dtype)

    def d2f(self, a: Array) -> Array:
        """0."""
        return get_array_module(a).zeros_like(a)


class Tanh(Activation):
    """f(a) = tanh(a)."""

    def f(self, a: Array) -> Array:
        """tanh(a)."""
        return get_array_module(a).tanh(a)

    def df(self, a: Array) -> Array:
        """1 - tanh(a)^2 = 4 e / (1 + e)^2, e = exp(-2|a|): this form keeps its digits where 1 - tanh(a)^2 has none."""
        xp = get_array_module(a)
        e = xp.exp(xp.minimum(2 * a, -2 * a))
        s = 1 + e
        return 4 * e / (s * s)

    def d2f(self, a: Array) -> Array:
        """-2 tanh(a) (1 - tanh(a)^2)."""
        return -2 * self.f(a) * self.df(a)


class ScaledTanh(Activation):
    """f(a) = A tanh(S a), A = 1.7159, S = 2/3: LeCun's choice, which has f(1) = 1 and f(-1) = -1 nearly."""

    A = 1.7159
    S = 2 / 3

    def f(self, a: Array) -> Array:
        """A tanh(S a)."""
        return self.A * Tanh().f(self.S * a)

    def df(self, a: Array) -> Array:
        """A S tanh'(S a)."""
        return self.A * self.S * Tanh().df(self.S * a)

    def d2f(self, a: Array) -> Array:
        """A S^2 tanh''(S a)."""
        return self.A * self.S * self.S * Tanh().d2f(self.S * a)


class Sigmoid(Activation):
    """f(a) = 1 / (1 + exp(-a)), written so that exp never overflows."""

    def f(self, a: Array) -> Array:
        """1 / (1 + exp(-a))."""
        xp = get_array_module(a)
        e = xp.exp(xp.where(a > 0, -a, a))  # exp(-|a|) <= 1
        return xp.where(a > 0, 1 / (1 + e), e / (1 + e))

    def df(self, a: Array) -> Array:
        """f(a) f(-a), which keeps its digits where 1 - f(a) loses them."""
        return self.f(a) * self.f(-a)

    def d2f(self, a: Array) -> Array:
        """f(a) f(-a) (f(-a) - f(a)), whose last factor is -tanh(a/2), without the cancellation near 0."""
        return -self.df(a) * get_array_module(a).tanh(a / 2)


class Softplus(Activation):
    """f(a) = log(1 + exp(a)), a smooth ReLU; its derivative is the sigmoid."""

    def f(self, a: Array) -> Array:
        """log(1 + exp(a)) = max(a, 0) + log(1 + exp(-|a|))."""
        xp = get_array_module(a)
        return ReLU().f(a) + xp.log1p(xp.exp(xp.where(a > 0, -a, a)))

    def df(self, a: Array) -> Array:
        """Sigmoid."""
        return Sigmoid().f(a)

    def d2f(self, a: Array) -> Array:
        """Derivative of the sigmoid."""
        return Sigmoid().df(a)
