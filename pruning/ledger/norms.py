"""Filter pruning among shortcuts and batch norms: what goes with a map, and what its score means."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import nn
from pruning import filters, surgery
from pruning.ledger.core import Form, Formula
from pruning.ledger.filters import Arrays, arrays, convolved, most, sums
from pruning.scores import filter_norm

NAMES = ("gamma", "beta", "running_mean", "running_variance")


def _norm(a: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    rows = [each[:, None, None, None] for each in (gamma, beta, mean, variance)]
    return rows[0] * (a - rows[2]) / np.sqrt(rows[3] + 1e-5) + rows[1]


def _normed(u: Arrays, conv: str, norm: str, x: np.ndarray, rows: Iterable[int]) -> np.ndarray:
    # Convolution and batch norm; all maps but these rows are zero.
    maps = _norm(convolved(x, u[f"{conv}.W"]), *(u[f"{norm}.{name}"] for name in NAMES))
    return maps * np.isin(np.arange(len(maps)), list(rows))[:, None, None, None]


def _with_statistics(net: nn.Module, rng: np.random.Generator) -> nn.Module:
    # As if it had been trained: none of the four arrays of a batch norm is all ones or zeros.
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm):
            n = layer.channels
            layer.gamma.data, layer.beta.data = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
            layer.running_mean, layer.running_variance = rng.standard_normal(n), rng.uniform(0.5, 2, n)
    return net.eval()


# ---- S4-F8: a block with a projection --------------------------------------------------------------------------------
def _draw_block(rng: np.random.Generator) -> dict[str, Any]:
    first, second = (nn.Conv2d(c, n, 3, rng, padding=1, bias=False) for c, n in ((3, 4), (4, 6)))
    shortcut = nn.Conv2d(3, 6, 1, rng, bias=False)
    levels = rng.permutation([1, 2, 4, 8, 16, 32])  # the filters of the body rank the other way round
    shortcut.W.data = shortcut.W.data / sums(shortcut.W.data)[:, None, None, None] * levels[:, None, None, None]
    second.W.data = second.W.data / sums(second.W.data)[:, None, None, None] / levels[:, None, None, None]
    body = nn.Sequential(first, nn.BatchNorm(4), nn.ReLU(), second, nn.BatchNorm(6))
    block = nn.Residual(body, nn.Sequential(shortcut, nn.BatchNorm(6)))
    net = nn.Sequential(block, nn.ReLU(), nn.Flatten(), nn.Linear(96, 5, rng))
    return {"net": _with_statistics(net, rng), "x": rng.standard_normal((3, 4, 4, 3))}


def _block(net: nn.Module, x: np.ndarray) -> np.ndarray:
    shares = {"0.shortcut.0.W": 0.5, "0.body.0.W": 0.5}
    y: np.ndarray = surgery.remove(net, filters.independent(net, shares, filter_norm.saliency)).forward(x)
    return y


def _block_of(rows: Callable[[Arrays], tuple[Iterable[int], Iterable[int]]]) -> Callable[..., np.ndarray]:
    # In NumPy: these maps of the body and of the shortcut stay, all others are zero.
    def form(net: nn.Module, x: np.ndarray) -> np.ndarray:
        u = arrays(net)
        of_body, of_shortcut = rows(u)
        inner = _normed(u, "0.body.0", "0.body.1", x, most(sums(u["0.body.0.W"]), 2))
        body = _normed(u, "0.body.3", "0.body.4", np.maximum(inner, 0), of_body)
        y = np.maximum(body + _normed(u, "0.shortcut.0", "0.shortcut.1", x, of_shortcut), 0)
        scores: np.ndarray = u["3.W"] @ y.reshape(96, -1) + u["3.b"][:, None]
        return scores

    return form


def _of_shortcut(u: Arrays) -> list[int]:
    return most(sums(u["0.shortcut.0.W"]), 3)


def _of_body(u: Arrays) -> list[int]:
    return most(sums(u["0.body.3.W"]), 3)


# ---- S4-F9, D17: batch norm ------------------------------------------------------------------------------------------
KEEP = (1, 3, 4)


def _draw_normed(rng: np.random.Generator) -> dict[str, Any]:
    conv, last = nn.Conv2d(2, 6, 3, rng, padding=1, bias=False), nn.Linear(96, 4, rng, bias=False)
    net = nn.Sequential(conv, nn.BatchNorm(6), nn.ReLU(), nn.Flatten(), last)
    return {"net": _with_statistics(net, rng), "x": rng.standard_normal((2, 4, 4, 3))}


def _removed(net: nn.Module, x: np.ndarray) -> np.ndarray:
    y: np.ndarray = surgery.remove(net, {"0.W": KEEP}).forward(x)
    return y


def _scores(u: Arrays, x: np.ndarray, rows: Iterable[int]) -> np.ndarray:
    y: np.ndarray = u["4.W"] @ np.maximum(_normed(u, "0", "1", x, rows), 0).reshape(96, -1)
    return y


def _without(*forgotten: str) -> Callable[..., np.ndarray]:
    # The arrays of batch norm that were forgotten keep their first entries instead of those of the maps that stay.
    def form(net: nn.Module, x: np.ndarray) -> np.ndarray:
        u = {name: array.copy() for name, array in arrays(net).items()}
        for name in forgotten:
            u[f"1.{name}"][list(KEEP)] = u[f"1.{name}"][: len(KEEP)].copy()
        return _scores(u, x, KEEP)

    return form


def _draw_stretched(rng: np.random.Generator) -> dict[str, Any]:
    drawn, signs = _draw_normed(rng), rng.permutation([1, 1, 1, 1, -1, -1])
    norm = dict(drawn["net"].named_parameters())["1.gamma"]
    norm.data = norm.data * signs
    return {**drawn, "alpha": rng.permutation([0.1, 0.3, 0.5, 2, 3, 9])}


def _twin(net: nn.Module, alpha: np.ndarray) -> nn.Module:
    # Filter j is alpha_j times as large, and so are mean and deviation of its map: the same function.
    twin = copy.deepcopy(net)
    conv, norm, *_ = (layer for _, layer in twin.children())
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm)
    conv.W.data = conv.W.data * alpha[:, None, None, None]
    norm.running_mean = norm.running_mean * alpha
    norm.running_variance = (norm.running_variance + norm.eps) * alpha**2 - norm.eps
    return twin


def _folded(net: nn.Module, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    twin = _twin(net, alpha)
    return filter_norm.saliency(surgery.fold_batchnorm(twin), ["0.W"])["0.W"], twin.forward(x)


def _folded_as(factor: Callable[[Arrays], Any]) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def form(net: nn.Module, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = arrays(_twin(net, alpha))
        return factor(u) * sums(u["0.W"]), _scores(arrays(net), x, range(6))

    return form


def _scores_of_the_whole(net: nn.Module, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u = arrays(net)
    return np.abs(u["1.gamma"]) / np.sqrt(u["1.running_variance"] + 1e-5) * sums(u["0.W"]), _scores(u, x, range(6))


def _stretched_alone(net: nn.Module, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u = arrays(net)
    stretched = {**u, "0.W": u["0.W"] * alpha[:, None, None, None]}
    return _scores_of_the_whole(net, x, alpha)[0], _scores(stretched, x, range(6))


STATEMENTS = (
    Formula(
        id="S4-F8",
        title="a block with a projection loses the maps of its shortcut",
        printed=r"\begin{array}{l}\text{The second layer of the residual block is pruned with the same filter index}"
        r"\\\text{as selected by the pruning of shortcut layer.}\end{array}",
        verdict="right",
        remark="The first convolution of the block is free; the small net computes what zeros in both branches do.",
        where="S4, section 2, Pruning filters across multiple layers, and figure 3b",
        code="pruning.filters.independent, pruning.surgery.remove",
        notebook="11, section 3",
        draw=_draw_block,
        right=_block,
        referees=(Form("zeroed maps, in NumPy", _block_of(lambda u: (_of_shortcut(u), _of_shortcut(u)))),),
        wrong=(
            Form(
                "filters of the body",
                _block_of(lambda u: (_of_body(u), _of_body(u))),
                "The scores of the shortcut's 1x1 kernels decide, not those of the second convolution.",
            ),
            Form(
                "each branch its own",
                _block_of(lambda u: (_of_body(u), _of_shortcut(u))),
                "Maps that are added go together.",
            ),
            Form(
                "the body alone",
                _block_of(lambda u: (_of_shortcut(u), range(6))),
                "The shortcut still adds its maps, so that none of them is gone.",
            ),
        ),
    ),
    Formula(
        id="S4-F9",
        title="batch norm loses the entries of the removed maps",
        printed=r"\begin{array}{l}\text{If a convolutional layer is pruned, then the weights of the subsequent}"
        r"\\\text{batch normalization layer are also removed.}\end{array}",
        verdict="right",
        remark="Gamma, beta, mean and variance all lose the entries: statistics as well as weights.",
        where="S4, section 3",
        code="pruning.surgery.remove",
        notebook="11, section 2",
        draw=_draw_normed,
        right=_removed,
        referees=(Form("zeroed maps, in NumPy", lambda net, x: _scores(arrays(net), x, KEEP)),),
        wrong=(
            *(
                Form(f"{name} not cut", _without(name), "The map that moves up gets the entry of another one.")
                for name in NAMES
            ),
            Form("none cut", _without(*NAMES), "The maps that move up get the entries of others."),
        ),
    ),
    Formula(
        id="D17",
        title="the score of a filter in front of batch norm",
        printed=r"s_j=\frac{|\gamma_j|}{\sqrt{\sigma_j^2+\varepsilon}}\sum|\mathcal F_{i,j}|",
        verdict="lost",
        remark="A filter and any positive multiple of it give the same net, so that its own sum can rank it anywhere.",
        where="S4, section 3, derived here",
        code="pruning.surgery.fold_batchnorm, pruning.scores.filter_norm.saliency",
        notebook="11b, section 2",
        draw=_draw_stretched,
        right=_folded,
        referees=(Form("scores and outputs of the net that was not stretched", _scores_of_the_whole),),
        wrong=(
            Form("plain sums", _folded_as(lambda u: 1.0), "These move with the scale of a filter, the net does not."),
            Form(
                "scale alone",
                _folded_as(lambda u: np.abs(u["1.gamma"])),
                "The deviation of the map belongs to the factor.",
            ),
            Form(
                "epsilon forgotten",
                _folded_as(lambda u: np.abs(u["1.gamma"]) / np.sqrt(u["1.running_variance"])),
                "It stands under the root, and small variances show it.",
            ),
            Form(
                "sign of gamma",
                _folded_as(lambda u: u["1.gamma"] / np.sqrt(u["1.running_variance"] + 1e-5)),
                "A negative gamma turns the map over; how much it counts is its size.",
            ),
            Form(
                "filters stretched alone",
                _stretched_alone,
                "In eval mode the statistics have to move with the filters, or the net is another one.",
            ),
        ),
    ),
)
