"""Filter pruning by the sums of absolute weights: scores, greedy selection, sensitivity."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nn
from pruning import filters
from pruning.ledger.core import Form, Formula
from pruning.scores import filter_norm

Arrays = dict[str, np.ndarray]
"""The numbers of a net by name, all that the referees know of it."""


def arrays(net: nn.Module) -> Arrays:
    """Return parameters and buffers."""
    return {**{name: u.data for name, u in net.named_parameters()}, **dict(net.named_buffers())}


def convolved(x: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return maps of the same size as x, by windows: odd kernels, zeros around."""
    p = W.shape[2] // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (p, p), (p, p), (0, 0))), W.shape[2:], (1, 2))
    maps: np.ndarray = np.einsum("ocuv,chwnuv->ohwn", W, windows)
    return maps


def sums(W: np.ndarray) -> np.ndarray:
    """Return the sum of absolute weights of each filter."""
    return np.array([sum(abs(w) for w in row.ravel().tolist()) for row in W])


def most(scores: Sequence[float] | np.ndarray, m: int) -> list[int]:
    """Return which m scores are largest; of equal ones the first."""
    return sorted(sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:m])


# ---- S4-F5: scores, and which filters go -----------------------------------------------------------------------------
SHARE = 0.4
"""Of six filters: 3.6 would stay, so three do."""


def _draw_filters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    # The third and the fourth score are equal; eighths add up without rounding.
    W = rng.integers(8, 16, (6, 6, 3, 3)) / 8
    W[3] = W[2, ::-1, ::-1]
    W *= np.array([1, 4, 16, 16, 64, 256])[:, None, None, None] * rng.choice([-1, 1], W.shape)
    return {"W": rng.permutation(W)}


def _scored(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    conv = nn.Conv2d(6, 6, 3, None)
    conv.W.data = W
    scores = filter_norm.saliency(nn.Sequential(conv), ["0.W"])
    return scores["0.W"], np.isin(np.arange(6), filters.largest(scores, {"0.W": SHARE})["0.W"])


def _scored_as(
    score: Callable[[np.ndarray], np.ndarray] = sums,
    best: Callable[[np.ndarray], list[int]] = lambda scores: most(scores, 3),
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return lambda W: (score(W), np.isin(np.arange(6), best(score(W))))


# ---- S4-F7: several layers -------------------------------------------------------------------------------------------
def _draw_two_layers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    # Maps 0 and two others go.  What reads a map that goes is ten times as large, and ranks the filters in reverse.
    levels = np.array([1, *rng.permutation([2, 3, 4, 5]), 6])
    rank = rng.permutation(6)[:, None]
    kernels = np.where(levels > 3, 1 + rank, 10 * (6 - rank))
    W1, W2 = (rng.uniform(0.9, 1.1, shape) * rng.choice([-1, 1], shape) for shape in ((6, 3, 3, 3), (6, 6, 3, 3)))
    return {"W1": W1 * levels[:, None, None, None], "W2": W2 * kernels[:, :, None, None]}


def _greedy(W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    convs = [nn.Conv2d(c, n, k, np.random.default_rng(0)) for c, n, k in ((3, 6, 3), (6, 6, 3), (6, 1, 1))]
    convs[0].W.data, convs[1].W.data = W1, W2
    net = nn.Sequential(*convs)
    keep = filters.greedy(net, {"0.W": 0.5, "1.W": 0.5}, filter_norm.saliency)
    return np.array([np.isin(np.arange(6), rows) for rows in keep.values()])


def _greedy_over(seen: Callable[[list[int]], list[int]]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def form(W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
        first = most(sums(W1), 3)
        second = most([sum(np.abs(row[c]).sum() for c in seen(first)) for row in W2], 3)
        return np.array([np.isin(np.arange(6), rows) for rows in (first, second)])

    return form


# ---- S4-F12: one layer at a time -------------------------------------------------------------------------------------
SHARES = (0.0, 0.5, 0.7)
"""Of six filters six, three and one stay."""


def _draw_chain(rng: np.random.Generator) -> dict[str, Any]:
    convs = [nn.Conv2d(c, 6, 3, rng, padding=1, bias=False) for c in (2, 6)]
    head = nn.Flatten(), nn.Linear(96, 4, rng, bias=False)
    net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), *head)
    return {"net": net, "x": rng.standard_normal((2, 4, 4, 20)), "t": rng.integers(0, 4, 20)}


def _accuracy(scores: np.ndarray, t: np.ndarray) -> float:
    # The mean probability of the right class: an accuracy that moves with every weight.
    p = np.exp(scores - scores.max(axis=0))
    return float(np.mean((p / p.sum(axis=0))[t, np.arange(len(t))]))


def _sensitivity(net: nn.Module, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    curves = filters.sensitivity(
        net, ["0.W", "2.W"], SHARES, filter_norm.saliency, lambda small: _accuracy(small.forward(x), t)
    )
    return np.array(list(curves.values()))


def _masked(u: Arrays, x: np.ndarray, rows: dict[str, list[int]]) -> np.ndarray:
    # The net in NumPy, in which only these filters are not zero.
    for name in ("0.W", "2.W"):
        alive = np.isin(np.arange(6), rows.get(name, range(6)))
        x = np.maximum(convolved(x, u[name] * alive[:, None, None, None]), 0)
    scores: np.ndarray = u["5.W"] @ x.reshape(-1, x.shape[-1])
    return scores


def _sensitivity_of(together: Callable[[str], tuple[str, ...]], sign: int = 1) -> Callable[..., np.ndarray]:
    def form(net: nn.Module, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        u = arrays(net)
        best = {name: {m: most(sign * sums(u[name]), m) for m in (6, 3, 1)} for name in ("0.W", "2.W")}
        return np.array(
            [
                [_accuracy(_masked(u, x, {each: best[each][m] for each in together(name)}), t) for m in (6, 3, 1)]
                for name in best
            ]
        )

    return form


_alone = _sensitivity_of(lambda name: (name,))


def _relative_curves(net: nn.Module, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    curves = _alone(net, x, t)
    relative: np.ndarray = curves / curves[:, :1]
    return relative


STATEMENTS = (
    Formula(
        id="S4-F5",
        title="the score of a filter, and the m smallest",
        printed=r"s_j=\sum_{l=1}^{n_i}\sum|\mathcal K_l|",
        verdict="right",
        remark="It is the mean magnitude up to n_i k^2, which is the same for all filters of a layer.",
        where="S4, section 2, Determining which filters to prune",
        code="pruning.scores.filter_norm.saliency, pruning.filters.largest",
        notebook="11b, section 1",
        draw=_draw_filters,
        right=_scored,
        referees=(Form("loops over weights, a sort", _scored_as()),),
        wrong=(
            Form("root of squares", _scored_as(lambda W: np.sqrt((W**2).sum((1, 2, 3)))), "This is the norm L2."),
            Form("no absolute values", _scored_as(lambda W: W.sum((1, 2, 3))), "Weights of both signs cancel."),
            Form("sums over filters", _scored_as(lambda W: sums(W.swapaxes(0, 1))), "This scores the input channels."),
            Form("largest go", _scored_as(best=lambda s: most(-s, 3)), "The filters with the smallest sums go."),
            Form("round for floor", _scored_as(best=lambda s: most(s, 4)), "Of 3.6 filters three stay."),
            Form(
                "of equals the last",
                _scored_as(best=lambda s: [5 - j for j in most(s[::-1], 3)]),
                "Of equal scores the lowest index stays, so that a run can be repeated.",
            ),
        ),
    ),
    Formula(
        id="S4-F7",
        title="greedy selection over several layers",
        printed=r"\begin{array}{l}\text{The greedy pruning strategy does not count kernels}"
        r"\\\text{for the already pruned feature maps.}\end{array}",
        verdict="right",
        remark="In the first layer it chooses as the independent rule does; behind it, it can choose others.",
        where="S4, figure 3a, and section 2, Pruning filters across multiple layers",
        code="pruning.filters.greedy",
        notebook="11b, section 3",
        tolerance=0,
        draw=_draw_two_layers,
        right=_greedy,
        referees=(Form("sums over the kernels that stay", _greedy_over(lambda first: first)),),
        wrong=(
            Form("independent", _greedy_over(lambda _: list(range(6))), "Kernels of removed maps are counted."),
            Form(
                "kernels that go",
                _greedy_over(lambda first: [c for c in range(6) if c not in first]),
                "The kernels that go with a map have no part in the sum.",
            ),
            Form("the first kernels", _greedy_over(lambda first: [0, 1, 2]), "The maps that stay keep their kernels."),
        ),
    ),
    Formula(
        id="S4-F12",
        title="sensitivity: each layer alone",
        printed=r"\begin{array}{l}\text{We prune each layer independently and test the resulting}"
        r"\\\text{pruned network's accuracy on the validation set.}\end{array}",
        verdict="right",
        remark="Every curve starts at the accuracy of the dense net; it need not fall everywhere.",
        where="S4, section 2, Determining single layer's sensitivity to pruning, and figure 2b",
        code="pruning.filters.sensitivity",
        notebook="11b, section 4",
        draw=_draw_chain,
        draws=2,
        right=_sensitivity,
        referees=(Form("filters at zero, in NumPy", _alone),),
        wrong=(
            Form(
                "cuts pile up",
                _sensitivity_of(lambda name: ("0.W",) if name == "0.W" else ("0.W", "2.W")),
                "A layer is measured in the net whose other layers are whole.",
            ),
            Form("all layers at once", _sensitivity_of(lambda _: ("0.W", "2.W")), "Each layer is cut alone."),
            Form("largest go", _sensitivity_of(lambda name: (name,), -1), "The filters with the smallest sums go."),
            Form(
                "starts at one", _relative_curves, "The curves begin at the dense accuracy, and are not divided by it."
            ),
        ),
    ),
)
