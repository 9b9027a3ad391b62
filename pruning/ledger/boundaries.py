"""Where the recursion for second derivatives starts: the outputs of a squared error, of a softmax, of one logit."""

from collections.abc import Callable

import numpy as np

import nn
from nn import gradcheck
from pruning.ledger.core import Form, Formula

# S0-F6.  Where the recursion starts: one number for each output unit and pattern, five activations at once.

ACTIVATIONS = (nn.Tanh, nn.ScaledTanh, nn.Sigmoid, nn.Softplus, nn.Identity)


def _draw_boundary(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"a": rng.standard_normal((3, 4)), "d": rng.standard_normal((3, 4))}


def _boundary(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    starts, N = [], a.shape[1]
    for f, loss in ((f(), nn.SquaredError()) for f in ACTIVATIONS):
        loss.forward(f.forward(a), d)
        starts.append(N * f.backward_hessian(loss.backward(), loss.backward_hessian())[1])  # nn's E is a mean over N
    return np.stack(starts)


def _functions(a: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    tanh, scaled, sigmoid = np.tanh(a), np.tanh(2 / 3 * a), 1 / (1 + np.exp(-a))
    return [  # f and f' of ACTIVATIONS
        (tanh, 1 - tanh * tanh),
        (1.7159 * scaled, 1.7159 * 2 / 3 * (1 - scaled * scaled)),
        (sigmoid, sigmoid * (1 - sigmoid)),
        (np.log(1 + np.exp(a)), sigmoid),
        (a, np.ones_like(a)),
    ]


def _boundary_by_complex_step(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    # E is a sum of terms of one a each, so that one step in all of them together gives the whole diagonal of d(dE/da).
    slopes = [-2 * (d - f) * df for f, df in _functions(a + 1j * gradcheck.COMPLEX_STEP)]
    return np.imag(np.stack(slopes)) / gradcheck.COMPLEX_STEP


def _boundary_wrong(
    factor: float = 2.0, sign: float = 1.0, second: float = 1.0, power: int = 2
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def form(a: np.ndarray, d: np.ndarray) -> np.ndarray:
        functions = [f() for f in ACTIVATIONS]
        return np.stack([factor * (f.df(a) ** power - sign * second * (d - f.f(a)) * f.d2f(a)) for f in functions])

    return form


# D3.  The same for the softmax, whose matrix is full, and for one logit.


def _draw_softmax(rng: np.random.Generator) -> dict[str, np.ndarray]:
    far = np.array([[1000.0], [-1000.0], [0.0], [999.0]])  # where exp overflows
    return {"y": np.hstack([rng.standard_normal((4, 5)), far]), "t": rng.uniform(0.1, 1, (4, 6))}


def _softmax(y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, ...]:
    loss, N = nn.SoftmaxCrossEntropy(), y.shape[1]
    loss.forward(y, t)
    return N * loss.backward(), N * loss.hessian(), N * loss.backward_hessian()


def _softmax_by_complex_step(y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, ...]:
    top = y.max(axis=0)

    def E(z: np.ndarray) -> complex:
        return np.sum(t * (np.log(np.sum(np.exp(z - top), axis=0)) - (z - top)))

    def gradient(z: np.ndarray) -> np.ndarray:
        exp = np.exp(z - top)
        return t.sum(axis=0) * exp / exp.sum(axis=0) - t

    H = np.einsum("lnkn->lkn", gradcheck.complex_step(gradient, y))
    return gradcheck.complex_step(E, y), H, np.einsum("kkn->kn", H)


def _softmax_wrong(
    sums: bool = True,
    pairs: bool = True,
    matrix: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda p, t: np.eye(4)[:, :, None] * p - p[:, None] * p,
    shift: bool = True,
) -> Callable[..., tuple[np.ndarray, ...]]:
    def form(y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, ...]:
        exp, total = np.exp(y - y.max(axis=0) if shift else y), t.sum(axis=0) if sums else 1.0
        p = exp / exp.sum(axis=0)
        H = total * matrix(p, t) * (1 if pairs else np.eye(4)[:, :, None])
        return total * p - t, H, np.einsum("kkn->kn", H)

    return form


def _draw_logit(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"a": rng.standard_normal(7), "y": rng.uniform(0.1, 0.9, 7)}


def _logit(a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    loss, N = nn.SoftmaxCrossEntropy(), len(a)
    loss.forward(np.stack([a, 0 * a]), np.stack([y, 1 - y]))  # the softmax of a and 0 is the sigmoid of a
    return N * loss.backward()[0], N * loss.hessian()[0, 0]


def _logit_by_complex_step(a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    z, step = a + 1j * gradcheck.COMPLEX_STEP, gradcheck.COMPLEX_STEP
    E = y * np.log(1 + np.exp(-z)) + (1 - y) * np.log(1 + np.exp(z))
    gradient = (1 - y) / (1 + np.exp(-z)) - y / (1 + np.exp(z))
    return np.imag(E) / step, np.imag(gradient) / step


def _logit_wrong(second: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., tuple[np.ndarray, ...]]:
    def form(a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        p = 1 / (1 + np.exp(-a))
        return p - y, second(p, y)

    return form


STATEMENTS = (
    Formula(
        id="S0-F6",
        title="the recursion's first step, at the output",
        printed=r"\frac{\partial^2E}{\partial a_i^2}=2f'(a_i)^2-2(d_i-x_i)f''(a_i)",
        verdict="scale",
        remark="Right for E = sum (d - x)^2; with a half in front of the sum both factors 2 go.",
        where="S0, Computing the second derivative",
        code="nn.SquaredError.backward_hessian, nn.Activation.backward_hessian",
        notebook="02, section 3",
        draw=_draw_boundary,
        right=_boundary,
        referees=(Form("complex step of dE/da", _boundary_by_complex_step),),
        wrong=(
            Form("factor 1 for 2", _boundary_wrong(factor=1.0), "That is the boundary of half the sum of squares."),
            Form("2/N for 2", _boundary_wrong(factor=2 / 4), "That is the boundary of the mean over the patterns."),
            Form("sign of f''", _boundary_wrong(sign=-1.0), "The error is x - d, and the target d comes first here."),
            Form("f'' dropped", _boundary_wrong(second=0.0), "This is the rule of Levenberg and Marquardt."),
            Form(
                "f' for f'^2",
                _boundary_wrong(power=1),
                "The square has f in both factors, and each derivative leaves an f'.",
            ),
        ),
    ),
    Formula(
        id="D3a",
        title="the start for softmax and cross-entropy",
        printed=r"\frac{\partial E}{\partial a}=p-t,\qquad\frac{\partial^2E}{\partial a^2}=\mathrm{diag}(p)-pp^\top"
        r"\qquad\Big(\textstyle\sum_kt_k=1\Big)",
        verdict="lost",
        remark="The matrix knows the labels by their sum alone, which multiplies it, and p, where it is not 1.",
        where="S0, Computing the second derivative, for another loss",
        code="nn.SoftmaxCrossEntropy.hessian, nn.SoftmaxCrossEntropy.backward_hessian",
        notebook="02, section 3",
        draw=_draw_softmax,
        right=_softmax,
        referees=(Form("complex step of E and dE/da", _softmax_by_complex_step),),
        wrong=(
            Form("pairs dropped", _softmax_wrong(pairs=False), "The logits are coupled by the sum under the softmax."),
            Form("sum of labels forgotten", _softmax_wrong(sums=False), "Soft labels need not sum to one."),
            Form(
                "diag(p) alone",
                _softmax_wrong(matrix=lambda p, t: np.eye(4)[:, :, None] * p),
                "The rows of the matrix sum to zero: a common shift of the logits changes nothing.",
            ),
            Form(
                "labels in the curvature",
                _softmax_wrong(matrix=lambda p, t: np.eye(4)[:, :, None] * t - t[:, None] * t),
                "The labels are linear in E and gone after two derivatives.",
            ),
            Form(
                "squared gradient",
                _softmax_wrong(matrix=lambda p, t: (p - t)[:, None] * (p - t)),
                "That is the empirical Fisher matrix: this one only on average over labels drawn from p.",
            ),
            Form("exp without a shift", _softmax_wrong(shift=False), "At logits of 1000 exp overflows."),
        ),
    ),
    Formula(
        id="D3b",
        title="the start for one logit",
        printed=r"E=-y\log\sigma(a)-(1-y)\log(1-\sigma(a)):\quad\frac{\partial^2E}{\partial a^2}=p(1-p),\;p=\sigma(a)",
        verdict="lost",
        remark="The sigmoid is the softmax of a and 0; a unit with one logit of its own has no pairs to drop.",
        where="S0, Computing the second derivative, for another loss",
        code="nn.SoftmaxCrossEntropy.hessian",
        notebook="02, section 3",
        draw=_draw_logit,
        right=_logit,
        referees=(Form("complex step of E and dE/da", _logit_by_complex_step),),
        wrong=(
            Form("y(1 - y)", _logit_wrong(lambda p, y: y * (1 - y)), "The curvature does not know the label."),
            Form("p for p(1 - p)", _logit_wrong(lambda p, y: p), "The curvature vanishes at p = 1 as it does at 0."),
            Form("(p - y)^2", _logit_wrong(lambda p, y: (p - y) ** 2), "The squared gradient is no second derivative."),
        ),
    ),
)
