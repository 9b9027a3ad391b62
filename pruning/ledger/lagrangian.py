"""The augmented Lagrangian of ADMM: what (4) leaves out, and its scaled and its unscaled form."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import textbook
from nn import gradcheck
from pruning.ledger.convergence import draw_ball, nearest_in_ball
from pruning.ledger.core import Form, Formula
from pruning.penalties import admm
from textbook.splitting import least_squares_prox

Points = tuple[np.ndarray, ...]


# S3-F5: the augmented Lagrangian.

SHAPES = ((4, 3), (2, 4))
Penalty = Callable[[float, np.ndarray, np.ndarray], Any]


def _draw_lagrangian(rng: np.random.Generator) -> dict[str, Any]:
    W, Y, U = ([rng.standard_normal(shape) for shape in SHAPES] for _ in range(3))
    x, t = rng.standard_normal((3, 7)), rng.standard_normal((2, 7))
    return {"x": x, "t": t, "W": W, "Y": Y, "U": U, "rho": tuple(rng.uniform(0.5, 3, 2))}


def _lagrangian(
    x: np.ndarray, t: np.ndarray, W: list[np.ndarray], Y: list[np.ndarray], U: list[np.ndarray], rho: tuple[float, ...]
) -> Points:
    rng, loss, names = np.random.default_rng(0), nn.SquaredError(), ("0.W", "2.W")
    net = nn.Sequential(nn.Linear(3, 4, rng, bias=False), nn.Tanh(), nn.Linear(4, 2, rng, bias=False))
    split = admm.ADMM(net, {name: admm.weights(3) for name in names}, dict(zip(names, rho)))
    for name, w in zip(names, W):
        split.parameters[name].data = w
    split.Y, split.U = dict(zip(names, Y)), dict(zip(names, U))
    f = float(loss.forward(net.forward(x), t))
    net.backward_parameters(loss.backward())
    split.add_gradient()
    L = f + split.penalty() - sum(r / 2 * np.sum(u**2) for r, u in zip(rho, U))
    return np.array(L), *(np.asarray(split.parameters[name].grad) for name in names)


def _by_complex_step(penalty: Penalty) -> Callable[..., Points]:
    # f + sum of penalty(rho, W - Y, U): its value, and its slope along every entry of W.
    def form(
        x: np.ndarray, t: np.ndarray, W: list[np.ndarray], Y: list[np.ndarray], U: list[np.ndarray],
        rho: tuple[float, ...],
    ) -> Points:  # fmt: skip
        def L(W: list[np.ndarray]) -> Any:
            f = np.sum((t - W[1] @ np.tanh(W[0] @ x)) ** 2) / x.shape[1]
            return f + sum(penalty(r, w - y, u) for r, w, y, u in zip(rho, W, Y, U))

        slopes = [np.zeros(w.shape) for w in W]
        for i, slope in enumerate(slopes):
            for index in np.ndindex(slope.shape):
                step = [w.astype(complex) for w in W]
                step[i][index] += 1j * gradcheck.COMPLEX_STEP
                slope[index] = np.imag(L(step)) / gradcheck.COMPLEX_STEP
        return np.array(L(W)), *slopes

    return form


# C4: scaled and unscaled form.


RHOS = (0.5, 0.5, 1.5, 1.5, 4.0)


def _scaled(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    net = nn.Sequential(nn.Linear(5, 1, np.random.default_rng(0), bias=False))
    step, W = least_squares_prox(X, y), dict(net.named_parameters())["0.W"]
    W.data = np.linalg.lstsq(X, y, rcond=None)[0][None]
    split = admm.ADMM(net, {"0.W": lambda v: textbook.project_l1_ball(v, radius)}, RHOS[0])
    for rho in RHOS:
        split.set_rho(rho)
        W.data = step((split.Y["0.W"] - split.U["0.W"])[0], rho)[None]
        split.update()
    return W.data[0], split.Y["0.W"][0], RHOS[-1] * split.U["0.W"][0]


def _unscaled(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    # f + <M, W - Y> + (rho/2) ||W - Y||^2: over W, then over the Y in the set, then uphill in M.
    H, q = X.T @ X / len(y), X.T @ y / len(y)
    Y, M = nearest_in_ball(np.linalg.solve(H, q), radius), np.zeros(5)
    for rho in RHOS:
        W = np.linalg.solve(H + rho * np.eye(5), q - M + rho * Y)
        Y = nearest_in_ball(W + M / rho, radius)
        M = M + rho * (W - Y)
    return W, Y, M


def _by_hand(
    climb: Callable[[float], float] = lambda rho: rho,
    U_stays: bool = False,
    returned: Callable[[float], float] = lambda rho: 1.0,
) -> Callable[[np.ndarray, np.ndarray, float], Points]:
    def form(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
        step, W = least_squares_prox(X, y), np.linalg.lstsq(X, y, rcond=None)[0]
        Y, M, last = textbook.project_l1_ball(W, radius), np.zeros(5), RHOS[0]
        for rho in RHOS:
            M, last = M * (rho / last if U_stays else 1.0), rho
            W = step(Y - M / rho, rho)
            Y = textbook.project_l1_ball(W + M / rho, radius)
            M = M + climb(rho) * (W - Y)
        return W, Y, returned(last) * M

    return form


STATEMENTS = (
    Formula(
        id="S3-F5",
        title="the augmented Lagrangian",
        printed=r"f(\{W_i\}_{i=1}^N)+\sum_{i=1}^N\frac{\rho_i}2\|W_i-Y_i+U_i\|_F^2",
        verdict="slip",
        remark="That is the objective of the step in W: g(Y) and -(rho/2) ||U||^2 are missing.",
        where="S3, equation (4)",
        code="pruning.penalties.admm.ADMM.penalty, pruning.penalties.admm.ADMM.add_gradient",
        notebook="14, section 1",
        draw=_draw_lagrangian,
        right=_lagrangian,
        referees=(
            Form(
                "complex step, unscaled form",
                _by_complex_step(lambda rho, r, U: np.sum(rho * U * r) + rho / 2 * np.sum(r * r)),
            ),
        ),
        wrong=(
            Form(
                "as printed",
                _by_complex_step(lambda rho, r, U: rho / 2 * np.sum((r + U) ** 2)),
                "The square was completed and its rest forgotten; the slope in W is right, the one in U is not.",
            ),
            Form(
                "norm for squared norm",
                _by_complex_step(lambda rho, r, U: rho / 2 * (np.sqrt(np.sum((r + U) ** 2)) - np.sqrt(np.sum(U**2)))),
                "The text calls it the Frobenius norm; it is the square of it.",
            ),
            Form(
                "rho for rho/2",
                _by_complex_step(lambda rho, r, U: rho * np.sum((r + U) ** 2) - rho * np.sum(U**2)),
                "With rho in front the multiplier of W = Y is 2 rho U.",
            ),
            Form(
                "sign of U",
                _by_complex_step(lambda rho, r, U: rho / 2 * np.sum((r - U) ** 2) - rho / 2 * np.sum(U**2)),
                "Its multiplier is -rho U, and the step in U of equation (7) goes downhill.",
            ),
            Form(
                "U taken for the multiplier",
                _by_complex_step(lambda rho, r, U: np.sum(U * r) + rho / 2 * np.sum(r * r)),
                "U is the multiplier over rho.",
            ),
        ),
    ),
    Formula(
        id="C4",
        title="scaled form = unscaled form",
        printed=r"\langle\Lambda,W-Y\rangle+\frac\rho2\|W-Y\|_F^2=\frac\rho2\|W-Y+U\|_F^2-\frac\rho2\|U\|_F^2,\quad"
        r"\Lambda=\rho U",
        verdict="lost",
        remark="The names are W, Y and U, never Z; if rho changes U follows, so that Lambda = rho U does not jump.",
        where="S3, equations (4) to (7), and Boyd et al. 2011, section 3.1.1",
        code="pruning.penalties.admm.ADMM.update, pruning.penalties.admm.ADMM.set_rho",
        notebook="07, section 1",
        draw=draw_ball,
        right=_scaled,
        referees=(Form("the unscaled form", _unscaled),),
        wrong=(
            Form("U stays when rho changes", _by_hand(U_stays=True), "The multiplier rho U jumps by the same factor."),
            Form(
                "step 1 for rho",
                _by_hand(climb=lambda rho: 1.0),
                "The multiplier climbs by rho (W - Y), and U by W - Y.",
            ),
            Form("U taken for Lambda", _by_hand(returned=lambda rho: 1 / rho), "They differ by the factor rho."),
        ),
    ),
)
