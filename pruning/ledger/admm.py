"""The alternating direction method of multipliers: its problem and its three steps, as printed and as meant."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import textbook
from pruning.ledger.convergence import best_on_faces, draw_ball, nearest_in_ball
from pruning.ledger.core import Form, Formula
from pruning.penalties import admm
from textbook.splitting import least_squares_prox

Points = tuple[np.ndarray, ...]
RHO = 2.0
ITERATIONS = 100


def _linear(w: np.ndarray) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(len(w), 1, np.random.default_rng(0), bias=False))
    dict(net.named_parameters())["0.W"].data = w[None]
    return net


def _least_squares(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(X, y, rcond=None)[0]


# S3-F4: whose constraint it is.


def _split(constrains_x: bool, constrains_z: bool) -> Callable[[np.ndarray, np.ndarray, float], np.ndarray]:
    def form(X: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
        step = least_squares_prox(X, y)

        def in_ball(v: np.ndarray, _: float) -> np.ndarray:
            return textbook.project_l1_ball(v, radius)

        return textbook.admm(
            (lambda v, rho: in_ball(step(v, rho), rho)) if constrains_x else step,
            in_ball if constrains_z else lambda v, _: v,
            np.zeros(X.shape[1]), RHO, tol_abs=1e-13, tol_rel=1e-13, max_iter=ITERATIONS,
        ).z  # fmt: skip

    return form


def _cut_afterwards(X: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(textbook.project_l1_ball(_least_squares(X, y), radius))


# S3-F6: the step in W.


def _draw_w_step(rng: np.random.Generator) -> dict[str, Any]:
    X = rng.standard_normal((9, 6))
    y, Y, U = rng.standard_normal(9), rng.standard_normal(6), rng.standard_normal(6)
    return {"X": X, "y": y, "Y": Y, "U": U, "rho": float(rng.uniform(2, 3))}


def _w_step(X: np.ndarray, y: np.ndarray, Y: np.ndarray, U: np.ndarray, rho: float) -> Points:
    net = _linear(np.zeros(6))
    split = admm.ADMM(net, {"0.W": admm.weights(6)}, 2 * rho)  # the loss of nn has no half
    split.Y, split.U = {"0.W": Y[None]}, {"0.W": U[None]}
    optimizer = nn.SGD(net.parameters(), float(0.5 / (rho + np.linalg.norm(X, 2) ** 2 / 18)))
    for _ in range(60):
        nn.training.training_step(net, nn.SquaredError(), optimizer, X.T, y[None], [split])
    by_gradients = split.parameters["0.W"].data[0]
    return least_squares_prox(X, y)(Y - U, rho), least_squares_prox(X[:4], y[:4])(Y - U, rho), by_gradients


def _w_step_stacked(X: np.ndarray, y: np.ndarray, Y: np.ndarray, U: np.ndarray, rho: float) -> Points:
    # The quadratic term is six more rows of the least-squares problem: sqrt(rho) W = sqrt(rho) (Y - U).
    def solved(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows = np.vstack([X / np.sqrt(len(y)), np.sqrt(rho) * np.eye(6)])
        return np.linalg.lstsq(rows, np.append(y / np.sqrt(len(y)), np.sqrt(rho) * (Y - U)), rcond=None)[0]

    return solved(X, y), solved(X[:4], y[:4]), solved(X, y)


def _w_step_wrong(
    sign: float = -1.0, factor: float = 1.0, copy: float = 1.0, mean: bool = True
) -> Callable[..., Points]:
    def form(X: np.ndarray, y: np.ndarray, Y: np.ndarray, U: np.ndarray, rho: float) -> Points:
        def solved(X: np.ndarray, y: np.ndarray) -> np.ndarray:
            n, r = len(y) if mean else 1, factor * rho
            return np.linalg.solve(X.T @ X / n + r * np.eye(6), X.T @ y / n + r * (copy * Y + sign * U))

        return solved(X, y), solved(X[:4], y[:4]), solved(X, y)

    return form


# S3-F7 and S3-F8: the steps in Y and U.

Step = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Run = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def _companion(X: np.ndarray, y: np.ndarray, radius: float, iterations: int = ITERATIONS) -> Points:
    step, net = least_squares_prox(X, y), _linear(_least_squares(X, y))
    split = admm.ADMM(net, {"0.W": lambda v: textbook.project_l1_ball(v, radius)}, RHO)
    for _ in range(iterations):
        split.parameters["0.W"].data = step((split.Y["0.W"] - split.U["0.W"])[0], RHO)[None]
        split.update()
    return split.Y["0.W"][0], split.U["0.W"][0]


def _copy(X: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return _companion(X, y, radius)[0]


def _multiplier(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    # U after two iterations, and the force rho U at rest, which does not tell by which way U got there.
    return _companion(X, y, radius, 2)[1], RHO * _companion(X, y, radius)[1]


def _multiplier_by_hand(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
    H, q = X.T @ X / len(y), X.T @ y / len(y)
    Y, U = nearest_in_ball(np.linalg.solve(H, q), radius), np.zeros(len(q))
    for _ in range(2):
        W = np.linalg.solve(H + RHO * np.eye(len(q)), q + RHO * (Y - U))
        Y = nearest_in_ball(W + U, radius)
        U = U + W - Y
    return U, best_on_faces(X, y, radius)[1]


def _with_y_step(project: Callable[[np.ndarray, np.ndarray], np.ndarray] | None, zero: bool = False) -> Run:
    # None never updates Y.
    def form(X: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
        step, W = least_squares_prox(X, y), _least_squares(X, y)
        Y, U = 0 * W if zero else textbook.project_l1_ball(W, radius), 0 * W
        for _ in range(ITERATIONS):
            W = step(Y - U, RHO)
            Y = textbook.project_l1_ball(project(W, U), radius) if project else Y
            U = U + W - Y
        return W

    return form


def _with_u_step(climb: Step) -> Callable[[np.ndarray, np.ndarray, float], Points]:
    def form(X: np.ndarray, y: np.ndarray, radius: float) -> Points:
        step, W = least_squares_prox(X, y), _least_squares(X, y)
        Y, U = textbook.project_l1_ball(W, radius), 0 * W
        found = []
        for _ in range(ITERATIONS):
            W, before = step(Y - U, RHO), Y
            Y = textbook.project_l1_ball(W + U, radius)
            U = climb(W, Y, U, before)
            found.append(U)
            if np.abs(U).max() > 1e9:
                return found[1], np.full(len(U), np.inf)
        return found[1], RHO * U

    return form


STATEMENTS = (
    Formula(
        id="S3-F4",
        title="the split",
        printed=r"\min_{\{W_i\}}f(\{W_i\}_{i=1}^N)+\sum_{i=1}^Ng_i(W_i)\quad\text{subject to}\quad W_i=Y_i",
        verdict="slip",
        remark="It must be g(Y): with g(W) nothing is separated, and the step in Y has nothing to do.",
        where="S3, equation (3)",
        code="textbook.admm",
        notebook="14, section 1",
        tolerance=1e-8,
        draw=draw_ball,
        draws=2,
        right=_split(constrains_x=False, constrains_z=True),
        referees=(Form("all faces of the ball", lambda X, y, radius: best_on_faces(X, y, radius)[0]),),
        wrong=(
            Form(
                "g on W, where gradients do not see it",
                _split(constrains_x=False, constrains_z=False),
                "Y := W + U, so U = 0, and W ends at the minimum without any constraint.",
            ),
            Form(
                "g on W, as a cut after the step",
                _split(constrains_x=True, constrains_z=False),
                "The minimum of f plus a quadratic, then projected, is not the minimum inside the set.",
            ),
            Form("cut after training", _cut_afterwards, "The nearest point to the minimum is not the best in the set."),
        ),
    ),
    Formula(
        id="S3-F6",
        title="the step in W",
        printed=r"W_i^{k+1}:=\arg\min_{W_i}L_P(\{W_i\},\{Y_i^k\},\{U_i^k\})",
        verdict="right",
        remark="P is a rho that the conversion misread; for a quadratic f the step is one linear system.",
        where="S3, equation (5)",
        code="textbook.splitting.least_squares_prox, pruning.penalties.admm.ADMM.add_gradient",
        notebook="14, section 3",
        tolerance=1e-11,
        draw=_draw_w_step,
        right=_w_step,
        referees=(Form("stacked least squares", _w_step_stacked),),
        wrong=(
            Form("sign of U", _w_step_wrong(sign=1.0), "W is pulled to Y + U, away from where it has to go."),
            Form("U forgotten", _w_step_wrong(sign=0.0), "This is the penalty method, which needs an infinite rho."),
            Form("Y forgotten", _w_step_wrong(copy=0.0), "W is pulled to zero: weight decay."),
            Form("rho/2 for rho", _w_step_wrong(factor=0.5), "The half in front goes when the square is derived."),
            Form("sum for mean", _w_step_wrong(mean=False), "rho has the units of the curvature of this very f."),
        ),
    ),
    Formula(
        id="S3-F7",
        title="the step in Y",
        printed=r"Z_i^{k+1}:=\arg\min_{Z_i}L_P(\{W_i^{k+1}\},\{Y_i\},\{U_i^k\})",
        verdict="slip",
        remark="There is no Z: Y becomes the projection of W + U.",
        where="S3, equation (6)",
        code="pruning.penalties.admm.ADMM.update",
        notebook="14, section 3",
        tolerance=1e-8,
        draw=draw_ball,
        draws=2,
        right=_copy,
        referees=(Form("all faces of the ball", lambda X, y, radius: best_on_faces(X, y, radius)[0]),),
        wrong=(
            Form(
                "Z as printed, from Y = 0",
                _with_y_step(None, zero=True),
                "Y is never updated, and W follows it to zero: the net is erased.",
            ),
            Form(
                "Z as printed, from the projection",
                _with_y_step(None),
                "Y is never updated: this is pruning in one shot, by a long way round.",
            ),
            Form("projection of W", _with_y_step(lambda W, U: W), "W stops where it first meets the set."),
            Form("projection of W - U", _with_y_step(lambda W, U: W - U), "U pushes the wrong way."),
        ),
    ),
    Formula(
        id="S3-F8",
        title="the step in U",
        printed=r"U_i^{k+1}:=U_i^k+W_i^{k+1}-Y_i^{k+1}",
        verdict="right",
        remark="At rest rho U is minus the gradient of the loss: the force that holds the weights in the set.",
        where="S3, equation (7)",
        code="pruning.penalties.admm.ADMM.update",
        notebook="14, section 3",
        tolerance=1e-8,
        draw=draw_ball,
        draws=2,
        right=_multiplier,
        referees=(Form("two steps by hand, -grad f on the best face", _multiplier_by_hand),),
        wrong=(
            Form("U - W + Y", _with_u_step(lambda W, Y, U, _: U - W + Y), "It descends in U, and explodes."),
            Form(
                "uphill on (4) as printed",
                _with_u_step(lambda W, Y, U, _: U + (W - Y + U)),
                "Without -(rho/2) ||U||^2 the slope in U has U itself in it, and doubles it.",
            ),
            Form(
                "U never updated", _with_u_step(lambda W, Y, U, _: U), "The two copies stay apart: the penalty method."
            ),
            Form("W - Y", _with_u_step(lambda W, Y, U, _: W - Y), "U has to add up all differences so far."),
            Form(
                "the Y before its step",
                _with_u_step(lambda W, Y, U, before: U + W - before),
                "It comes to rest at the same point by another way: U belongs to the new Y.",
            ),
        ),
    ),
)
