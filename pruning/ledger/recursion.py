"""One step of the recursion for second derivatives: from a unit to its weights, and from a layer to the one before."""

from collections.abc import Callable

import numpy as np

import nn
from nn import gradcheck
from pruning.ledger.core import Form, Formula

# S0-F4.  E = sum over the patterns of g^T a + 1/2 a^T H a with a full H: the units of the layer are coupled.


def _draw_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    H = rng.standard_normal((4, 4, 5))
    return {
        "W": rng.standard_normal((4, 3)),
        "b": rng.standard_normal(4),
        "x": rng.standard_normal((3, 5)),
        "g": rng.standard_normal((4, 5)),
        "H": H + H.transpose(1, 0, 2),
    }


def _ga(W: np.ndarray, b: np.ndarray, x: np.ndarray, g: np.ndarray, H: np.ndarray) -> np.ndarray:
    return g + np.einsum("lmn,mn->ln", H, W @ x + b[:, None])  # dE/da


def _weights(W: np.ndarray, b: np.ndarray, x: np.ndarray, g: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, ...]:
    layer = nn.Linear(3, 4, np.random.default_rng(0))
    layer.W.data = W
    layer.forward(x)
    layer.backward_hessian_parameters(_ga(W, b, x, g, H), np.einsum("iin->in", H))
    assert layer.b is not None
    return layer.W.hess_diag, layer.b.hess_diag


def _weights_by_complex_step(
    W: np.ndarray, b: np.ndarray, x: np.ndarray, g: np.ndarray, H: np.ndarray
) -> tuple[np.ndarray, ...]:
    hW = gradcheck.complex_step(lambda V: _ga(V, b, x, g, H) @ x.T, W)
    hb = gradcheck.complex_step(lambda c: _ga(W, c, x, g, H).sum(axis=1), b)
    return np.einsum("ijij->ij", hW), np.diag(hb)


def _weights_wrong(form: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., tuple[np.ndarray, ...]]:
    def wrong(W: np.ndarray, b: np.ndarray, x: np.ndarray, g: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, ...]:
        ha = np.einsum("iin->in", H)
        return form(ha, x), ha.sum(axis=1)

    return wrong


# S0-F5a and D2a.  One layer back, from d2E/da_l da_m of the next layer (a diagonal one in S0-F5a) to d2E/da_i2.


def _draw_step(rng: np.random.Generator) -> dict[str, np.ndarray]:
    draw = rng.standard_normal
    return {"a": draw((4, 5)), "W": draw((3, 4)), "g": draw((3, 5)), "h": draw((3, 5))}


def _draw_full_step(rng: np.random.Generator) -> dict[str, np.ndarray]:
    draw = rng.standard_normal
    H = draw((3, 3, 5))
    return {"a": draw((4, 5)), "W": draw((3, 4)), "g": draw((3, 5)), "H": H + H.transpose(1, 0, 2)}


def _layers(a: np.ndarray, W: np.ndarray) -> tuple[nn.Tanh, nn.Linear]:
    f, layer = nn.Tanh(), nn.Linear(4, 3, np.random.default_rng(0))
    layer.W.data = W
    layer.forward(f.forward(a))
    return f, layer


def _step(a: np.ndarray, W: np.ndarray, g: np.ndarray, h: np.ndarray) -> np.ndarray:
    f, layer = _layers(a, W)
    ha: np.ndarray = f.backward_hessian(*layer.backward_hessian(g, h))[1]
    return ha


def _full_step(a: np.ndarray, W: np.ndarray, g: np.ndarray, H: np.ndarray) -> np.ndarray:
    f, layer = _layers(a, W)
    Ha: np.ndarray = f.backward_hessian_full(*layer.backward_hessian_full(g, H))[1]
    return Ha


def _full_step_by_complex_step(a: np.ndarray, W: np.ndarray, g: np.ndarray, H: np.ndarray) -> np.ndarray:
    # dE/da = f'(a) W^T (g + H (W f(a) - here)), pattern by pattern: the next layer sees a parabola around `here`.
    here, columns = W @ np.tanh(a), []
    for i in range(len(a)):
        step = np.zeros(a.shape, complex)
        step[i] = 1j * gradcheck.COMPLEX_STEP
        y = np.tanh(a + step)
        slope = (1 - y * y) * (W.T @ (g + np.einsum("lmn,mn->ln", H, W @ y - here)))
        columns.append(np.imag(slope) / gradcheck.COMPLEX_STEP)
    return np.stack(columns)


def _step_by_complex_step(a: np.ndarray, W: np.ndarray, g: np.ndarray, h: np.ndarray) -> np.ndarray:
    H = np.eye(3)[:, :, None] * h
    return np.einsum("iin->in", _full_step_by_complex_step(a, W, g, H))


def _step_wrong(
    weights: Callable[[np.ndarray], np.ndarray] = np.square,
    power: int = 2,
    second: float = 1.0,
    arrives: bool = True,
) -> Callable[..., np.ndarray]:
    def form(a: np.ndarray, W: np.ndarray, g: np.ndarray, h: np.ndarray) -> np.ndarray:
        f = nn.Tanh()
        signal = W.T @ g if arrives else f.df(a) * (W.T @ g)
        ha: np.ndarray = f.df(a) ** power * (weights(W).T @ h) + second * f.d2f(a) * signal
        return ha

    return form


def _full_step_wrong(pairs: bool = True, both: bool = True, second: float = 1.0) -> Callable[..., np.ndarray]:
    def form(a: np.ndarray, W: np.ndarray, g: np.ndarray, H: np.ndarray) -> np.ndarray:
        f, I = nn.Tanh(), np.eye(len(a))[:, :, None]
        df = f.df(a)
        Hx = np.einsum("li,lmn,mj->ijn", W, H if pairs else H * np.eye(3)[:, :, None], W)
        Ha: np.ndarray = df[:, None] * Hx * (df[None, :] if both else 1) + second * I * f.d2f(a) * (W.T @ g)
        return Ha

    return form


SLIDE = "S0, Computing the second derivative"

STATEMENTS = (
    Formula(
        id="S0-F4",
        title="from a unit to its weights",
        printed=r"\frac{\partial^2E}{\partial w_{ij}^2}=\frac{\partial^2E}{\partial a_i^2}x_j^2",
        verdict="right",
        remark="It is an identity for each pattern, whatever comes later; over a batch the products are added up.",
        where=SLIDE,
        code="nn.Linear.backward_hessian_parameters",
        notebook="02, section 2.1",
        draw=_draw_weights,
        right=_weights,
        referees=(Form("complex step of dE/dw", _weights_by_complex_step),),
        wrong=(
            Form(
                "x for x^2",
                _weights_wrong(lambda ha, x: ha @ x.T),
                "The input comes in twice, with each of the two derivatives.",
            ),
            Form(
                "sum of h times mean of x^2",
                _weights_wrong(lambda ha, x: np.outer(ha.sum(axis=1), (x * x).sum(axis=1)) / x.shape[1]),
                "Every pattern has a curvature of its own, which belongs to its own input.",
            ),
            Form(
                "square of the mean input",
                _weights_wrong(lambda ha, x: np.outer(ha.sum(axis=1), x.mean(axis=1) ** 2)),
                "Inputs are squared before they are averaged, or those of two signs cancel.",
            ),
        ),
    ),
    Formula(
        id="S0-F5a",
        title="from a layer to the one before",
        printed=r"\frac{\partial^2E}{\partial a_i^2}=f'(a_i)^2\sum_l w_{li}^2\frac{\partial^2E}{\partial a_l^2}"
        r"+f''(a_i)\frac{\partial E}{\partial x_i}",
        verdict="right if",
        remark="Right if the next layer has no second derivatives of pairs, as at the outputs of a squared error.",
        where=SLIDE,
        code="nn.Linear.backward_hessian, nn.Activation.backward_hessian",
        notebook="02, section 2.3",
        draw=_draw_step,
        right=_step,
        referees=(Form("complex step of dE/da", _step_by_complex_step),),
        wrong=(
            Form("w for w^2", _step_wrong(weights=np.asarray), "A second derivative passes a weight twice."),
            Form("f' for f'^2", _step_wrong(power=1), "A second derivative passes the activation twice."),
            Form("f'' dropped", _step_wrong(second=0.0), "That is the rule of Levenberg and Marquardt."),
            Form("sign of f''", _step_wrong(second=-1.0), "Both terms come from the product rule, which adds them."),
            Form(
                "dE/da for dE/dx",
                _step_wrong(arrives=False),
                "The signal that arrives is meant, before it is multiplied by f'.",
            ),
        ),
    ),
    Formula(
        id="D2a",
        title="the recursion with all pairs, one step",
        printed=r"H^{(l)}=D_{f'}W^\top H^{(l+1)}WD_{f'}+\mathrm{diag}\Big(f''\odot\frac{\partial E}{\partial x}\Big)",
        verdict="lost",
        remark="Every pattern has a whole matrix, so that nothing is dropped, at the price of N width^3 steps.",
        where="S0, Computing the second derivative, with all pairs",
        code="nn.Linear.backward_hessian_full, nn.Activation.backward_hessian_full",
        notebook="02, section 4",
        draw=_draw_full_step,
        right=_full_step,
        referees=(Form("complex step of dE/da", _full_step_by_complex_step),),
        wrong=(
            Form("pairs l != m dropped", _full_step_wrong(pairs=False), "That is the slide's recursion."),
            Form("f' on one side only", _full_step_wrong(both=False), "Both units of a pair pass their activations."),
            Form("f'' dropped", _full_step_wrong(second=0.0), "That is the Gauss-Newton matrix."),
            Form("sign of f''", _full_step_wrong(second=-1.0), "The product rule adds its two terms."),
        ),
    ),
)
