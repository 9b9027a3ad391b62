"""What optimal brain damage has to take care of: the loop, h below zero, saturation, weight decay, and kinks."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from nn.curvature import gradient, hess_diag
from pruning import masks
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.ledger.curvature import random_case
from pruning.pipeline import three_stages
from pruning.scores import obd

# S0-F7c.  Six steps.


def _weights(net: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    # All prunable weights as one vector, and which of them are dead.
    found = masks.prunable(net).values()
    alive = [np.ones(u.shape) if u.mask is None else u.mask for u in found]
    return np.concatenate([u.data.ravel() for u in found]), np.concatenate([a.ravel() for a in alive]) == 0


def _loop(rng: np.random.Generator) -> Iterator[Measured]:
    # All errors are numbers of weights: of 2 x 9, each of two rounds deletes 2 x 3.
    net, loss, x, t = random_case(rng, (3, 3, 3), output=nn.Tanh)
    objective = three_stages.Objective(loss, (x, t), (x, t))

    def score(net: nn.Module) -> dict[str, np.ndarray]:
        return obd.saliency(net, loss, x, t, rule="lm")

    def contrary(net: nn.Module) -> dict[str, np.ndarray]:
        return {name: 1 - u.mask for name, u in masks.prunable(net).items()}  # as if the dead were worth most

    def retrain(net: nn.Module) -> None:
        optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
        for _ in range(5):
            nn.training.training_step(net, loss, optimizer, x, t)

    three_stages.prune_and_retrain(net, score, [1 / 3], objective, retrain, "layer")
    (_, dead), free, other = _weights(net), copy.deepcopy(net), copy.deepcopy(net)
    ranked_again = np.concatenate([mask.ravel() for mask in masks.smallest(score(net), 1 / 3, "layer").values()]) == 0
    for parameter in free.parameters():
        parameter.mask = None
    retrain(free)
    three_stages.prune_and_retrain(net, score, [2 / 3], objective, retrain, "layer")
    u, dead_now = _weights(net)
    three_stages.prune_and_retrain(other, contrary, [2 / 3], objective, scope="layer")
    yield Measured("6, then 12 are dead", abs(int(dead.sum()) - 6) + abs(int(dead_now.sum()) - 12))
    yield Measured("who is dead stays dead, and zero", int(np.sum(dead & ~dead_now) + np.sum(dead_now & (u != 0))))
    yield Measured("the dead stay dead whatever their score", int(np.sum(dead & ~_weights(other)[1])))
    for name, wrong, message in (
        ("retrained without masks", dead & (_weights(free)[0] != 0), "The gradient of a dead weight is not zero."),
        ("the dead ranked with the others", dead & ranked_again, "Their saliency is 0, and they would go once more."),
    ):
        yield Measured(name, int(np.sum(wrong)), wrong=True, message=message)


def _ranking(rng: np.random.Generator) -> Iterator[Measured]:
    net, loss, x, t = random_case(rng, (3, 3, 3), output=nn.Tanh)
    case = net, loss, x, -5 * np.sign(net.forward(x))  # far on the other side, where the output's f'' counts most
    h, s = hess_diag(*case), obd.saliency(*case)
    ties = masks.smallest({"W": np.ones((2, 3))}, 0.5)["W"]
    yield Measured("of equal ones the first go", int(np.sum(ties != [[0, 0, 0], [1, 1, 1]])))
    yield Measured("no saliency below zero", sum(int(np.sum(each < 0)) for each in s.values()))
    message = "A parabola that opens downwards promises a gain, and such weights would go before all others."
    plain = [h[name] * u.data * u.data / 2 for name, u in masks.prunable(net).items()]
    yield Measured("h u^2 / 2 as it is", sum(int(np.sum(each < 0)) for each in plain), wrong=True, message=message)


FIFTH = 0.2
"""By so much, relative, the sum of the true changes may differ from what was predicted."""

# D4.  One affine layer under a softmax, E = cross-entropy + decay/2 |W|^2: convex, so that Newton's method trains it.


def _probabilities(W: np.ndarray, x: np.ndarray) -> np.ndarray:
    exp = np.exp(W @ x - np.max((W @ x).real, axis=0))
    p: np.ndarray = exp / exp.sum(axis=0)
    return p


def _slope(W: np.ndarray, x: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    g: np.ndarray = (_probabilities(W, x) - t) @ x.T / x.shape[1] + decay * W
    return g


def _trained(x: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    W, now = np.zeros((len(t), len(x))), 1.0
    while now > decay:
        now = max(now / 10, decay)
        for _ in range(20):
            p = _probabilities(W, x)
            H = np.eye(len(p))[:, :, None] * p - p[:, None] * p
            H = np.einsum("lmn,in,jn->limj", H, x, x).reshape(W.size, W.size) / x.shape[1] + now * np.eye(W.size)
            W = W - np.linalg.solve(H, _slope(W, x, t, now).ravel()).reshape(W.shape)
    return W


def _affine(W: np.ndarray) -> nn.Sequential:
    layer = nn.Linear(W.shape[1], W.shape[0], np.random.default_rng(0), bias=False)
    layer.W.data = W
    return nn.Sequential(layer)


def _draw_decay(rng: np.random.Generator) -> dict[str, Any]:
    t = np.eye(3)[:, rng.integers(0, 3, 8)]
    return {"W": rng.standard_normal((3, 4)), "x": rng.standard_normal((4, 8)), "t": t, "decay": 0.3}


def _decayed(W: np.ndarray, x: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    s: np.ndarray = obd.saliency(_affine(W), nn.SoftmaxCrossEntropy(), x, t, weight_decay=decay)["0.W"]
    return s


def _decayed_by_complex_step(W: np.ndarray, x: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
    h = np.einsum("ijij->ij", gradcheck.complex_step(lambda V: _slope(V, x, t, decay), W))
    s: np.ndarray = h * W * W / 2
    return s


def _decayed_wrong(factor: float) -> Callable[..., np.ndarray]:
    def form(W: np.ndarray, x: np.ndarray, t: np.ndarray, decay: float) -> np.ndarray:
        p = _probabilities(W, x)
        s: np.ndarray = ((p * (1 - p)) @ (x * x).T / x.shape[1] + factor * decay) * W * W / 2
        return s

    return form


def _sum_of_changes(W: np.ndarray, x: np.ndarray, t: np.ndarray, decay: float) -> float:
    # Every weight deleted alone, and the changes of E added up.
    def E(V: np.ndarray) -> float:
        return float(decay / 2 * np.sum(V * V) - np.mean(np.sum(t * np.log(_probabilities(V, x)), axis=0)))

    alone = np.where(np.eye(W.size).reshape(W.size, *W.shape) == 1, 0, W)
    return sum(E(V) - E(W) for V in alone)


def _saturation(rng: np.random.Generator) -> Iterator[Measured]:
    x, t = rng.standard_normal((6, 6)), np.eye(3)[:, [0, 1, 2, 0, 1, 2]]  # six inputs in six dimensions: any labels fit
    for name, decay, message in (
        ("weight decay 0.2", 0.2, ""),
        ("hardly any decay", 1e-11, "Every p is 0 or 1 and p(1 - p) is nothing, while the deletions are long steps."),
    ):
        W = _trained(x, t, decay)
        ratio = _sum_of_changes(W, x, t, decay) / float(_decayed(W, x, t, decay).sum())
        beyond = max(0.0, abs(ratio - 1) - FIFTH)
        yield Measured(f"|true / predicted - 1| - 1/5, {name}", beyond, wrong=bool(message), message=message)


# D5.  Between its kinks a ReLU net under a squared error is a parabola in every single weight.


def _between_kinks(rng: np.random.Generator) -> Iterator[Measured]:
    case = net, loss, x, t = random_case(rng, (3, 4, 2), hidden=nn.ReLU)
    net.parameters()[1].data *= 0.2  # small biases, so that deletions switch units
    h, g = hess_diag(*case), gradient(*case)
    W, b, V, c = (parameter.data for parameter in net.parameters())

    def outputs(W: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, float]:
        a = W @ x + b[:, None]
        return a > 0, float(np.mean(np.sum((t - V @ np.maximum(a, 0) - c[:, None]) ** 2, axis=0)))

    live, E = outputs(W, V)
    pairs: tuple[list[tuple[float, float]], ...] = ([], [])
    for name, size in (("1.W", W.size), ("3.W", V.size)):
        for k in range(size):
            keep = np.ones(size)
            keep[k] = 0
            keep = keep.reshape(h[name].shape)
            now, after = outputs(W * keep, V) if name == "1.W" else outputs(W, V * keep)
            predicted = obd.predicted_change(net, {name: keep}, h, g)
            pairs[int(np.any(now != live))].append((predicted, after - E))
    (same, true), (flipped, true_there) = (np.array(each).T for each in pairs)
    yield Measured("no unit switches", relative(same, true))
    message = "Beyond a kink another parabola holds."
    yield Measured("some unit switches", relative(flipped, true_there), wrong=True, message=message)


def _at_a_kink(rng: np.random.Generator) -> Iterator[Measured]:
    net, x = nn.Sequential(nn.Linear(1, 1, rng, bias=False), nn.ReLU()), np.ones((1, 1))
    u, loss = np.zeros((1, 1)), nn.SquaredError()
    net.parameters()[0].data = u
    yield Measured("what the package takes is 0", abs(hess_diag(net, loss, x, x)["0.W"].item()))
    quotients = []
    for step in (0.1, 0.01, 0.001):
        quotients.append(gradcheck.second_differences(lambda: loss.forward(net.forward(x), x) / 2, u, step).item())
    expected = np.array([-9.5, -99.5, -999.5])  # 1/2 - 1/step
    yield Measured("1/2 - 1/step", relative(np.array(quotients), expected))
    for name, h, message in (
        (
            "0, as from the left",
            hess_diag(net, loss, x, x)["0.W"].item() / 2,
            "The package takes it, for ReLU'(0) = 0, but the quotient does not tend to it.",
        ),
        ("1, as from the right", 1.0, "There E is (a - 1)^2 / 2, but only there."),
    ):
        yield Measured(name, relative(np.full(3, h), expected), wrong=True, message=message)


STATEMENTS = (
    Claim(
        id="S0-F7c",
        title="the six steps as a loop",
        printed=r"\text{sort by }s_k,\text{ delete some low-saliency parameters, iterate to step 2}",
        verdict="right",
        remark="Dead weights stay zero and are not ranked again; h < 0 counts as 0; of equal ones the first go.",
        where="S0, OBD, steps 5 and 6",
        code="pruning.pipeline.three_stages.prune_and_retrain, pruning.masks.smallest",
        notebook="02b, section 9",
        tolerance=0,
        measure=lambda rng: (*_loop(rng), *_ranking(rng)),
        referee="counts",
    ),
    Formula(
        id="D4a",
        title="weight decay in the saliency",
        printed=r"E+\frac\lambda2\|u\|^2:\quad s_k=\frac12\Big(\frac{\partial^2E}{\partial u_k^2}+\lambda\Big)u_k^2",
        verdict="lost",
        remark="What was minimised is what is expanded: if decay was part of it, h grows by lambda everywhere.",
        where="S0, OBD, step 4, with weight decay",
        code="pruning.scores.obd.saliency, nn.curvature.hess_diag",
        notebook="02, section 7",
        draw=_draw_decay,
        right=_decayed,
        referees=(Form("complex step of dE/du", _decayed_by_complex_step),),
        wrong=(
            Form("decay left out", _decayed_wrong(0.0), "The gradient of the loss alone is not zero at this minimum."),
            Form("lambda/2 for lambda", _decayed_wrong(0.5), "The half goes when u^2 is differentiated twice."),
            Form("2 lambda", _decayed_wrong(2.0), "That belongs to a decay of lambda |u|^2, without the half."),
        ),
    ),
    Claim(
        id="D4b",
        title="a classifier that fits everything",
        printed=r"p\to0\text{ or }1:\quad h_{kk}\propto p(1-p)\to0,\quad s_k\to0,\quad\delta E\not\to0",
        verdict="lost",
        remark="Without weight decay OBD promises deletions at no price; with it the sum is right within a fifth.",
        where="S0, OBD, step 2: what a reasonable solution is",
        code="pruning.scores.obd.saliency",
        notebook="02, section 7",
        tolerance=0,
        measure=_saturation,
        referee="every weight deleted",
    ),
    Claim(
        id="D5a",
        title="deletions in a ReLU net",
        printed=r"\delta E=-g_ku_k+\tfrac12h_{kk}u_k^2\quad\text{if no unit switches on or off}",
        verdict="lost",
        remark="It is exact as long as no ReLU changes sides, for any size of the weight.",
        where="S0, Optimal brain damage, for ReLU",
        code="pruning.scores.obd.predicted_change",
        notebook="02, section 6",
        measure=_between_kinks,
        referee="every weight deleted",
    ),
    Claim(
        id="D5b",
        title="no second derivative at a kink",
        printed=r"E=\tfrac12(\max(a,0)-1)^2:\quad\frac{E(s)-2E(0)+E(-s)}{s^2}=\frac12-\frac1s",
        verdict="lost",
        remark="At a = 0 the quotient runs away; the package takes the derivatives from the left.",
        where="S0, Computing the second derivative, for ReLU",
        code="nn.gradcheck.second_differences, nn.ReLU",
        notebook="02, section 6",
        tolerance=1e-10,
        measure=_at_a_kink,
        referee="by hand",
    ),
)
