"""Importance carried back: NISP, its bound on masked nets, and what a change of units does to it and to others."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning.architectures import principal_filters
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.scores import nisp, taylor

Array = np.ndarray


# ---- D35: NISP -------------------------------------------------------------------------------------------------------
def _draw_net(rng: np.random.Generator) -> dict[str, Any]:
    """Two convolutions, batch norm, and a max-pool whose windows overlap; a score for each of 3 responses."""
    layers = [nn.Conv2d(2, 4, 3, rng), nn.ReLU(), nn.Conv2d(4, 3, 3, rng), nn.BatchNorm(3), nn.ReLU()]
    net = nn.Sequential(*layers, nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(12, 3, rng)).eval()
    norm: Any = net.layers[3]
    norm.gamma.data, norm.beta.data = rng.uniform(-1, 1, 3), rng.standard_normal(3)
    norm.running_mean, norm.running_variance = rng.standard_normal(3), rng.uniform(2, 5, 3)
    return {"net": net, "final": rng.uniform(0.5, 1, 3)}


def _nisp(net: Any, final: Array) -> tuple[Array, ...]:
    scores = nisp.saliency(net, final, (2, 7, 7))
    return scores["0.W"], scores["2.W"], scores["7.W"]


def _carried_back(
    weight: Callable[[Array], Array] = np.abs,
    norm: Callable[[Any], Array] = lambda bn: np.abs(bn.gamma.data) / np.sqrt(bn.running_variance + bn.eps),
    pixel: float = 1.0,
    reduced: Callable[[Array], Array] = lambda s: s.sum((1, 2)),
) -> Callable[..., tuple[Array, ...]]:
    """NISP of the net above in loops over windows and weights."""

    def form(net: Any, final: Array) -> tuple[Array, ...]:
        pooled = (weight(net.layers[7].W.data).T @ final).reshape(3, 2, 2)
        second, first, W = np.zeros((3, 3, 3)), np.zeros((4, 5, 5)), weight(net.layers[2].W.data)
        for i, j, k, m in np.ndindex(2, 2, 2, 2):
            second[:, i + k, j + m] += pixel * pooled[:, i, j]
        scaled = norm(net.layers[3])[:, None, None] * second
        for o, i, j, c, k, m in np.ndindex(3, 3, 3, 4, 3, 3):
            first[c, i + k, j + m] += W[o, c, k, m] * scaled[o, i, j]
        return reduced(first), reduced(second), final

    return form


# ---- D36: its bound --------------------------------------------------------------------------------------------------
def _bound(rng: np.random.Generator) -> Iterator[Measured]:
    net: Any = nn.models.mlp((4, 8, 6, 3), rng)
    final, x = rng.uniform(0.5, 1, 3), 10 * rng.standard_normal((4, 50))
    linears: list[Any] = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    for layer in linears:
        layer.b.data = rng.standard_normal(layer.b.shape)
    two, three = (layer.W.data for layer in linears[1:])
    b2, b3 = (layer.b.data[:, None] for layer in linears[1:])
    one = np.maximum(linears[0].W.data @ x + linears[0].b.data[:, None], 0)
    masks = rng.integers(0, 2, one.shape)

    def behind(z: Array) -> Array:
        return np.asarray(three @ np.maximum(two @ z + b2, 0) + b3)

    hidden, scores = np.maximum(two @ one + b2, 0), nisp.saliency(net, final, (4,))
    # In front of the last layer one unit alone is cut: there the bound is an equation, and anything below it breaks.
    alone = [np.where(np.arange(6)[:, None] == k, 0, hidden) for k in range(6)]
    cut = [final @ np.abs(three @ (hidden - each)) for each in alone]
    far = final @ np.abs(behind(one) - behind(masks * one))

    def broken(first: Array, last: Array, size: Callable[[Array], Array] = np.abs) -> float:
        over = [(far, first @ size(one - masks * one))]
        over += [(change, last @ size(hidden - each)) for change, each in zip(cut, alone)]
        return max(float(np.max((change - allowed) / np.maximum(change, 1e-9))) for change, allowed in over)

    yield Measured("bound broken", max(0.0, broken(scores["1.W"], scores["3.W"])))
    wrong: tuple[tuple[str, Callable[[Array], Array], str], ...] = (
        ("no absolute values", lambda W: W, "Weights of both signs cancel in the score, and not in the change."),
        ("squared weights", lambda W: W**2, "Weights below 1 get smaller by squaring; the bound has |w|."),
        ("a mean over the outputs", lambda W: np.abs(W) / 2, "Every response adds its share of the change."),
    )
    for name, weight, message in wrong:
        last = weight(three).T @ final
        yield Measured(name, max(0.0, broken(weight(two).T @ last, last)), True, message)
    loose = max(0.0, broken(scores["1.W"], scores["3.W"], lambda z: np.asarray(z != 0, dtype=float)))
    message = "The paper ranks by s_i and drops the |z_i| of its own bound: alone s_i bounds nothing."
    yield Measured("without |z|", loose, True, message)


# ---- D37: units ------------------------------------------------------------------------------------------------------
def _units(rng: np.random.Generator) -> Iterator[Measured]:
    net: Any = nn.models.mlp((4, 6, 3), rng)
    x, t, loss = rng.standard_normal((4, 40)), rng.integers(0, 3, 40), nn.SoftmaxCrossEntropy()
    first, last = net.layers[1], net.layers[3]
    first.b.data = np.full(6, 2.0)

    def scores() -> tuple[Array, Array, Array]:
        by_data = taylor.saliency(net, loss, x, t, ["1.W"])["1.W"]
        spectrum = principal_filters.spectrum(principal_filters.responses(net, x, ["1.W"])["1.W"])
        return nisp.saliency(net, np.ones(3), (4,), ["1.W"])["1.W"], by_data, spectrum

    y, before = net.forward(x), scores()
    first.W.data[2] *= 10
    first.b.data[2] *= 10
    last.W.data[:, 2] /= 10
    after, tenth = scores(), np.where(np.arange(6) == 2, 0.1, 1.0)
    yield Measured("the function", relative(net.forward(x), y))
    yield Measured("NISP: a tenth of the score", relative(after[0], tenth * before[0]))
    yield Measured("Taylor: the same score", relative(after[1], before[1]))
    message = "A map times 10 with its readers by 1/10 is the same net, but "
    yield Measured("NISP scores a function", relative(after[0], before[0]), True, message + "its score is a tenth.")
    yield Measured("PFA sees a function", relative(after[2], before[2]), True, message + "most of the energy is its.")


STATEMENTS = (
    Formula(
        id="D35",
        title="NISP: importance carried back through |net|",
        printed=r"s^{(l)}=|W^{(l+1)}|^Ts^{(l+1)}",
        verdict="right",
        remark="Batch norm is |gamma|/sqrt(var + eps), a max-pool copies, and a filter's positions are summed.",
        where="Yu et al. 2018, score propagation; named in the references of S1",
        code="pruning.scores.nisp.saliency",
        notebook="17, section 4",
        draw=_draw_net,
        draws=3,
        right=_nisp,
        referees=(Form("loops over windows and weights", _carried_back()),),
        wrong=(
            Form("no absolute values", _carried_back(lambda W: W), "Importance of both signs would cancel."),
            Form("squared weights", _carried_back(lambda W: W**2), "Errors pass with |w|, their squares with w^2."),
            Form(
                "batch norm without the root",
                _carried_back(norm=lambda bn: np.abs(bn.gamma.data) / (bn.running_variance + bn.eps)),
                "The layer divides by the deviation, the root of the variance.",
            ),
            Form(
                "batch norm left out",
                _carried_back(norm=lambda bn: np.ones(3)),
                "It multiplies each map by its own factor.",
            ),
            Form(
                "the pool shares out",
                _carried_back(pixel=0.25),
                "Any pixel can be the largest one: each has the score of its window.",
            ),
            Form("mean over positions", _carried_back(reduced=lambda s: s.mean((1, 2))), "A map goes as a whole."),
        ),
    ),
    Claim(
        id="D36",
        title="NISP's bound",
        printed=r"\sum_ks_k|F_k(z)-F_k(z')|\le\sum_is_i|z_i-z_i'|",
        verdict="right",
        remark="It holds for every mask if no activation is steeper than 1; the ranking then drops |z_i - z'_i|.",
        where="Yu et al. 2018, the bound that the propagation minimises",
        code="pruning.scores.nisp.saliency",
        notebook="17, section 4",
        referee="masked nets in NumPy",
        measure=_bound,
    ),
    Claim(
        id="D37",
        title="what units do to NISP and to principal filters",
        printed=r"z_i\to10z_i,\ w_{ji}\to w_{ji}/10:\quad f\to f,\ s_i\to s_i/10",
        verdict="lost",
        remark="Both change with the unit of a map, which the net does not; Taylor's score does not either.",
        where="derived here; Yu et al. 2018, Suau et al. 2018",
        code="pruning.scores.nisp.saliency, pruning.architectures.principal_filters.spectrum",
        notebook="17, section 4",
        referee="the same net in other units",
        measure=_units,
    ),
)
