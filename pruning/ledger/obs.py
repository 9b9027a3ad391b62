"""Optimal brain surgeon: deletion with the best answer of all other weights, one by one and in blocks.

The lecture names the method and prints no formula of it (Hassibi and Stork 1993); what stands here is restored.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import nn
from nn.curvature import matrix
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.scores import obd, obs

Array = np.ndarray
WHERE = "S0, Methods for pruning: Unstructured"


def _draw_bowl(rng: np.random.Generator) -> dict[str, Array]:
    # E = 1/2 du^T H du around the minimum u; the eigenvalues of H lie between 1 and 10.
    V = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    return {"H": V * rng.uniform(1, 10, 6) @ V.T, "u": rng.standard_normal(6)}


def _kkt(H: Array, u: Array, Q: Sequence[int]) -> tuple[float, Array]:
    # min 1/2 d^T H d subject to d_Q = -u_Q, by its Lagrangian: [H C; C^T 0] [d; m] = [0; -u_Q].
    C = np.eye(len(u))[:, list(Q)]
    whole = np.block([[H, C], [C.T, np.zeros((len(Q), len(Q)))]])
    d: Array = np.linalg.solve(whole, np.concatenate([0 * u, -u[list(Q)]]))[: len(u)]
    return float(d @ H @ d) / 2, d


def _each(H: Array, u: Array) -> tuple[Array, Array]:
    Hinv = matrix.invert(H)
    return obs.saliencies(u, Hinv), np.stack([obs.delete(u, Hinv, [q])[0] - u for q in range(len(u))])


def _each_by_kkt(H: Array, u: Array) -> tuple[Array, Array]:
    costs, steps = zip(*(_kkt(H, u, [q]) for q in range(len(u))))
    return np.array(costs), np.stack(steps)


def _each_as(cost: Callable[..., float] | None, step: Callable[..., Array] | None) -> Callable[..., Any]:
    # V is H^-1; what is None is right.
    def form(H: Array, u: Array) -> tuple[Array, Array]:
        V, weights = np.linalg.inv(H), range(len(u))
        s, steps = u**2 / (2 * np.diag(V)), [-u[q] / V[q, q] * V[:, q] for q in weights]
        s = s if cost is None else np.array([cost(H, V, q) * u[q] ** 2 for q in weights])
        return s, np.stack(steps if step is None else [u[q] * step(H, V, q) for q in weights])

    return form


def _draw_block(rng: np.random.Generator) -> dict[str, Array]:
    return {**_draw_bowl(rng), "Q": rng.permutation(6)[:3]}


def _left(H: Array, Q: Array) -> Array:
    # The inverse of what is left of H, between zeros.
    S = np.setdiff1d(np.arange(len(H)), Q)
    left = np.zeros_like(H)
    left[np.ix_(S, S)] = np.linalg.inv(H[np.ix_(S, S)])
    return left


def _block(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    Hinv = matrix.invert(H)
    return obs.block_saliency(u, Hinv, Q), *obs.delete(u, Hinv, Q)


def _block_by_kkt(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    cost, d = _kkt(H, u, Q.tolist())
    return cost, u + d, _left(H, Q)


def _one_by_one(downdate: bool) -> Callable[..., tuple[float, Array, Array]]:
    def form(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
        V, cost = np.linalg.inv(H), 0.0
        for q in Q:
            cost += u[q] ** 2 / (2 * V[q, q])
            u = u - u[q] / V[q, q] * V[:, q]
            V = V - np.outer(V[:, q], V[:, q]) / V[q, q] if downdate else V
        return cost, u, V if downdate else _left(H, Q)

    return form


def _added_up(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    s, steps = _each_by_kkt(H, u)
    return float(s[Q].sum()), u + steps[Q].sum(axis=0), _left(H, Q)


def _without_answer(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    deleted = u.copy()
    deleted[Q] = 0
    return float(u[Q] @ H[np.ix_(Q, Q)] @ u[Q]) / 2, deleted, _left(H, Q)


def _crossed_out(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    V = np.linalg.inv(H)
    V[Q], V[:, Q] = 0, 0
    return *_block_by_kkt(H, u, Q)[:2], V


def _no_half(H: Array, u: Array, Q: Array) -> tuple[float, Array, Array]:
    cost, new, left = _block_by_kkt(H, u, Q)
    return 2 * cost, new, left


def _draw_twins(rng: np.random.Generator) -> dict[str, Array]:
    # Weights 0 and 1 stand for one another: each is cheap to delete as long as the other is there.
    H, u = np.eye(5), np.concatenate([rng.uniform(0.9, 1.1, 2), rng.uniform(0.6, 0.8, 3)])
    H[0, 1] = H[1, 0] = rng.uniform(0.97, 0.99)
    return {"H": H, "u": u}


def _greedy(H: Array, u: Array) -> tuple[float, Array]:
    layer = nn.Linear(len(u), 1, np.random.default_rng(0), bias=False)
    layer.W.data = u[None, :].copy()
    cost = obs.prune(nn.Sequential(layer), matrix.invert(H), 2 / len(u))[1]
    return cost, layer.W.data[0]


def _greedy_by_kkt(H: Array, u: Array) -> tuple[float, Array]:
    gone: list[int] = []
    for _ in range(2):
        left = [q for q in range(len(u)) if q not in gone]
        gone.append(min(left, key=lambda q: _kkt(H, u, [*gone, q])[0]))
    cost, d = _kkt(H, u, gone)
    return cost, u + d


def _chosen_at_once(score: Callable[[Array, Array], Array]) -> Callable[..., tuple[float, Array]]:
    def form(H: Array, u: Array) -> tuple[float, Array]:
        cost, d = _kkt(H, u, np.argsort(score(H, u))[:2].tolist())
        return cost, u + d

    return form


def _greedy_without_downdate(H: Array, u: Array) -> tuple[float, Array]:
    V, cost, free = np.linalg.inv(H), 0.0, np.ones(len(u), bool)
    for _ in range(2):
        s = np.where(free, u**2 / (2 * np.diag(V)), np.inf)
        q = int(np.argmin(s))
        free[q], cost, u = False, cost + s[q], u - u[q] / V[q, q] * V[:, q]
    return float(cost), u


def _never_above(rng: np.random.Generator) -> Iterator[Measured]:
    worst = 0.0
    for _ in range(20):
        bowl = _draw_bowl(rng)
        s = obs.saliencies(bowl["u"], matrix.invert(bowl["H"]))
        worst = max(worst, float(np.max(s / (bowl["u"] ** 2 * np.diag(bowl["H"]) / 2) - 1)))
    yield Measured("s_OBS above s_OBD", worst)
    x, t = rng.standard_normal((5, 40)), np.ones((1, 40))
    w = np.append(rng.uniform(0.9, 1.1, 2), rng.uniform(0.5, 0.6, 3))
    x[1] = x[0] + 0.1 * rng.standard_normal(40)  # twins again
    ours = _both_of_a_layer(w, x, t)
    residuals = np.array([x[q] - _fitted(np.delete(x, q, 0), x[q]) for q in range(5)])
    theirs = w**2 * np.mean(x**2, axis=1), w**2 * np.mean(residuals**2, axis=1)
    yield Measured("length of an input, and of its residual", relative(ours, theirs))
    orthogonal = np.linalg.qr(x.T)[0].T
    yield Measured("equal for orthogonal inputs", relative(*_both_of_a_layer(w, orthogonal, t)))
    damage, surgeon = theirs
    excess = float(surgeon[np.argmin(damage)] / surgeon.min() - 1)
    yield Measured("both choose the same weight", excess, True, "OBD keeps a weight that its twin could replace.")
    inverse = "The inverse of the diagonal is not the diagonal of the inverse."
    yield Measured("1 / H_qq for [H^-1]_qq", relative(damage, surgeon), True, inverse)
    yield Measured(
        "OBS above OBD", float(np.max(damage / surgeon)) - 1, True, "An answer that may be zero cannot cost."
    )


def _fitted(x: Array, t: Array) -> Array:
    # The least-squares fit of t (N,) by the rows of x.
    return x.T @ np.linalg.lstsq(x.T, t, rcond=None)[0]


def _both_of_a_layer(w: Array, x: Array, t: Array) -> tuple[Array, Array]:
    layer, loss = nn.Linear(5, 1, np.random.default_rng(0), bias=False), nn.SquaredError()
    layer.W.data = w[None, :]
    net = nn.Sequential(layer)
    Hinv = matrix.inverse(net, loss, x, t)
    return obd.saliency(net, loss, x, t)["0.W"][0], obs.saliency(net, Hinv)["0.W"][0]


STATEMENTS = (
    Formula(
        id="S0-F8a",
        title="one deletion, and the answer of all others",
        printed=r"L_q=\frac{w_q^2}{2[H^{-1}]_{qq}},\qquad\delta w=-\frac{w_q}{[H^{-1}]_{qq}}H^{-1}e_q",
        verdict="lost",
        remark="The cheapest step that deletes w_q on the parabola, and its cost; the slide has the name only.",
        where=WHERE,
        code="pruning.scores.obs.saliencies, pruning.scores.obs.delete",
        notebook="10, section 1",
        draw=_draw_bowl,
        right=_each,
        referees=(Form("KKT system", _each_by_kkt),),
        wrong=(
            Form(
                "others stay (OBD)",
                _each_as(lambda H, V, q: H[q, q] / 2, lambda H, V, q: -np.eye(len(H))[q]),
                "That is optimal brain damage: the other weights may not answer.",
            ),
            Form(
                "no half",
                _each_as(lambda H, V, q: 1 / V[q, q], None),
                "The half of the Taylor expansion is missing: the ranking stays, the predicted increase doubles.",
            ),
            Form(
                "H_qq for [H^-1]_qq",
                _each_as(lambda H, V, q: 1 / (2 * H[q, q]), lambda H, V, q: -V[:, q] / H[q, q]),
                "The entry is one of the inverse; with that of H the weight does not end at zero.",
            ),
            Form(
                "step not divided",
                _each_as(None, lambda H, V, q: -V[:, q]),
                "Without the division by [H^-1]_qq the weight does not end at zero.",
            ),
            Form(
                "step along H e_q",
                _each_as(None, lambda H, V, q: -H[:, q] / H[q, q]),
                "This deletes w_q as well, but along a column of H in place of its inverse, and costs more.",
            ),
        ),
    ),
    Formula(
        id="S0-F8b",
        title="many deletions: the block and the downdate",
        printed=r"L_Q=\tfrac12w_Q^\top([H^{-1}]_{QQ})^{-1}w_Q,\qquad"
        r"H^{-1}\leftarrow H^{-1}-\frac{H^{-1}e_qe_q^\top H^{-1}}{[H^{-1}]_{qq}}",
        verdict="lost",
        remark="One by one with the downdate is the block; without it the weights deleted before come back.",
        where=WHERE,
        code="pruning.scores.obs.block_saliency, pruning.scores.obs.delete",
        notebook="10, section 3",
        draw=_draw_block,
        right=_block,
        referees=(Form("KKT system", _block_by_kkt), Form("one by one", _one_by_one(downdate=True))),
        wrong=(
            Form("no downdate", _one_by_one(downdate=False), "The next step brings back the weights deleted before."),
            Form("steps added up", _added_up, "Each step is right alone, and moves the other weights that have to go."),
            Form("H_QQ, no answer", _without_answer, "That is the parabola without any answer of the other weights."),
            Form(
                "rows crossed out of H^-1",
                _crossed_out,
                "What is left of the inverse is not the inverse of what is left.",
            ),
            Form("no half", _no_half, "The half of the Taylor expansion is missing."),
        ),
    ),
    Claim(
        id="S0-F8e",
        title="the surgeon is never dearer than the damage",
        printed=r"s_q^{OBS}=\frac{w_q^2}{2[H^{-1}]_{qq}}\le\frac{H_{qq}w_q^2}{2}=s_q^{OBD}",
        verdict="lost",
        remark="An answer can only help: 1/H_qq is at most [H^-1]_qq, and equal where the inputs are orthogonal.",
        where=WHERE,
        code="pruning.scores.obs.saliency, pruning.scores.obd.saliency",
        notebook="10, section 2",
        measure=_never_above,
        referee="residual of an input by the others",
    ),
    Formula(
        id="S0-F8f",
        title="greedy deletion scores anew every time",
        printed=r"q_{t+1}=\arg\min_q\frac{w_q^2}{2[H_t^{-1}]_{qq}},\qquad H_{t+1}^{-1}=\text{downdate of }H_t^{-1}",
        verdict="lost",
        remark="After each deletion the others are worth something else: of two twins only one may go.",
        where=WHERE,
        code="pruning.scores.obs.prune",
        notebook="10, section 3",
        draw=_draw_twins,
        right=_greedy,
        referees=(Form("every next weight tried", _greedy_by_kkt),),
        wrong=(
            Form(
                "scored once",
                _chosen_at_once(lambda H, u: u**2 / np.diag(np.linalg.inv(H))),
                "Each twin is cheap because the other stays; both of them go.",
            ),
            Form(
                "chosen by H_qq w_q^2 (OBD)",
                _chosen_at_once(lambda H, u: u**2 * np.diag(H)),
                "The choice ignores the answer that is then given, and keeps both twins.",
            ),
            Form(
                "no downdate",
                _greedy_without_downdate,
                "The second twin still counts on the first, and brings it back.",
            ),
        ),
    ),
)
