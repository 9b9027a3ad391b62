"""Scales of batch norm: nets that are the same function with other scales, and what a channel costs."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

import nn
from pruning.ledger import plain
from pruning.ledger.core import Claim, Measured, relative
from pruning.penalties import group_lasso, ista_scales

IMAGE = (2, 8, 7)
READERS = ("4.W", "5.body.3.W")


def _net(rng: np.random.Generator) -> Any:
    """Return a net with a batch norm in front of a pool and one inside a block."""
    body = [nn.Conv2d(4, 5, 3, rng, padding=1), nn.BatchNorm(5), nn.ReLU(), nn.Conv2d(5, 4, 3, rng, padding=1)]
    layers = [nn.Conv2d(2, 4, 3, rng), nn.BatchNorm(4), nn.MaxPool2d(2, stride=1), nn.ReLU(), nn.Conv2d(4, 4, 2, rng)]
    net = nn.Sequential(*layers, nn.Residual(nn.Sequential(*body)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3, rng))
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm)):
        C = norm.channels
        norm.gamma.data, norm.beta.data = rng.uniform(0.5, 1.5, C), rng.uniform(0.3, 1, C) * rng.choice([-1, 1], C)
        norm.running_mean, norm.running_variance = rng.uniform(-0.3, 0.3, C), rng.uniform(0.5, 2, C)
    return net.eval()


def _by_hand(net: Any, gamma: float, beta: float, W: float) -> Any:
    # Each of the three multiplied.
    other = copy.deepcopy(net)
    for name, u in other.named_parameters():
        factor = gamma if name.endswith("gamma") else beta if name.endswith("beta") else W if name in READERS else 1.0
        u.data = factor * u.data
    return other


# ---- D7, D7b: the same function ------------------------------------------------------------------------------------
def _escape(rng: np.random.Generator) -> Iterator[Measured]:
    net, x = _net(rng), rng.standard_normal((*IMAGE, 3))
    y, whole = plain.forward(net, x), _penalty(net)
    yield Measured("the penalty", abs(_penalty(net) - _sum(net)) / _sum(net))
    for t in (1e-3, 1e-9):
        other = ista_scales.rescaled(net, t)
        yield Measured("the function", relative(other.forward(x), y))
        yield Measured("the penalty, by t", abs(_sum(other) / t - whole) / whole)
        message = "Nothing but decay on the weights that read the channels holds sum |gamma| away from 0."
        yield Measured("the penalty stays", abs(_penalty(other) - whole) / whole, True, message)
        wrong = _by_hand(net, t, 1.0, 1 / t)
        yield Measured("beta stays", relative(plain.forward(wrong, x), y), True, "Behind W / t it is beta / t.")


def _penalty(net: Any) -> float:
    return group_lasso.value(net, ista_scales.families(net, IMAGE, 0.3))


def _sum(net: Any) -> float:
    # 0.3 sum lambda |gamma|; 56 pixels: filters of 18 and 36 weights, 4 filters of 4 and of 9 that read, maps 6 x 5 and
    # 4 x 3.
    first, second = (np.abs(norm.gamma.data).sum() for norm in (net.layers[1], net.layers[5].body.layers[1]))
    return float(0.3 * (first * (18 + 4 * 4 + 30) + second * (36 + 4 * 9 + 12)) / 56)


def _rescaled(rng: np.random.Generator) -> Iterator[Measured]:
    net, x = _net(rng), rng.standard_normal((*IMAGE, 3))
    y = plain.forward(net, x)
    for a in (0.01, 10.0):
        other = ista_scales.rescaled(net, a)
        yield Measured("the function", relative(plain.forward(other, x), y))
        by_hand = _by_hand(net, a, a, 1 / a)
        for (_, ours), (_, theirs) in zip(other.named_parameters(), by_hand.named_parameters()):
            yield Measured("the arrays", relative(ours.data, theirs.data))
        for name, factors, message in (
            ("gamma alone", (a, 1.0, 1.0), "The weights that read the channel have to undo it."),
            ("gamma and W_next", (a, 1.0, 1 / a), "ReLU(gamma x + beta) is multiplied only if beta is, too."),
            ("gamma and beta", (a, a, 1.0), "The weights that read the channel have to undo it."),
            ("W_next times a", (a, a, a), "That is a^2 times what was there."),
        ):
            yield Measured(name, relative(plain.forward(_by_hand(net, *factors), x), y), True, message)


# ---- D7c: what a channel costs -------------------------------------------------------------------------------------
def _costs(rng: np.random.Generator) -> Iterator[Measured]:
    """Chains of other sizes each time; the weights that belong to a channel are counted by an index each."""
    for _ in range(5):
        c, n, m = (int(size) for size in rng.permutation(np.arange(2, 9))[:3])
        k, j, H, W = (int(size) for size in (rng.integers(1, 4), rng.integers(1, 4), rng.integers(7, 9), 9))
        net = nn.Sequential(nn.Conv2d(c, n, k, rng), nn.BatchNorm(n), nn.ReLU(), nn.Conv2d(n, m, j, rng))
        ((_, cost),) = ista_scales.costs(net, (c, H, W)).items()
        own = sum(1 for index in np.ndindex(n, c, k, k) if index[0] == 0)
        read = sum(1 for index in np.ndindex(m, n, j, j) if index[1] == 0)
        pixels = (H - k + 1) * (W - k + 1)
        yield Measured("filter, readers, map", relative(np.array(cost), np.array((own + read + pixels) / (H * W))))
        for name, size, message in (
            ("filter alone", own / (H * W), "What reads the channel goes, too, and so does its map."),
            ("without the map", (own + read) / (H * W), "The map is stored as the weights are."),
            ("1 / I_w * I_h", (own + read + pixels) * H / W, "Written so, it multiplies with the height of the image."),
        ):
            yield Measured(name, abs(size - cost) / cost, True, message)


STATEMENTS = (
    Claim(
        id="D7",
        title="the penalty on scales can be escaped",
        printed=r"\min\ E(W,\gamma,\beta)+\lambda\sum_\gamma|\gamma|",
        verdict="right if",
        remark="Only if the weights behind decay: t gamma, t beta and W_next / t are the same function for all t > 0.",
        where="Liu et al. 2017 and Ye et al. 2018, the objective; derived here",
        code="pruning.penalties.ista_scales.rescaled, pruning.penalties.ista_scales.families",
        notebook="18, section 5",
        measure=_escape,
        referee="net in plain NumPy",
    ),
    Claim(
        id="D7b",
        title="scales made smaller, the function kept",
        printed=r"\gamma\leftarrow\alpha\gamma,\qquad W_{next}\leftarrow W_{next}/\alpha",
        verdict="right if",
        remark="If beta is scaled as well, and what stands between is ReLU, a pool, a flatten: f(a x) = a f(x).",
        where="Ye et al. 2018, the gamma-W rescaling trick, quoted from code that follows the paper",
        code="pruning.penalties.ista_scales.rescaled",
        notebook="18, section 5",
        measure=_rescaled,
        referee="net in plain NumPy",
    ),
    Claim(
        id="D7c",
        title="what one channel of a layer costs",
        printed=r"\lambda^l=\frac{1}{I_wI_h}\Big[k_w^lk_h^lc^{l-1}"
        r"+\sum_{l'\in T(l)}k_w^{l'}k_h^{l'}c^{l'}+I_w^lI_h^l\Big]",
        verdict="right",
        remark="Weights of its filter, weights that read it and pixels of its map, by the pixels of the input.",
        where="Ye et al. 2018, equation 2, quoted",
        code="pruning.penalties.ista_scales.costs",
        notebook="18, section 5",
        measure=_costs,
        referee="weights counted by their indices",
    ),
)
