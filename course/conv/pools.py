"""Second derivatives through pools that leave no pixel out (conv.5), judged by the complex step of plain windows."""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong


def _pool(kinds: tuple[str, ...], ties: bool = False, cut: bool = True) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        k = int(rng.integers(2, 4)) if cut else 2
        H, W = (k * int(rng.integers(1, 3)) + (int(rng.integers(1, k)) if cut else k) for _ in range(2))
        C, N = map(int, rng.integers(1, 4, 2)) if cut else (1, 2)
        x = rng.permutation(C * H * W * N).reshape(C, H, W, N) / 10
        if ties:
            x = np.floor(x) % 2
            x[:, :2, :2] = 3  # the first window is full of its maximum
        hy = rng.choice([-1.0, 1.0], (C, -(-H // k), -(-W // k), N))
        kind = str(rng.choice(kinds))
        return {"x": x, "hy": hy * rng.uniform(0.3, 2, hy.shape), "k": k, "kind": kind}

    return draw


def _complex_step(x: Array, hy: Array, k: int, kind: str) -> Array:
    # d2E/dx2 = sum h (dy/dx)^2 for a y that is linear between its kinks.
    hx, step = np.zeros(x.shape), 1e-30j

    def pooled(window: Array) -> Array:
        flat = window.reshape(len(window), -1, window.shape[-1])
        if kind == "mean":
            return flat.mean(axis=1)
        return np.take_along_axis(flat, np.argsort(-flat.real, axis=1, kind="stable")[:, :1], axis=1)[:, 0]

    for i, j in np.ndindex(hy.shape[1:3]):
        window = x[:, k * i : k * (i + 1), k * j : k * (j + 1)]
        for r, s in np.ndindex(window.shape[1:3]):
            moved = window.astype(complex)
            moved[:, r, s] += step
            hx[:, k * i + r, k * j + s] = hy[:, i, j] * (np.imag(pooled(moved)) / abs(step)) ** 2
    return hx


def _spread(x: Array, hy: Array, k: int) -> Array:
    height, width = x.shape[1:3]
    return hy.repeat(k, axis=1).repeat(k, axis=2)[:, :height, :width]


def _sizes(x: Array, k: int) -> Array:
    # How many pixels the window of every pixel has.
    rows, columns = (np.minimum(k, n - np.arange(n) // k * k) for n in x.shape[1:3])
    return np.outer(rows, columns)[None, :, :, None]


def _ranked(x: Array, k: int) -> Array:
    # (windows' maxima spread out) - x: 0 at a winner.
    _, height, width, _ = x.shape
    wide = np.pad(x, ((0, 0), (0, -height % k), (0, -width % k), (0, 0)), constant_values=-np.inf)
    C, H, W, N = wide.shape
    largest = wide.reshape(C, H // k, k, W // k, k, N).max(axis=(2, 4))
    return _spread(x, largest, k) - x


def _routed(x: Array, k: int, last: bool = False) -> Array:
    # 1 at the first (or the last) winner of every window, row by row.
    winners = _ranked(x, k) == 0
    chosen = np.zeros(x.shape)
    for i, j in np.ndindex(-(-x.shape[1] // k), -(-x.shape[2] // k)):
        place = (slice(None), slice(k * i, k * (i + 1)), slice(k * j, k * (j + 1)))
        flat = winners[place].reshape(len(x), -1, x.shape[3])
        at = flat.shape[1] - 1 - flat[:, ::-1].argmax(axis=1) if last else flat.argmax(axis=1)
        chosen[place] = (np.arange(flat.shape[1])[:, None] == at[:, None]).reshape(chosen[place].shape)
    return chosen


def _form(
    mean: Callable[[Array, int], Array] = lambda x, k: 1 / _sizes(x, k) ** 2,
    largest: Callable[[Array, int], Array] = _routed,
) -> Callable[..., Array]:
    def form(x: Array, hy: Array, k: int, kind: str) -> Array:
        return _spread(x, hy, k) * (mean(x, k) if kind == "mean" else largest(x, k))

    return form


def _full(x: Array, k: int) -> Array:
    # 1 where the window of a pixel lies in the image as a whole.
    return 1.0 * (_sizes(x, k) == k * k)


POOL = Exercise(
    id="conv.5",
    function="pool_hessian",
    outputs=("hx",),
    formula="mean of m pixels: ∂²E/∂x² = h / m², which is h / k⁴ for a whole window;  max: h at the first winner, 0"
    " elsewhere",
    slide="S0, Computing the second derivative",
    ledger="D6b",
    section="notebook 03, section 4.5",
    minutes=25,
    referee=_complex_step,
    cases=(
        Case("the mean of whole windows", 1, _pool(("mean",), cut=False), public=True),
        Case("the mean of windows that are cut off", 1, _pool(("mean",)), draws=2),
        Case("the maximum of windows that are cut off", 1, _pool(("max",)), draws=2),
        Case("equal pixels of which the first one wins", 1, _pool(("max",), ties=True), draws=2),
    ),
    wrong=(
        Wrong(
            "1/k² for 1/k⁴",
            _form(mean=lambda x, k: 1 / _sizes(x, k)),
            "This divides by the number of pixels once, as the gradient does. A second derivative passes the mean twice"
            " (D6b).",
        ),
        Wrong(
            "ties to all",
            _form(largest=lambda x, k: 1.0 * (_ranked(x, k) == 0)),
            "This gives the curvature to every pixel that equals the maximum. Only one pixel is handed on: the first,"
            " row by row (D6b).",
        ),
        Wrong(
            "ties to the last",
            _form(largest=lambda x, k: _routed(x, k, last=True)),
            "This gives the curvature to the last pixel that equals the maximum. Of equal pixels the first one wins,"
            " row by row.",
        ),
        Wrong(
            "everything to everybody",
            _form(largest=lambda x, k: np.ones(x.shape)),
            "This gives the curvature of the maximum to all pixels of its window. A pixel that does not win can move a"
            " little, and the maximum stays (D6b).",
        ),
        Wrong(
            "k⁴ at the rim",
            _form(mean=lambda x, k: np.ones(x.shape) / k**4),
            "This divides by k⁴ everywhere. A window that the rim cuts off is the mean of the pixels that it has, which"
            " are fewer than k².",
        ),
        Wrong(
            "rim left out",
            _form(mean=lambda x, k: _full(x, k) / _sizes(x, k) ** 2, largest=lambda x, k: _full(x, k) * _routed(x, k)),
            "This gives nothing to the pixels of windows that the rim cuts off, as the pools of the package do, which"
            " leave them out. Here no pixel is left out.",
        ),
    ),
    hint="How many pixels does a window at the right or lower rim have?",
    package="nn.AvgPool2d.backward_hessian, nn.MaxPool2d.backward_hessian",
)
