"""What the sources leave open and a program has to fix: means or sums, the kink of ReLU, and which of equals goes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from nn.curvature import gradient
from pruning import masks
from pruning.ledger.core import Form, Formula
from pruning.penalties import families, group_lasso

Array = np.ndarray


def _draw_squares(rng: np.random.Generator) -> dict[str, Array]:
    return {"W": rng.standard_normal((3, 4)), "x": rng.standard_normal((4, 10)), "t": rng.standard_normal((3, 10))}


def _squares(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
    # E, dE/dy, the diagonal of d2E/dy2, and dE/dW by batches of 4, 4 and 2 patterns.
    layer, loss = nn.Linear(4, 3, np.random.default_rng(0), bias=False), nn.SquaredError()
    layer.W.data = W
    E = np.asarray(loss.forward(W @ x, t))
    g, h = loss.backward(), loss.backward_hessian()
    return E, g, h, gradient(nn.Sequential(layer), loss, x, t, batch_size=4)["0.W"]


def _sum_of_squares(y: Array, t: Array) -> Any:
    return np.sum((t - y) ** 2)


def _squares_by_steps(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
    y, N = W @ x, x.shape[1]
    g = gradcheck.complex_step(lambda y: _sum_of_squares(y, t), y) / N
    # E is a parabola in each y, so that a step of 1 gives its curvature.
    around = [[_sum_of_squares(y + s * e.reshape(y.shape), t) for s in (-1, 0, 1)] for e in np.eye(y.size)]
    h = np.array([(low - 2 * middle + high) / N for low, middle, high in around]).reshape(y.shape)
    gW = gradcheck.complex_step(lambda W: _sum_of_squares(W @ x, t), W) / N
    return _sum_of_squares(y, t) / N, g, h, gW


def _squares_by_torch(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
    import torch

    w, y = (torch.tensor(each, requires_grad=True) for each in (W, W @ x))
    xs, ts, mse = torch.tensor(x), torch.tensor(t), torch.nn.functional.mse_loss
    E = mse(y, ts, reduction="sum") / x.shape[1]
    (g,) = torch.autograd.grad(E, y, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), y)
    (gW,) = torch.autograd.grad(mse(w @ xs, ts, reduction="sum") / x.shape[1], w)
    return tuple(each.detach().numpy() for each in (E, g, h, gW))


def _times(factor: Callable[[int, int], float]) -> Callable[..., tuple[Array, ...]]:
    def form(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
        return tuple(factor(*t.shape) * each for each in _squares_by_steps(W, x, t))

    return form


def _other_sign(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
    E, g, h, gW = _squares_by_steps(W, x, t)
    return E, -g, h, -gW


def _equal_batches(W: Array, x: Array, t: Array) -> tuple[Array, ...]:
    parts = [_squares_by_steps(W, x[:, a:b], t[:, a:b])[3] for a, b in ((0, 4), (4, 8), (8, 10))]
    return *_squares_by_steps(W, x, t)[:3], np.mean(parts, axis=0)


def _draw_ties(rng: np.random.Generator) -> dict[str, Array]:
    x = rng.integers(0, 2, (2, 4, 4, 3)).astype(float)
    x[0, :, :, 0] = 1  # four windows in which all are equal
    w = rng.standard_normal((3, 4))
    w[1] = 0
    return {
        "a": rng.permutation([-1.0, -1.0, 0.0, 0.0, 1.0, 2.0]),
        "x": x,
        "gy": rng.integers(1, 9, (2, 2, 2, 3)).astype(float),
        "scores": rng.permutation(np.repeat([0.0, 1.0, 2.0], [4, 10, 6])),
        "w": w,
    }


def _ties(a: Array, x: Array, gy: Array, scores: Array, w: Array) -> tuple[Array, ...]:
    relu, pool, net = nn.ReLU(), nn.MaxPool2d(2), nn.Sequential(nn.Linear(4, 3, np.random.default_rng(0), bias=False))
    relu.forward(a)
    slope, curvature = relu.backward_hessian(np.ones_like(a), 0 * a)
    pool.forward(x)
    (W,) = net.parameters()
    W.data, W.grad = w, np.zeros_like(w)
    group_lasso.add_subgradient(net, [families.filters(net, "0.W", 1.0)])
    return slope, curvature, pool.backward(gy), masks.smallest({"W": scores}, 0.3)["W"], W.grad[1]


def _ties_by_loops(
    a: Array, x: Array, gy: Array, scores: Array, w: Array, at_zero: float = 0.0, last: bool = False
) -> tuple[Array, ...]:
    slope = np.array([1.0 if each > 0 else at_zero if each == 0 else 0.0 for each in a])
    gx, keep = np.zeros_like(x), np.ones(len(scores))
    for c, i, j, n in np.ndindex(gy.shape):
        window = [(2 * i + k, 2 * j + l) for k, l in itertools.product((0, 1), repeat=2)]
        winner = max(reversed(window) if last else window, key=lambda p: x[c, p[0], p[1], n])  # the first of equals
        gx[c, winner[0], winner[1], n] = gy[c, i, j, n]
    order = sorted(range(len(scores)), key=lambda k: (scores[k], k))
    keep[order[:6]] = 0
    return slope, 0 * a, gx, keep, np.zeros(w.shape[1])


def _ties_by_torch(a: Array, x: Array, gy: Array, scores: Array, w: Array) -> tuple[Array, ...]:
    import torch

    ta, tx, tw = (torch.tensor(each, requires_grad=True) for each in (a, x, w))
    pooled = torch.nn.functional.max_pool2d(tx.permute(3, 0, 1, 2), 2) * torch.tensor(gy).permute(3, 0, 1, 2)
    sums = torch.relu(ta).sum(), pooled.sum(), torch.linalg.vector_norm(tw, dim=1).sum()
    slope, gx, gw = (torch.autograd.grad(E, u)[0].numpy() for E, u in zip(sums, (ta, tx, tw)))
    keep = torch.ones(len(scores), dtype=torch.float64)
    keep[torch.argsort(torch.tensor(scores), stable=True)[:6]] = 0
    return slope, 0 * a, gx, keep.numpy(), gw[1]


def _but(place: int, value: Callable[..., Array]) -> Callable[..., tuple[Array, ...]]:
    # The right conventions, but for one of the five.
    def form(**inputs: Any) -> tuple[Array, ...]:
        found = list(_ties_by_loops(**inputs))
        found[place] = value(**inputs)
        return tuple(found)

    return form


def _shared(x: Array, gy: Array, **_: Array) -> Array:
    C, H, W, N = gy.shape
    windows = x.reshape(C, H, 2, W, 2, N)
    wins = windows == windows.max(axis=(2, 4), keepdims=True)
    gx: Array = (wins / wins.sum(axis=(2, 4), keepdims=True) * gy[:, :, None, :, None]).reshape(x.shape)
    return gx


def _highest_first(scores: Array, **_: Array) -> Array:
    keep = np.ones(len(scores))
    keep[sorted(range(len(scores)), key=lambda k: (scores[k], -k))[:6]] = 0
    return keep


STATEMENTS = (
    Formula(
        id="C2",
        title="losses are means over the patterns",
        printed=r"E=\frac1N\sum_n\sum_i(t_{in}-y_{in})^2,\qquad\frac{\partial E}{\partial y}=\frac2N(y-t),"
        r"\qquad\frac{\partial^2E}{\partial y^2}=\frac2N",
        verdict="lost",
        remark="The slide sums squares without a half; a factor of E is one of gradient, curvature and saliency alike.",
        where="S0, Computing the second derivative",
        code="nn.SquaredError, nn.curvature.gradient",
        notebook="01, section 3",
        draw=_draw_squares,
        right=_squares,
        referees=(
            Form("complex step, and a parabola", _squares_by_steps),
            Form("torch's mse_loss", _squares_by_torch, needs="torch"),
        ),
        wrong=(
            Form("half", _times(lambda K, N: 0.5), "That is the other common form; rankings stay, predictions halve."),
            Form(
                "sum over patterns",
                _times(lambda K, N: N),
                "Then the step size has to know how many patterns there are.",
            ),
            Form("mean over outputs too", _times(lambda K, N: 1 / K), "That is the default of torch's mse_loss."),
            Form("t - y", _other_sign, "That way is up: the derivative of (t - y)^2 by y is 2 (y - t)."),
            Form(
                "mean of the means of batches",
                _equal_batches,
                "A smaller last batch would count as much as a full one.",
            ),
        ),
    ),
    Formula(
        id="C7",
        title="kinks and ties",
        printed=r"\mathrm{ReLU}'(0)=\mathrm{ReLU}''(a)=0,\qquad\partial\|w\|\,\big|_{w=0}\to0,\qquad"
        r"\text{the first of equals}",
        verdict="lost",
        remark="Max-pool routes to the first of equal pixels, and of equal scores the lowest index is deleted first.",
        where="S0 to S4 leave it open",
        code="nn.ReLU, nn.MaxPool2d, pruning.masks.smallest, pruning.penalties.group_lasso.add_subgradient",
        notebook="01, section 7.1",
        tolerance=0.0,
        draw=_draw_ties,
        right=_ties,
        referees=(Form("loops", _ties_by_loops), Form("torch", _ties_by_torch, needs="torch")),
        wrong=(
            Form(
                "ReLU'(0) = 1",
                lambda **k: _ties_by_loops(**k, at_zero=1.0),
                "A dead unit would get a gradient at zero.",
            ),
            Form(
                "ReLU'(0) = 1/2",
                lambda **k: _ties_by_loops(**k, at_zero=0.5),
                "Right as a subgradient, but not what others compute.",
            ),
            Form(
                "the last of equal pixels",
                lambda **k: _ties_by_loops(**k, last=True),
                "The gradient goes to another pixel than in torch.",
            ),
            Form("equal pixels share", _but(2, _shared), "One pixel wins; a share for each is another subgradient."),
            Form(
                "highest index first",
                _but(3, _highest_first),
                "Another sorting, another mask: only a stable one is repeatable.",
            ),
            Form(
                "all up to a threshold",
                _but(3, lambda scores, **_: (scores > np.sort(scores)[5]) * 1.0),
                "A threshold deletes all ties at once, and too many.",
            ),
            Form(
                "w / ||w|| at zero",
                _but(4, lambda w, **_: w[1] / np.linalg.norm(w[1])),
                "Zero by zero is not a number, and the net is lost.",
            ),
        ),
    ),
)
