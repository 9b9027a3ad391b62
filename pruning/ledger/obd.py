"""Optimal brain damage: the expansion of E, second derivatives by a recursion, its boundary, and saliencies."""

from collections.abc import Callable

import numpy as np

import nn
from nn import gradcheck
from pruning.ledger.core import Form, Formula


def _draw_boundary(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"a": rng.standard_normal((3, 4)), "d": rng.standard_normal((3, 4))}


def _boundary(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    f, loss = nn.ScaledTanh(), nn.SquaredError()
    loss.forward(f.forward(a), d)
    h: np.ndarray = f.backward_hessian(loss.backward(), loss.backward_hessian())[1] * a.shape[1]  # nn's E is a mean
    return h


def _boundary_by_complex_step(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    # E is a sum of terms of one a each, so that one step in all of them together gives the whole diagonal of d(dE/da).
    step, tanh = gradcheck.COMPLEX_STEP, np.tanh(2 / 3 * (a + 1j * gradcheck.COMPLEX_STEP))
    slope = -2 * (d - 1.7159 * tanh) * 1.7159 * 2 / 3 * (1 - tanh * tanh)
    return np.imag(slope) / step


def _boundary_wrong(
    factor: float = 2.0, sign: float = 1.0, second: float = 1.0
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def form(a: np.ndarray, d: np.ndarray) -> np.ndarray:
        f = nn.ScaledTanh()
        return factor * (f.df(a) ** 2 - sign * second * (d - f.f(a)) * f.d2f(a))

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
        notebook="02, section 2",
        draw=_draw_boundary,
        right=_boundary,
        referees=(Form("complex step of dE/da", _boundary_by_complex_step),),
        wrong=(
            Form("factor 1 for 2", _boundary_wrong(factor=1.0), "That is the boundary of half the sum of squares."),
            Form("sign of f''", _boundary_wrong(sign=-1.0), "The error is x - d, and the target d comes first here."),
            Form("f'' dropped", _boundary_wrong(second=0.0), "This is the rule of Levenberg and Marquardt."),
        ),
    ),
)
