"""What a pruned net is compared with: the three arms of a target, and the new weights of two of them."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

import nn
from pruning import masks
from pruning.ledger.core import Form, Formula
from pruning.pipeline import Budget, arms, redrawn

Array = np.ndarray
Arrays = tuple[Array, ...]
RATE = 0.4


def _seed(rng: np.random.Generator) -> dict[str, int]:
    return {"seed": int(rng.integers(99))}


# ---- D204: three arms ------------------------------------------------------------------------------------------------
def _draw_targets(rng: np.random.Generator) -> dict[str, Any]:
    """A net of 8-h-2, 10 h multiply-accumulates, one with a third of its units, and masks on the first."""
    wide = int(rng.integers(20, 30))
    narrow = int(rng.integers(wide // 4, wide // 3)) | 1
    keep = (rng.random((wide, 8)) < 0.2).astype(float)
    keep[0, :2] = 1, 0
    return {
        "wide": wide,
        "narrow": narrow,
        "keep": keep,
        "epochs": 40,
        "milestones": (20, 30),
        "seed": int(rng.integers(99)),
    }


def _arms(wide: int, narrow: int, keep: Array, epochs: int, milestones: tuple[int, ...], seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    dense, small, masked = (nn.models.mlp((8, n, 2), rng) for n in (wide, narrow, wide))
    masks.apply(masked, {"1.W": keep})
    numbers, weights = [], []
    for target in (small, masked):
        found = arms(dense, target, (8,), Budget(epochs, milestones), RATE, 7, rng)
        numbers += [[a.budget.epochs, *(a.budget.milestones or (0, 0)), a.learning_rate] for a in found]
        fine, e, b = ([u.data for u in a.net.parameters()] for a in found)
        before = [u.data for u in target.parameters()]
        weights += [_differ(fine, before), _differ(e, b), float(_differ(e, before) > 0)]
    return np.array(numbers), np.array(weights)


def _differ(one: list[Any], other: list[Any]) -> float:
    return float(max(np.abs(a - b).max() for a, b in zip(one, other)))


def _counted(
    fine: Callable[[int, float], tuple[int, float]] = lambda epochs, lowest: (7, lowest),
    ratio: Callable[[Fraction], Fraction] = lambda r: r,
    milestones_too: bool = True,
    of_masks: Callable[[int, int], Fraction] = lambda left, total: Fraction(total, left),
    weights: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> Callable[..., Arrays]:
    """`fine` of (epochs of the dense net, its lowest rate); what differs: fine, E from B, E from before."""

    def form(wide: int, narrow: int, keep: Array, epochs: int, milestones: tuple[int, ...], seed: int) -> Arrays:
        numbers = []
        for r in (Fraction(10 * wide, 10 * narrow), of_masks(int(keep.sum()) + 2 * wide, 10 * wide)):
            first, rate = fine(epochs, RATE / 100)
            stretched = [round(ratio(r) * each) if milestones_too else each for each in milestones]
            numbers += [[first, 0, 0, rate], [epochs, *milestones, RATE], [round(ratio(r) * epochs), *stretched, RATE]]
        return np.array(numbers), np.array([*weights, *weights])

    return form


# ---- D205: new weights -----------------------------------------------------------------------------------------------
def _draw_masked(rng: np.random.Generator) -> dict[str, Any]:
    """Two convolutions, batch norm and an affine layer, whose masks leave a third and two thirds."""
    shapes = (6, 3, 3, 3), (4, 6, 2, 2)
    keep = [(rng.random(shape) < share).astype(float) for shape, share in zip(shapes, (1 / 3, 2 / 3))]
    for mask in keep:
        mask[0, 0, 0, 0] = 1
    return {"keep": keep, "trained": rng.uniform(0.5, 1, 200), **_seed(rng)}


def _redrawn(keep: list[Array], trained: Array, seed: int) -> Arrays:
    rng = np.random.default_rng(0)
    norm = nn.BatchNorm(6)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, rng), norm, nn.ReLU(), nn.Conv2d(6, 4, 2, rng), nn.Flatten(), nn.Linear(4, 2, rng)
    )
    for u in net.parameters():
        u.data = np.resize(trained, u.data.shape)
    norm.running_mean, norm.running_variance = trained[:6], trained[6:12]
    masks.apply(net, dict(zip(("0.W", "3.W"), keep)))
    new: Any = redrawn(net, np.random.default_rng(seed), density=True)
    buffers = [buffer for _, buffer in new.named_buffers()]
    return tuple(u.data for u in new.parameters()) + tuple(np.asarray(each) for each in buffers)


def _drawn(
    variance: Callable[[int, float], float] = lambda n, d: 2 / (n * d),
    of_layer: bool = True,
    behind: bool = True,
    old: float = 0.0,
    running: bool = True,
) -> Callable[..., Arrays]:
    """`variance` of (fan-in, share that the mask leaves); `old` is how much of the trained biases stays."""

    def form(keep: list[Array], trained: Array, seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        whole = sum(mask.sum() for mask in keep) / sum(mask.size for mask in keep)
        W = []
        for mask in (*keep, np.ones((2, 4))):
            d = mask.mean() if of_layer or mask.shape == (2, 4) else whole
            z = np.array([rng.standard_normal() for _ in range(mask.size)]).reshape(mask.shape)
            W.append(z * np.sqrt(variance(mask[0].size, float(d))) * (mask if behind else 1))
        b = [old * trained[:n] for n in (6, 4, 2)]
        statistics = (np.zeros(6), np.ones(6)) if running else (trained[:6], trained[6:12])
        return W[0], b[0], np.ones(6), np.zeros(6), W[1], b[1], W[2], b[2], *statistics

    return form


STATEMENTS = (
    Formula(
        id="D204",
        title="three arms of one target",
        printed=r"\begin{array}{lll}\text{fine-tuned}&\text{the small net},&\eta_{\text{last}}\\"
        r"\text{scratch-E}&\text{new weights},&E\text{ epochs from }\eta\\"
        r"\text{scratch-B}&\text{the same new weights},&rE\text{ epochs from }\eta\end{array}",
        verdict="right if",
        remark="With masks r is weights over those that are left; both arms from scratch begin with the same numbers.",
        where="Liu et al. 2019; S0, Training budget",
        code="pruning.pipeline.controls.arms",
        notebook="25, section 3",
        draw=_draw_targets,
        draws=3,
        right=_arms,
        referees=(Form("10 h multiplications, counted", _counted()),),
        wrong=(
            Form("as long as fine-tuning", _counted(ratio=lambda r: Fraction(7, 40)), "It has the dense budget."),
            Form("milestones stay", _counted(milestones_too=False), "The schedule is stretched with the epochs."),
            Form(
                "masks for nothing",
                _counted(of_masks=lambda left, total: Fraction(1)),
                "A processor that multiplies zeros would give r = 1, which is scratch-E.",
            ),
            Form(
                "fine-tuned from the first rate",
                _counted(lambda epochs, lowest: (7, RATE)),
                "Fine-tuning goes on at the rate at which the dense net ended.",
            ),
            Form(
                "other weights for each arm",
                _counted(weights=(0.0, 1.0, 1.0)),
                "The difference of the two budgets is paired only if they begin with the same weights.",
            ),
            Form("old weights", _counted(weights=(0.0, 0.0, 0.0)), "That is fine-tuning once more, and for longer."),
        ),
    ),
    Formula(
        id="D205",
        title="new weights behind a mask",
        printed=r"W=m\odot W_0,\qquad\mathrm{Var}\,W_0=\frac2{n\,d},\qquad d=\frac1{|m|}\sum m",
        verdict="right",
        remark="Of the n terms that a unit adds, d n are left, so that the size of the signals stays.",
        where="the authors' code of Liu et al. 2019; He, Zhang, Ren and Sun 2015",
        code="pruning.pipeline.new_weights.redrawn",
        notebook="25, section 3",
        draw=_draw_masked,
        draws=3,
        right=_redrawn,
        referees=(Form("number by number", _drawn()),),
        wrong=(
            Form("He's variance", _drawn(lambda n, d: 2 / n), "Signals would shrink by the density at every layer."),
            Form("over d squared", _drawn(lambda n, d: 2 / n / d**2), "The deviation is divided by the root of d."),
            Form("density of the net", _drawn(of_layer=False), "Each layer has a mask of its own density."),
            Form("mask forgotten", _drawn(behind=False), "The control is the net that pruning found, zeros and all."),
            Form("old biases", _drawn(old=1.0), "Biases start at zero again."),
            Form("old statistics", _drawn(running=False), "Running means saw the trained net."),
        ),
    ),
)
