"""Optimal brain damage: the expansion of E, the model that is kept of it, and the saliency of a weight."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from nn.curvature import gradient, hess_diag, hessian_vector_product, matrix
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.ledger.curvature import Case, random_case
from pruning.pipeline import three_stages
from pruning.scores import magnitude, obd

# S0-F1.  What the expansion leaves over must shrink with the third power of the step.

MODELS = (  # name, factors of the gradient and of the off-diagonal terms, and what is wrong
    ("as printed", 1.0, 0.5, ""),
    ("off-diagonal terms dropped", 1.0, 0.0, "What is left over is then of second order."),
    ("gradient dropped", 0.0, 0.5, "Away from a minimum the term of first order is the largest of all."),
    ("off-diagonal terms without the half", 1.0, 1.0, "The sum runs over ordered pairs, so that each comes twice."),
    ("half, and each pair once", 1.0, 0.25, "Either the pairs are ordered or there is no half in front of them."),
)


def _terms(case: Case, d: np.ndarray) -> tuple[float, float, float]:
    # The sums of g_i d_i, of h_ii d_i^2, and of h_ij d_i d_j over the ordered pairs i != j.
    along = matrix.split(case[0], d)
    g, h, Hd = gradient(*case), hess_diag(*case, "exact"), hessian_vector_product(*case, along)
    diagonal = _dot(h, {name: v * v for name, v in along.items()})
    return _dot(g, along), diagonal, _dot(Hd, along) - diagonal


def _dot(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    return float(sum(np.sum(a[name] * b[name]) for name in a))


def _slope(case: Case, directions: np.ndarray, parabolas: Sequence[tuple[float, float]]) -> float:
    # The power of the step with which that shrinks what a parabola, g s + h s^2 along each direction, leaves over.
    u, left = gradcheck.flat(case[0]), []
    E = float(gradcheck.energy(*case, u))
    for size in (0.004, 0.002):
        rests = [
            float(gradcheck.energy(*case, u + s * d)) - E - g * s - h * s * s
            for d, (g, h) in zip(directions, parabolas)
            for s in (size, -size)  # the squares over both signs have no term of the next order
        ]
        left.append(np.linalg.norm(rests))
    gradcheck.set_flat(case[0], u)
    return float(np.log2(left[0] / left[1]))


def _expansion(rng: np.random.Generator) -> Iterator[Measured]:
    case = random_case(rng, (2, 4, 3, 2))
    K = len(gradcheck.flat(case[0]))
    directions = rng.standard_normal((8, K))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    terms = [_terms(case, d) for d in directions]
    for name, first, half, message in MODELS:
        parabolas = [(first * linear, diagonal / 2 + half * pairs) for linear, diagonal, pairs in terms]
        off = abs(_slope(case, directions, parabolas) - 3)
        yield Measured(f"|slope - 3|, {name}", off, wrong=bool(message), message=message)
    alone = [(linear, diagonal / 2) for linear, diagonal, _ in (_terms(case, d) for d in np.eye(K))]
    yield Measured("|slope - 3|, each weight alone, by g_k and h_kk", abs(_slope(case, np.eye(K), alone) - 3))


# S0-F2.  Nets of affine layers without biases, y = W x or W_2 W_1 x, whose E is a polynomial of the weights.


def _linear_net(*weights: np.ndarray) -> nn.Sequential:
    net = nn.Sequential(*(nn.Linear(W.shape[1], W.shape[0], np.random.default_rng(0), bias=False) for W in weights))
    for parameter, W in zip(net.parameters(), weights):
        parameter.data = W
    return net


def _minimum(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    W: np.ndarray = np.linalg.lstsq(x.T, t.T)[0].T
    return W


def _change(weights: tuple[np.ndarray, ...], keep: tuple[np.ndarray, ...], x: np.ndarray, t: np.ndarray) -> float:
    # The true change of the mean squared error, relative to what it was.
    before, after = x, x
    for W, mask in zip(weights, keep):
        before, after = W @ before, W * mask @ after
    return float(np.sum((t - after) ** 2) / np.sum((t - before) ** 2)) - 1


def _parts(
    weights: tuple[np.ndarray, ...], keep: tuple[np.ndarray, ...], x: np.ndarray, t: np.ndarray
) -> dict[str, float]:
    # The package's account of the same change, relative to E as well.
    net, objective = _linear_net(*weights), three_stages.Objective(nn.SquaredError(), (x, t), (x, t))
    named = {name: mask for (name, _), mask in zip(net.named_parameters(), keep)}
    parts = three_stages.account(net, named, objective, objective.curvature(net), objective.gradient(net))
    return {name: part / objective.value(net) for name, part in parts.items()}


def _three_approximations(rng: np.random.Generator) -> Iterator[Measured]:
    draw = rng.standard_normal
    x, t, W, V = draw((4, 12)), draw((3, 12)), draw((3, 4)), draw((4, 4))
    orthogonal = np.linalg.qr(x.T)[0].T * 12**0.5
    many = rng.permutation(np.arange(12) % 2.0).reshape(3, 4)
    half = rng.permutation(np.arange(16) % 2.0).reshape(4, 4)
    one = np.where(np.arange(12) == rng.integers(12), 0.0, 1.0).reshape(3, 4)
    best, best_orthogonal = _minimum(x, t), _minimum(orthogonal, t)

    def off(names: str, *arguments: Any) -> float:
        parts = _parts(*arguments)
        return abs(sum(parts[name] for name in names.split(" + ")) - _change(*arguments))

    OBD, FULL = "diagonal", "gradient + diagonal + off_diagonal"
    yield Measured("orthogonal inputs, at the minimum", off(OBD, (best_orthogonal,), (many,), orthogonal, t))
    yield Measured("one weight, with -g u", off("gradient + diagonal", (W,), (one,), x, t))
    yield Measured("the same, as one sum", abs(_one_sum(W, one, x, t) - _change((W,), (one,), x, t)))
    yield Measured("one layer, all terms of second order", off(FULL, (W,), (many,), x, t))
    for name, error, message in (
        ("diagonal: inputs not orthogonal", off(OBD, (best,), (many,), x, t), "Weights into one unit interact."),
        ("extremal: before the minimum", off(OBD, (W,), (one,), x, t), "There -g u is missing."),
        ("quadratic: two layers", off(FULL, (V, W), (half, many), x, t), "E is of degree four there."),
    ):
        yield Measured(name, error, wrong=True, message=message)


def _one_sum(W: np.ndarray, keep: np.ndarray, x: np.ndarray, t: np.ndarray) -> float:
    net, loss = _linear_net(W), nn.SquaredError()
    h, g = hess_diag(net, loss, x, t), gradient(net, loss, x, t)
    return obd.predicted_change(net, {"0.W": keep}, h, g) / float(loss.forward(W @ x, t))


# S0-F7a.  At a least-squares minimum the saliency is the price of a deletion to the last digit.


def _draw_least_squares(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": rng.standard_normal((4, 12)), "t": rng.standard_normal((3, 12))}


def _saliency(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    s: np.ndarray = obd.saliency(_linear_net(_minimum(x, t)), nn.SquaredError(), x, t)["0.W"]
    return s


def _deletions(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    W, increase = _minimum(x, t), np.zeros((3, 4))
    for k in np.ndindex(3, 4):
        pruned = W.copy()
        pruned[k] = 0
        increase[k] = np.mean(np.sum((t - pruned @ x) ** 2 - (t - W @ x) ** 2, axis=0))
    return increase


def _saliency_wrong(form: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def wrong(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return form(np.mean(2 * x * x, axis=1), _minimum(x, t))  # h_kk of the weights on input j is the mean of 2 x_j^2

    return wrong


def _squared_gradients(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    W = _minimum(x, t)
    fisher: np.ndarray = hess_diag(_linear_net(W), nn.SquaredError(), x, t, "fisher")["0.W"]
    return fisher * W * W / 2


# S0-F7b.  All weights into a unit times alpha, all weights out of it by alpha.


def _rescaled(rng: np.random.Generator) -> Iterator[Measured]:
    case = net, loss, x, t = random_case(rng, (3, 5, 4), hidden=nn.ReLU)
    twin, alpha = copy.deepcopy(net), rng.permutation([0.2, 0.5, 2.0, 4.0, 7.0])
    W, b, V, _ = twin.parameters()
    W.data, b.data, V.data = alpha[:, None] * W.data, alpha * b.data, V.data / alpha
    yield Measured("the same outputs", relative(twin.forward(x), net.forward(x)))
    s, s_twin = obd.saliency(*case), obd.saliency(twin, loss, x, t)
    yield Measured("the same saliencies", max(relative(s_twin[name], s[name]) for name in s))
    u, u_twin = magnitude.saliency(net), magnitude.saliency(twin)
    h, h_twin = hess_diag(*case), hess_diag(twin, loss, x, t)
    for name, error, message in (
        ("magnitude", max(relative(u_twin[key], u[key]) for key in u), "It can be changed at will in the same net."),
        ("curvature alone", max(relative(h_twin[key], h[key]) for key in u), "It scales with 1 / u^2."),
    ):
        yield Measured(name, error, wrong=True, message=message)


STATEMENTS = (
    Claim(
        id="S0-F1",
        title="the expansion of E",
        printed=r"\delta E=\sum_ig_i\delta u_i+\frac12\sum_ih_{ii}\delta u_i^2"
        r"+\frac12\sum_{i\neq j}h_{ij}\delta u_i\delta u_j+O(\|\delta U\|^3)",
        verdict="right",
        remark="What is left over shrinks with the third power of the step; the double sum runs over ordered pairs.",
        where="S0, Optimal brain damage",
        code="nn.curvature.gradient, nn.curvature.hess_diag, nn.curvature.hessian_vector_product",
        notebook="02, section 1",
        tolerance=0.01,
        measure=_expansion,
        referee="E along random steps",
    ),
    Claim(
        id="S0-F2",
        title="the model that OBD keeps",
        printed=r"\delta E=\frac12\sum_ih_{ii}\delta u_i^2",
        verdict="right if",
        remark="Right if nothing is lost by three approximations: diagonal, extremal (g = 0) and quadratic.",
        where="S0, Optimal brain damage",
        code="pruning.scores.obd.predicted_change, pruning.pipeline.three_stages.account",
        notebook="02, section 1",
        measure=_three_approximations,
        referee="E before and after",
    ),
    Formula(
        id="S0-F7a",
        title="the saliency of a weight",
        printed=r"s_k=h_{kk}u_k^2/2",
        verdict="right",
        remark="It is the increase of E if this weight alone is deleted, exactly so at a minimum of a quadratic E.",
        where="S0, OBD, step 4",
        code="pruning.scores.obd.saliency",
        notebook="02, section 6",
        draw=_draw_least_squares,
        right=_saliency,
        referees=(Form("every weight deleted", _deletions),),
        wrong=(
            Form("without the half", _saliency_wrong(lambda h, u: h * u * u), "The series of Taylor has a half here."),
            Form("|u| for u^2", _saliency_wrong(lambda h, u: h * abs(u) / 2), "The term h du^2 / 2 squares the step."),
            Form("magnitude", _saliency_wrong(lambda h, u: abs(u)), "It knows nothing of the loss or of the inputs."),
            Form(
                "curvature alone",
                _saliency_wrong(lambda h, u: h + 0 * u),
                "The step to zero is as long as the weight is large.",
            ),
            Form("squared gradients for h", _squared_gradients, "That is the empirical Fisher matrix."),
        ),
    ),
    Claim(
        id="S0-F7b",
        title="saliency in another scale",
        printed=r"W_1\to\mathrm{diag}(\alpha)W_1,\;W_2\to W_2\,\mathrm{diag}(1/\alpha):\quad s_k\to s_k",
        verdict="lost",
        remark="Rescaled ReLU units compute the same, and the saliencies, unlike the magnitudes, do not notice.",
        where="S0, OBD, against deleting by magnitude",
        code="pruning.scores.obd.saliency",
        notebook="02, section 6",
        measure=_rescaled,
        referee="the same net in another scale",
    ),
)
