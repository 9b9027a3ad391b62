"""What grows with what: the curves that `growth.py` measures, and what their code counts up to.

Operations are multiply-accumulates of matrix products, or numbers copied where there are none; numbers are those that
are held at the peak beside the input.  Both are read off the code, line by line, and are exact for the products of the
nets (`tests/test_growth.py` counts them while they run); of iterations they take the number that a run has needed.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from regression_problems import autoregressive, noisy

import nn
import textbook
from nn.curvature import exact, hess_diag, hessian_vector_product, matrix
from pruning import surgery
from pruning.reconstruction import lasso_channels, moments, thinet
from pruning.scores import obs

OUTPUTS = 10


@dataclass(frozen=True)
class Case:
    """One size: what is run, and of its answer the operations it took and the numbers it held at its peak."""

    run: Callable[[], Any]
    operations: Callable[[Any], float]
    numbers: Callable[[Any], float]


@dataclass(frozen=True)
class Curve:
    """A method and what is varied, its sizes, and the exponents of the leading terms of time and memory."""

    method: str
    axis: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Case]
    time: float
    memory: float


# ---- nets ------------------------------------------------------------------------------------------------------------
def mlp(rule: str, patterns: int = 256, width: int = 192, depth: int = 4, outputs: int = OUTPUTS) -> Case:
    """A sweep through `depth` tanh layers of `width` x `width`, two or more, and one of `outputs`."""
    rng = np.random.default_rng(0)
    N, D, L, O = patterns, width, depth, outputs
    net = nn.models.mlp((D,) * (L + 1) + (O,), rng, activation=nn.Tanh, init=nn.initializers.lecun_normal)
    loss, x, t = nn.SoftmaxCrossEntropy(), rng.standard_normal((D, N)), rng.integers(0, O, N)
    v = {name: rng.standard_normal(parameter.shape) for name, parameter in net.named_parameters()}
    P, behind = L * D * D + O * D, (L - 1) * D * D + O * D  # all weights; those through which a signal goes back
    # W^T H W in all layers but the first two; of the second one half of it, and the diagonal of the rest.
    square = ((2 * (L - 2) + 1) * D + O) * D * D + O * O * D + D * D
    operations = {
        "gradient": 2 * P + behind,
        "OBD pass": 3 * P + 2 * behind,
        "exact diagonal": 3 * P + behind + square,
        "ggn": P + O * (P + behind),
        "Hessian-vector product": 5 * P + 3 * behind,
    }[rule]
    numbers = {  # pre-activations and outputs of all layers, a few signals, and what is returned
        "gradient": (2 * L + 4) * D * N + P,
        "OBD pass": (2 * L + 6) * D * N + 2 * P,
        "exact diagonal": 3 * D * D * N + (2 * L + 4) * D * N + 2 * P,
        "ggn": (2 * L + 4) * D * N + 2 * P + O * O * N,
        "Hessian-vector product": (4 * L + 6) * D * N + 2 * P,
    }[rule]
    net.eval()

    def run() -> None:
        if rule == "ggn":
            hess_diag(net, loss, x, t, "ggn")
        elif rule == "Hessian-vector product":
            hessian_vector_product(net, loss, x, t, v)
        else:
            loss.forward(net.forward(x), t)
            if rule == "gradient":
                net.backward_parameters(loss.backward())
            elif rule == "OBD pass":
                net.backward_hessian_parameters(loss.backward(), loss.backward_hessian())
            else:
                exact.to_parameters(net, loss.backward(), loss.hessian())

    run.arrays = net, v
    return Case(run, lambda _: N * operations, lambda _: numbers)


def surgeon(weights_of: int) -> Case:
    """Optimal Brain Surgeon on a perceptron 8-H-2: the inverse Hessian, and half of the weights one by one."""
    rng, N = np.random.default_rng(0), 64
    net = nn.models.mlp((8, weights_of, 2), rng, activation=nn.Tanh)
    loss, x, t = nn.SquaredError(), rng.standard_normal((8, N)), rng.standard_normal((2, N))
    K = len(matrix.vector(net))
    deleted = round(0.5 * 10 * weights_of)

    def run() -> None:
        small = copy.deepcopy(net)
        obs.prune(small, matrix.inverse(small, loss, x, t, damping=0.01), 0.5)

    # Eigenvectors by LAPACK's dsyevd, about 4 K^3; V diag V^T; the Gauss-Newton matrix; an outer product a deletion.
    return Case(run, lambda _: 5 * K**3 + 2 * N * K**2 + deleted * K**2, lambda _: 4 * K**2)


def convolution(patterns: int = 16, filters: int = 16, side: int = 16, kernel: int = 3) -> Case:
    """A convolution of F to F channels that keeps the size, forward and backward."""
    rng = np.random.default_rng(0)
    N, F, H, k = patterns, filters, side, kernel
    layer = nn.Conv2d(F, F, k, rng, padding=k // 2)
    x, ga = rng.standard_normal((F, H, H, N)), rng.standard_normal((F, H, H, N))

    def run() -> None:
        layer.forward(x)
        layer.backward(ga)

    run.arrays = layer
    rows = max(1, min(H, nn.conv.BLOCK // (F * k * k * H * N)))  # of the output, in one block of columns
    padded, columns = F * (H + k - 1) ** 2 * N, F * k * k * rows * H * N
    held = 2 * padded + F * H * H * N + columns + F * F * k * k
    return Case(run, lambda _: 3 * F * F * k * k * H * H * N, lambda _: held)


def whole_im2col(kernel: int) -> Case:
    """The matrix of all windows at once, which the layer never makes."""
    x = np.random.default_rng(0).standard_normal((8, 24, 24, 16))
    numbers = 8 * kernel**2 * 24 * 24 * 16
    run = lambda: nn.im2col(x, kernel, padding=kernel // 2)  # noqa: E731
    return Case(run, lambda _: numbers, lambda _: numbers)


def removal(filters: int = 16, depth: int = 3) -> Case:
    """Half of the filters of every convolution but the last, removed."""
    rng, F = np.random.default_rng(0), filters
    layers = [nn.Conv2d(3, F, 3, rng)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Conv2d(F, F, 3, rng)]
    net = nn.Sequential(*layers)
    keep = {f"{2 * i}.W": range(F // 2) for i in range(depth - 1)}
    left = 9 * (3 * F // 2 + (depth - 2) * F * F // 4 + F * F // 2)
    # A new layer draws its weights before it is filled, whatever was taken from the old one.
    return Case(lambda: surgery.remove(net, keep), lambda _: left, lambda _: left)


def collected(patterns: int = 32, channels: int = 16) -> Case:
    """The moments in front of a convolution of c channels that reads c channels."""
    rng, c, N, H = np.random.default_rng(0), channels, patterns, 8
    net = nn.Sequential(nn.Conv2d(3, c, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, rng, padding=1))
    x, K, M = rng.standard_normal((3, H, H, N)), 9 * c, H * H * min(N, 100)
    operations = N * H * H * (K * K + 2 * c * K + c * K + 27 * c)
    return Case(lambda: moments.collect(net, "2.W", x), lambda _: operations, lambda _: K * M + 3 * K * K + 3 * c * M)


def chosen(choose: Callable[[moments.Moments], Any], method: str, channels: int) -> Case:
    """A choice of channels from moments whose sums over windows are still to be made, with 64 filters."""
    rng, c, n = np.random.default_rng(0), channels, 64
    K = 9 * c
    x, W = rng.standard_normal((K, K // 4)), rng.standard_normal((n, K)) / np.sqrt(K)
    A = x @ x.T / x.shape[1]
    made = moments.Moments("a layer", W, c, A, A, W @ A, float(np.sum(W @ A * W)), x.shape[1])
    sums = n * K * K + K * K
    path = 4 * c**3 + 5 * c**3 if method == "lasso channels" else 0  # eigenvectors; a join costs 5 c^2
    return Case(lambda: choose(made.with_weights(W)), lambda _: sums + path + 3 * c * c, lambda _: K * K)


# ---- regression ------------------------------------------------------------------------------------------------------
def regression(n: int, p: int, active: int) -> tuple[np.ndarray, np.ndarray]:
    """X (n, p), its neighbours correlated by 0.3, and y (n,) of some columns and noise."""
    rng = np.random.default_rng(0)
    X, beta = autoregressive(n, p, 0.3, rng), np.zeros(p)
    beta[np.linspace(0, p - 1, active).astype(int)] = np.where(np.arange(active) % 2, -1.0, 1.0)
    return X, noisy(X @ beta, rng)


def lasso(n: int, p: int, active: int) -> Case:
    """The lasso at a tenth of lambda_max; all columns are in use from the start if there are at most 256 and n."""
    X, y = regression(n, p, active)
    lam, tall = 0.1 * float(textbook.lasso_lambda_max(X, y)), p <= min(n, 256)

    def operations(answer: Any) -> float:
        used = p if tall else int(np.count_nonzero(answer.beta))
        return (2 * answer.n_iter + 3) * n * p + used**2 * n

    return Case(lambda: textbook.lasso(X, y, lam), operations, lambda _: 3 * p**2 + 3 * n if tall else 192 * n + 6 * p)


def lasso_path(n: int, p: int) -> Case:
    """All kinks, from a triangular factor of the data, and the certificates of each from the data themselves."""
    X, y = regression(n, p, p // 4)

    def operations(path: Any) -> float:
        return n * p * p + 2 * n * p * path.lam.size + 5 * p * p * path.lam.size

    return Case(lambda: textbook.lasso_path(X, y), operations, lambda path: (2 * n + 6 * p) * path.lam.size)


def group_lasso(n: int, p: int) -> Case:
    """The group lasso in groups of five, ten of them active, at a tenth of lambda_max."""
    X, y = regression(n, p, 50)
    groups = [np.arange(5 * g, 5 * g + 5) for g in range(p // 5)]
    lam = 0.1 * float(textbook.group_lasso_lambda_max(X, y, groups))

    def operations(answer: Any) -> float:
        return (answer.n_iter + 2) * n * p + n * np.count_nonzero(answer.beta) ** 2

    def numbers(answer: Any) -> float:
        return 2 * n * np.count_nonzero(answer.beta) + 6 * p

    return Case(lambda: textbook.group_lasso(X, y, groups, lam), operations, numbers)


def product(width: int) -> Case:
    """A bare matrix product, for comparison."""
    rng, D = np.random.default_rng(0), width
    A, B = rng.standard_normal((D, D)), rng.standard_normal((D, D))
    return Case(lambda: A @ B, lambda _: D**3, lambda _: D**2)


def sweeps() -> list[Curve]:
    """The five sweeps through a perceptron, each against patterns, width and depth."""
    found, widths = [], (192, 256, 384, 512, 768, 1024)
    for rule in ("gradient", "OBD pass", "exact diagonal", "ggn", "Hessian-vector product"):
        full = rule == "exact diagonal"
        most = {"patterns": 16, "width": 64} if full else {"patterns": 64}
        axes = {
            "patterns": (8, 16, 32, 64, 128, 256) if full else (64, 128, 256, 512, 1024, 2048),
            "width": (64, 96, 128, 192, 256, 320) if full else widths[:5] if rule == "ggn" else widths,
            "depth": (2, 3, 4, 6, 8, 12, 16) if full else (2, 4, 8, 12, 16, 24, 32),
        }
        for axis, sizes in axes.items():
            fixed = {key: value for key, value in most.items() if key != axis}
            leading = (3 if full else 2, 2) if axis == "width" else (1, 0 if full and axis == "depth" else 1)
            of = lambda size, rule=rule, axis=axis, fixed=fixed: mlp(rule, **{axis: size, **fixed})  # noqa: E731
            found.append(Curve(rule, axis, sizes, of, *leading))
    of = lambda size: mlp("ggn", patterns=64, outputs=size)  # noqa: E731
    return [*found, Curve("ggn", "outputs", (5, 10, 20, 40, 80), of, 1, 2)]


CURVES = (
    Curve("bare product", "width", (32, 64, 128, 256, 512, 768, 1024), product, 3, 2),
    *sweeps(),
    Curve("OBS", "hidden units", (24, 32, 48, 64, 80, 96), surgeon, 3, 2),
    Curve("lasso", "n", (4096, 8192, 16384, 32768, 65536, 131072), lambda n: lasso(n, 64, 16), 1, 1),
    Curve("lasso", "p, all in use", (32, 48, 64, 96, 128, 192, 256), lambda p: lasso(8192, p, p // 4), 2, 2),
    Curve("lasso", "p, ten active", (1000, 2000, 4000, 8000, 16000, 32000), lambda p: lasso(200, p, 10), 1, 1),
    Curve("lasso path", "n", (4096, 8192, 16384, 32768, 65536), lambda n: lasso_path(n, 48), 1, 1),
    Curve("lasso path", "p", (64, 96, 128, 192, 256, 384, 512), lambda p: lasso_path(4096, p), 3, 2),
    Curve("group lasso", "n", (2000, 4000, 8000, 16000, 32000), lambda n: group_lasso(n, 250), 1, 1),
    Curve("group lasso", "p", (500, 1000, 2000, 4000, 8000), lambda p: group_lasso(400, p), 1, 1),
    Curve("convolution", "patterns", (4, 8, 16, 32, 64, 128), lambda N: convolution(patterns=N), 1, 1),
    Curve("convolution", "filters", (16, 32, 64, 96, 128, 192), lambda F: convolution(filters=F), 2, 1),
    Curve("convolution", "side of the image", (8, 16, 32, 64, 96), lambda H: convolution(8, 8, H), 2, 2),
    Curve("convolution", "side of the kernel", (3, 5, 7, 9, 11), lambda k: convolution(8, 16, 24, k), 2, 0),
    Curve("im2col, whole", "side of the kernel", (3, 5, 7, 9, 11), whole_im2col, 2, 2),
    Curve("surgery", "filters", (128, 256, 384, 512, 768, 1024), lambda F: removal(filters=F), 2, 2),
    Curve("surgery", "depth", (4, 8, 16, 32, 64, 96), lambda L: removal(depth=L), 1, 1),
    Curve("moments", "patterns", (25, 50, 100, 200, 400, 800), lambda N: collected(patterns=N), 1, 0),
    Curve("moments", "channels", (16, 32, 48, 64, 96, 128), lambda c: collected(channels=c), 2, 2),
    Curve("lasso channels", "channels", (64, 96, 128, 192, 256, 320),
          lambda c: chosen(lasso_channels.sets, "lasso channels", c), 3, 2),
    Curve("ThiNet", "channels", (64, 96, 128, 192, 256, 320), lambda c: chosen(thinet.order, "ThiNet", c), 2, 2),
)  # fmt: skip
