"""Losses E(y, t), means over the N patterns (and their T positions), with their first and second derivatives.

``hessian`` is the full d2E/dy2 of each pattern; ``backward_hessian`` is its diagonal, where LeCun's recursion starts;
``hessian_root`` is a square root of it, where the Gauss-Newton diagonal starts; ``backward_tangent`` multiplies it with
R{y}, where Hessian-vector products turn back.
"""

import math

from nn.arguments import number
from nn.backend import Array, ArrayModule, asarray, diagonal_matrices, get_array_module


def one_hot(labels: Array, classes: int, like: Array, off: float = 0.0, on: float = 1.0) -> Array:
    """Return the targets (K, N) of integer `labels` (N,), or (K, T, N) of (T, N): `on` in the label's row, else `off`.

    LeCun's networks of 1989 and 1990 use ``off=-1, on=1`` with `SquaredError`.

    Parameters
    ----------
    like : an array of the library, dtype and device that the targets shall have.

    Raises
    ------
    ValueError
        If the labels are not integers of shape (N,) or (T, N) in 0 .. classes - 1.
    """
    xp = get_array_module(labels)
    if len(labels.shape) not in (1, 2) or not xp.isdtype(labels.dtype, "integral"):
        given = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"expected integer labels of shape (N,) or (T, N), got {given}")
    if 0 not in labels.shape and not 0 <= int(xp.min(labels)) <= int(xp.max(labels)) < classes:
        raise ValueError(
            f"expected labels in 0 .. {classes - 1}, got labels from {int(xp.min(labels))} to {int(xp.max(labels))}"
        )
    rows = asarray(list(range(classes)), like=labels, dtype=xp.int64)
    rows = xp.reshape(rows, (classes, *(1 for _ in labels.shape)))
    hits = xp.astype(rows == xp.astype(labels, xp.int64)[None, ...], like.dtype)
    low, high = number(off, "off"), number(on, "on")
    return low + (high - low) * hits


def _library(y: Array, t: Array) -> ArrayModule:
    """Return the library of outputs and targets.

    Raises
    ------
    TypeError
        If one of the two is no array, or they are of two libraries.
    ValueError
        If the outputs are integers, whose differences wrap around without a word, or there is no output.
    """
    xp = get_array_module(y, t)
    if not y.shape or 0 in y.shape:
        raise ValueError(f"expected the outputs of at least one pattern, got shape {tuple(y.shape)}")
    if xp.isdtype(y.dtype, ("integral", "bool")):
        raise ValueError(f"expected floating-point outputs, got {y.dtype}")
    return xp


def _targets(t: Array, y: Array, name: str = "targets") -> Array:
    """Return targets in the dtype of the outputs: whole numbers converted, and those of another real dtype refused."""
    xp = get_array_module(t)
    if xp.isdtype(t.dtype, ("integral", "bool")):
        return xp.astype(t, y.dtype)
    if xp.isdtype(y.dtype, "real floating") and t.dtype != y.dtype:
        raise ValueError(f"expected {name} in the dtype of the outputs, {y.dtype}, got {t.dtype}")
    return t


class SquaredError:
    """E = 1/N sum_n sum_i (t_i - y_i)^2 of outputs y (K, N) and targets t (K, N).

    The slide's form, without a half: its boundary condition is 2 f'^2 - 2 (d - x) f''.  With E/2 (the other common
    form) gradient, curvature, saliency and predicted change are half as large and every ranking is the same.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> loss = nn.SquaredError()
    >>> y, t = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> float(loss.forward(y, t))  # (1 + 4) / 2
    2.5
    >>> loss.backward()  # 2 (y - t) / N
    array([[1., 2.]])
    >>> loss.backward_hessian()
    array([[1., 1.]])
    """

    def forward(self, y: Array, t: Array) -> Array:
        """Return E, a 0-d array."""
        xp = _library(y, t)
        if tuple(y.shape) != tuple(t.shape):
            raise ValueError(
                f"expected targets of the shape of the outputs {tuple(y.shape)}, got {tuple(t.shape)}"
                " (labels become targets with nn.one_hot)"
            )
        t = _targets(t, y)
        self.y, self.t = y, t
        return xp.sum((t - y) * (t - y)) / y.shape[-1]

    def backward(self) -> Array:
        """dE/dy = 2 (y - t) / N."""
        return 2 * (self.y - self.t) / self.y.shape[-1]

    def backward_hessian(self) -> Array:
        """Diagonal of d2E/dy2 = 2/N, exact: the matrix has nothing else."""
        return get_array_module(self.y).ones_like(self.y) * (2 / self.y.shape[-1])

    def hessian(self) -> Array:
        """d2E/dy2 = 2/N times the identity, (K, K, N)."""
        return diagonal_matrices(self.backward_hessian())

    def hessian_root(self) -> Array:
        """S (K, K, N) with S S^T = d2E/dy2 for each pattern: sqrt(2/N) times the identity."""
        return diagonal_matrices(get_array_module(self.y).sqrt(self.backward_hessian()))

    def backward_tangent(self, ry: Array) -> Array:
        """R{y} -> R{dE/dy} = 2/N R{y}."""
        return 2 * ry / self.y.shape[-1]


class SoftmaxCrossEntropy:
    """E = -1/N sum_n sum_k t_k log p_k,  p = softmax(y), of logits y (K, N).

    Targets are integer labels (N,) or soft labels (K, N), which need not sum to one.  Stable at any finite logits.
    Of sequences, logits (K, T, N) with labels (T, N) or (K, T, N), E is the mean over the T N positions.

    Examples
    --------
    Who does not know pays log K:

    >>> import numpy as np
    >>> import nn
    >>> loss = nn.SoftmaxCrossEntropy()
    >>> E = loss.forward(np.zeros((4, 1)), np.array([2]))
    >>> bool(np.isclose(E, np.log(4)))
    True
    >>> loss.backward()[:, 0]  # p - one_hot(t)
    array([ 0.25,  0.25, -0.75,  0.25])
    """

    def forward(self, y: Array, t: Array) -> Array:
        """Return E, a 0-d array."""
        xp = _library(y, t)
        if y.ndim not in (2, 3):
            raise ValueError(f"expected logits of shape (K, N) or (K, T, N), got {tuple(y.shape)}")
        K, *positions = y.shape
        if tuple(t.shape) not in (tuple(positions), tuple(y.shape)):
            raise ValueError(
                f"expected labels of shape {tuple(positions)} or soft labels of shape {tuple(y.shape)} for logits of"
                f" shape {tuple(y.shape)}, got {tuple(t.shape)}"
            )
        self.t = one_hot(t, K, like=y) if len(t.shape) < len(y.shape) else _targets(t, y)
        shifted = y - xp.max(y, axis=0, keepdims=True)  # exp never overflows, and its sum is at least 1
        exp = xp.exp(shifted)
        total = xp.sum(exp, axis=0, keepdims=True)
        self.p = exp / total
        return xp.sum(self.t * (xp.log(total) - shifted)) / _positions(y)

    def backward(self) -> Array:
        """dE/dy = (sum(t) p - t) / N."""
        return (self._target_sums() * self.p - self.t) / _positions(self.p)

    def backward_hessian(self) -> Array:
        """Diagonal of d2E/dy2 = sum(t) p (1 - p) / N; it drops the terms -p_k p_l, k != l."""
        return self._target_sums() * self.p * (1 - self.p) / _positions(self.p)

    def hessian(self) -> Array:
        """d2E/dy2 = sum(t) (diag(p) - p p^T) / N, (K, K, N); of logits (K, N) only."""
        p = self._probabilities()
        return self._target_sums() * (diagonal_matrices(p) - p[:, None, :] * p[None, :, :]) / p.shape[-1]

    def hessian_root(self) -> Array:
        """S (K, K, N) with S S^T = d2E/dy2 for each pattern: its column k is sqrt(sum(t) p_k / N) (e_k - p).

        Raises
        ------
        ValueError
            If the labels of a pattern have a negative sum: the matrix then has no real square root; for sequences.
        """
        xp, p, sums = get_array_module(self.p), self._probabilities(), self._target_sums()
        if bool(xp.min(sums) < 0):
            raise ValueError(f"expected labels with sums of 0 or more, got a sum of {float(xp.min(sums))}")
        root = xp.sqrt(sums * p / p.shape[-1])
        return diagonal_matrices(root) - p[:, None, :] * root[None, :, :]

    def backward_tangent(self, ry: Array) -> Array:
        """R{y} -> R{dE/dy} = sum(t) (p * R{y} - p (p^T R{y})) / N."""
        xp, p = get_array_module(self.p), self.p
        return self._target_sums() * p * (ry - xp.sum(p * ry, axis=0, keepdims=True)) / _positions(p)

    def _target_sums(self) -> Array:
        return get_array_module(self.t).sum(self.t, axis=0, keepdims=True)

    def _probabilities(self) -> Array:
        if self.p.ndim != 2:
            raise ValueError(f"expected logits (K, N) for matrices of second derivatives, got {tuple(self.p.shape)}")
        return self.p


def _positions(y: Array) -> int:
    # N of outputs (K, N), and T N of (K, T, N).
    return math.prod(y.shape[1:])


class Distillation:
    """E = (1 - alpha) CE(y, t) + alpha T^2 KL(teacher || student), means over the N patterns.

    CE is `SoftmaxCrossEntropy`; the divergence is between the softmax of the teacher's logits over T and that of
    y over T.  T^2 makes up for the gradient, which falls like 1/T^2 when T is large.

    Parameters
    ----------
    temperature : T > 0.
    alpha : the teacher's share, 0 to 1.

    Raises
    ------
    ValueError
        If a number is outside its range; in ``forward``, if t is no such pair, or the teacher's logits are not finite
        or have another shape than y, as those of a teacher of other classes.

    Notes
    -----
    Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network.
    """

    def __init__(self, temperature: float, alpha: float):
        self.temperature, self.alpha = number(temperature, "the temperature"), number(alpha, "alpha")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"expected a positive temperature, got {temperature}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"expected an alpha in [0, 1], got {alpha}")
        self.hard, self.soft = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()

    def forward(self, y: Array, t: tuple[Array, Array]) -> Array:
        """Return E, a 0-d array; t holds the labels (N,) or soft labels (K, N), and the teacher's logits (K, N)."""
        if not isinstance(t, tuple) or len(t) != 2:
            raise ValueError(f"expected the pair (labels, the teacher's logits) for targets, got {type(t).__name__}")
        labels, teacher = t
        xp = _library(y, teacher)
        teacher = _targets(teacher, y, "a teacher's logits")
        if tuple(teacher.shape) != tuple(y.shape):
            raise ValueError(f"expected a teacher's logits of shape {tuple(y.shape)}, got {tuple(teacher.shape)}")
        if not bool(xp.all(xp.isfinite(teacher))):
            raise ValueError("expected finite logits of the teacher, got NaN or infinity")
        T = self.temperature
        entropy, q = _entropy_of_softmax(teacher / T)  # KL(q || p) = CE(p, q) - H(q)
        divergence = self.soft.forward(y / T, q) - entropy
        return (1 - self.alpha) * self.hard.forward(y, labels) + self.alpha * T * T * divergence

    def backward(self) -> Array:
        """dE/dy = (1 - alpha) dCE/dy + alpha T^2 (1/T) dCE(y/T, q)/d(y/T)."""
        return (1 - self.alpha) * self.hard.backward() + self.alpha * self.temperature * self.soft.backward()

    def backward_hessian(self) -> Array:
        """Diagonal of d2E/dy2: (1 - alpha) and alpha times those of the two cross-entropies, T^2 / T^2 = 1."""
        return (1 - self.alpha) * self.hard.backward_hessian() + self.alpha * self.soft.backward_hessian()

    def hessian(self) -> Array:
        """d2E/dy2, (K, K, N)."""
        return (1 - self.alpha) * self.hard.hessian() + self.alpha * self.soft.hessian()

    def hessian_root(self) -> Array:
        """S (K, 2K, N) with S S^T = d2E/dy2: the weighted roots of the two cross-entropies side by side."""
        hard, soft = self.hard.hessian_root(), self.soft.hessian_root()
        return get_array_module(hard).concat([math.sqrt(1 - self.alpha) * hard, math.sqrt(self.alpha) * soft], axis=1)

    def backward_tangent(self, ry: Array) -> Array:
        """R{y} -> R{dE/dy} = (1 - alpha) R{dCE/dy} + alpha T R{dCE(y/T, q)/d(y/T)}; R{y/T} = R{y}/T cancels the T."""
        return (1 - self.alpha) * self.hard.backward_tangent(ry) + self.alpha * self.soft.backward_tangent(ry)


def _entropy_of_softmax(z: Array) -> tuple[Array, Array]:
    """Return -1/N sum_n sum_k q_k log q_k and q = softmax(z)."""
    xp = get_array_module(z)
    shifted = z - xp.max(z, axis=0, keepdims=True)
    exp = xp.exp(shifted)
    total = xp.sum(exp, axis=0, keepdims=True)
    q = exp / total
    return xp.sum(q * (xp.log(total) - shifted)) / _positions(z), q
