"""Second derivatives through convolutions and what stands between them, and weights that many connections share."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from nn.curvature import hess_diag
from pruning.ledger.core import Claim, Form, Formula, Measured, relative

STRIDE, PADDING = 2, ((1, 0), (0, 1))


def _windows(x: np.ndarray, k: int) -> np.ndarray:
    # (C, H, W, N) -> (C k k, OH OW, N), by loops: the inputs of every window, numbered (c, i, j).
    padded = np.pad(x, ((0, 0), *PADDING, (0, 0)))
    rows, columns = (range(0, size - k + 1, STRIDE) for size in padded.shape[1:3])
    return np.stack([padded[:, r : r + k, s : s + k].reshape(-1, x.shape[-1]) for r in rows for s in columns], axis=1)


def _layer(W: np.ndarray, b: np.ndarray) -> nn.Conv2d:
    layer = nn.Conv2d(W.shape[1], W.shape[0], W.shape[2], np.random.default_rng(0), stride=STRIDE, padding=PADDING)
    assert layer.b is not None
    layer.W.data, layer.b.data = W, b
    return layer


# S0-F3.  A convolution, an activation, and perhaps an affine layer, under a squared error.  The referee gives every
# connection a weight of its own: Wu (O, Q, R) and bu (O, Q), for Q windows of R inputs.


def _untied(
    X: np.ndarray, W: np.ndarray, b: np.ndarray, V: np.ndarray, t: np.ndarray, f: Callable[..., Any]
) -> tuple[np.ndarray, np.ndarray]:
    # All second derivatives by Wu and bu, and the number of the shared parameter that each belongs to.
    O, (R, Q, N) = len(W), X.shape
    start = np.concatenate([np.repeat(W.reshape(O, 1, R), Q, axis=1).ravel(), np.repeat(b, Q)])

    def gradient(u: np.ndarray) -> np.ndarray:
        y, slope = f(np.einsum("oqr,rqn->oqn", u[: O * Q * R].reshape(O, Q, R), X) + u[O * Q * R :].reshape(O, Q, 1))
        gy = 2 / N * (V @ y.reshape(O * Q, N) - t)
        ga = slope * (V.T @ gy).reshape(O, Q, N)
        return np.concatenate([np.einsum("oqn,rqn->oqr", ga, X).ravel(), ga.sum(axis=2).ravel()])

    owner = np.repeat(np.arange(O * R).reshape(O, 1, R), Q, axis=1).ravel()
    return gradcheck.complex_step(gradient, start), np.concatenate([owner, O * R + np.repeat(np.arange(O), Q)])


def _tanh(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tanh(a), 1 - np.tanh(a) ** 2


def _relu(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a * (a.real > 0), 1.0 * (a.real > 0)


def _shared(rng: np.random.Generator) -> Iterator[Measured]:
    for name, activation, f, last in (
        ("tanh, hidden", nn.Tanh, _tanh, False),
        ("ReLU, hidden", nn.ReLU, _relu, False),
        ("tanh, last", nn.Tanh, _tanh, True),
    ):
        x, W, b = np.abs(rng.standard_normal((1, 5, 4, 4))), rng.standard_normal((2, 1, 2, 2)), rng.standard_normal(2)
        V = np.eye(12) if last else rng.standard_normal((3, 12))  # 3 x 2 windows of 2 filters
        t = rng.standard_normal((len(V), 4))
        net = nn.Sequential(_layer(W, b), activation(), nn.Flatten())
        if not last:
            net.layers.append(nn.Linear(12, 3, rng, bias=False))
            net.parameters()[2].data = V
        H, owner = _untied(_windows(x, 2), W, b, V, t, f)
        T = (owner[:, None] == np.arange(10)).astype(float)
        h = hess_diag(net, nn.SquaredError(), x, t)
        ours = np.concatenate([h["0.W"].ravel(), h["0.b"]])
        shared = np.diag(gradcheck.hessian_by_differences(net, nn.SquaredError(), x, t))[:10]
        yield Measured(f"sum over the connections, {name}", relative(ours, T.T @ np.diag(H)))
        yield Measured(f"sum over all their pairs, {name}", relative(np.diag(T.T @ H @ T), shared))
        if last:
            yield Measured("the shared weight's own, last layer", relative(ours, shared))
            continue
        message = "Two connections with one weight have a mixed derivative, which the sum drops."
        yield Measured(f"the shared weight's own, {name}", relative(ours, shared), wrong=True, message=message)
        mean, message = T.T @ np.diag(H) / T.sum(axis=0), "Every connection moves when the weight moves."
        yield Measured(f"mean over the connections, {name}", relative(mean, ours), wrong=True, message=message)


# D6.  E = sum of g y + 1/2 h y^2 over the outputs of one layer, whose map is linear in x, or is between its kinks:
# d2E/dx_i2 = sum over p of h_p (dy_p/dx_i)^2, with dy/dx by the complex step of a plain forward pass.


def _through(forward: Callable[[np.ndarray], np.ndarray], u: np.ndarray, h: np.ndarray) -> np.ndarray:
    J = gradcheck.complex_step(forward, u).reshape(u.size, -1)
    return (J * J @ h.ravel()).reshape(u.shape)


def _draw_convolution(rng: np.random.Generator) -> dict[str, np.ndarray]:
    draw = rng.standard_normal
    return {"x": draw((2, 5, 4, 3)), "W": draw((3, 2, 3, 3)), "b": draw(3), "h": draw((3, 2, 2, 3))}


def _convolution(x: np.ndarray, W: np.ndarray, b: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    layer = _layer(W, b)
    layer.forward(x)
    hx = layer.backward_hessian(0 * h, h)[1]
    assert layer.b is not None
    return hx, layer.W.hess_diag, layer.b.hess_diag


def _convolution_by_complex_step(x: np.ndarray, W: np.ndarray, b: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    def forward(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("or,rqn->oqn", W.reshape(3, -1), _windows(x, 3)) + b[:, None, None]

    return (
        _through(lambda z: forward(z, W, b), x, h),
        _through(lambda V: forward(x, V, b), W, h),
        _through(lambda c: forward(x, W, c), b, h),
    )


def _convolution_wrong(
    power: int = 2, inputs: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
) -> Callable[..., tuple[np.ndarray, ...]]:
    def form(x: np.ndarray, W: np.ndarray, b: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        layer = _layer(W**power, b)
        layer.forward(x)
        rows = h.reshape(3, 4, 3)
        hW = np.einsum("oqn,rqn->or", rows, _windows(x, 3) ** 2) if inputs is None else inputs(rows, _windows(x, 3))
        return layer.backward(h), hW.reshape(W.shape), rows.sum(axis=(1, 2))

    return form


def _draw_between(rng: np.random.Generator) -> dict[str, np.ndarray]:
    draw = rng.standard_normal
    positive = {name: rng.uniform(0.5, 2, 2) for name in ("gamma", "variance", "c")}
    return {"x": draw((2, 4, 4, 3)), "h": draw((2, 2, 2, 3)), "hx": draw((2, 4, 4, 3)), **positive}


def _blocks(x: np.ndarray) -> np.ndarray:
    # The 2 x 2 windows of (2, 4, 4, N), as (2, 2, 2, 4, N).
    return x.reshape(2, 2, 2, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5).reshape(2, 2, 2, 4, -1)


def _between(
    x: np.ndarray, h: np.ndarray, hx: np.ndarray, gamma: np.ndarray, variance: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    norm, pool, drop = nn.BatchNorm(2), nn.Subsampling(2, 2, rng), nn.Dropout(0.5, rng)
    norm.gamma.data, norm.running_variance, pool.coefficient.data = gamma, variance, c
    through = []
    for layer, signal in ((nn.AvgPool2d(2), h), (nn.MaxPool2d(2), h), (pool, h), (norm, hx), (drop, hx)):
        layer.eval().forward(x)
        through.append(layer.backward_hessian(0 * signal, signal)[1])
    return tuple(through)


def _between_by_complex_step(
    x: np.ndarray, h: np.ndarray, hx: np.ndarray, gamma: np.ndarray, variance: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, ...]:
    def largest(z: np.ndarray) -> np.ndarray:
        windows = _blocks(z)
        return np.take_along_axis(windows, windows.real.argmax(axis=3)[:, :, :, None], axis=3)

    def scaled(z: np.ndarray) -> np.ndarray:
        return z * (gamma / np.sqrt(variance + 1e-5))[:, None, None, None]

    return (
        _through(lambda z: _blocks(z).mean(axis=3), x, h),
        _through(largest, x, h),
        _through(lambda z: c[:, None, None, None] * _blocks(z).mean(axis=3), x, h),
        _through(scaled, x, hx),
        hx,
    )


def _between_wrong(share: float = 1 / 16, power: int = 2, eps: float = 1e-5, winner: bool = True) -> Callable[..., Any]:
    def form(
        x: np.ndarray, h: np.ndarray, hx: np.ndarray, gamma: np.ndarray, variance: np.ndarray, c: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        spread = h.repeat(2, axis=1).repeat(2, axis=2)
        largest = nn.MaxPool2d(2).forward(x).repeat(2, axis=1).repeat(2, axis=2)
        routed = spread * (x == largest) if winner else spread / 16
        factor, coefficient = (gamma / np.sqrt(variance + eps)) ** power, c**power
        return (
            share * spread,
            routed,
            share * coefficient[:, None, None, None] * spread,
            factor[:, None, None, None] * hx,
            hx,
        )

    return form


STATEMENTS = (
    Claim(
        id="S0-F3",
        title="weights that many connections share",
        printed=r"h_{kk}=\sum_{(i,j)\in V_k}\frac{\partial^2E}{\partial w_{ij}^2}",
        verdict="right if",
        remark="Right in a last layer; elsewhere the mixed derivatives of the pairs in V_k are missing.",
        where="S0, Computing the second derivative",
        code="nn.curvature.hess_diag, nn.Conv2d.backward_hessian_parameters",
        notebook="03, section 4.1",
        measure=_shared,
        referee="a net with a weight a connection",
    ),
    Formula(
        id="D6a",
        title="second derivatives through a convolution",
        printed=r"h_X=\mathrm{col2im}\big((W\odot W)^\top h_Y\big),\quad h_W=h_Y(X\odot X)^\top,"
        r"\quad h_b=\textstyle\sum h_Y",
        verdict="lost",
        remark="The line of the gradient with W or the windows squared; it drops the pairs of two windows or filters.",
        where="S0, Computing the second derivative, for a convolution",
        code="nn.Conv2d.backward_hessian",
        notebook="03, section 4.1",
        draws=1,
        draw=_draw_convolution,
        right=_convolution,
        referees=(Form("complex step of plain loops", _convolution_by_complex_step),),
        wrong=(
            Form("W for W * W", _convolution_wrong(power=1), "A second derivative passes every weight twice."),
            Form(
                "windows not squared",
                _convolution_wrong(inputs=lambda h, X: np.einsum("oqn,rqn->or", h, X)),
                "The input comes in twice, with each of the two derivatives.",
            ),
            Form(
                "windows added, then squared",
                _convolution_wrong(inputs=lambda h, X: np.einsum("on,rn->or", h.mean(axis=1), X.sum(axis=1) ** 2)),
                "Every window has a curvature of its own.",
            ),
            Form(
                "mean over the windows",
                _convolution_wrong(inputs=lambda h, X: np.einsum("oqn,rqn->or", h, X * X) / h.shape[1]),
                "A shared weight moves in all windows at once.",
            ),
        ),
    ),
    Formula(
        id="D6b",
        title="second derivatives through pools and batch norm",
        printed=r"\text{mean of }k\times k:\;\frac{h_Y}{k^4},\quad\text{max}:\;h_Y\text{ to the winner},\quad"
        r"\text{trained mean}:\;\frac{c^2h_Y}{k^4},\quad\text{batch norm}:\;\frac{\gamma^2h_Y}{\sigma^2+\varepsilon}",
        verdict="lost",
        remark="Every factor of the gradient is squared, in eval mode and for windows that do not overlap.",
        where="S0, Computing the second derivative, for pools",
        code="nn.AvgPool2d.backward_hessian, nn.MaxPool2d.backward_hessian, nn.Subsampling.backward_hessian,"
        " nn.BatchNorm.backward_hessian, nn.Dropout.backward_hessian",
        notebook="03, section 4.5",
        draws=2,
        draw=_draw_between,
        right=_between,
        referees=(Form("complex step of a plain forward", _between_by_complex_step),),
        wrong=(
            Form("1/k^2 for 1/k^4", _between_wrong(share=1 / 4), "The share of a pixel is squared."),
            Form("scale for its square", _between_wrong(power=1), "A second derivative passes the scale twice."),
            Form("batch norm without eps", _between_wrong(eps=0.0), "The variance is not the whole of the deviation."),
            Form("max spread like a mean", _between_wrong(winner=False), "The other pixels can move without effect."),
        ),
    ),
)
