"""Rethinking the value of network pruning: the budget with a cap, guided nets, and what the captions of tables say."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from nn.models import densenet, mlp
from pruning.architectures import guided, stage_patterns
from pruning.ledger.core import Claim, Form, Formula, Measured
from pruning.pipeline import scratch_b

Array = np.ndarray
Numbers = list[int]


# ---- D180: the cap ---------------------------------------------------------------------------------------------------
def _draw_budgets(rng: np.random.Generator) -> dict[str, Any]:
    """Hidden units of 8-h-2, 10 h MACs: one pair beyond the cap, two below; 90 epochs with two milestones."""
    wide = [int(n) for n in rng.integers(90, 120, 3)]
    narrow = [m | 1 for m in (wide[0] // 3 - 1, wide[1] // 2 + 9, wide[2] // 2 + 20)]  # odd: no ties
    return {"wide": wide, "narrow": narrow, "epochs": 90, "milestones": [30, 60]}


def _capped(wide: Numbers, narrow: Numbers, epochs: int, milestones: Numbers) -> Array:
    nets = [(mlp((8, n, 2), None), mlp((8, m, 2), None)) for n, m in zip(wide, narrow)]
    found = [scratch_b(*pair, (8,), epochs, milestones, at_most=2) for pair in nets]
    return np.array([[each.epochs, *each.milestones] for each in found])


def _capped_by(
    ratio: Callable[[Fraction, bool], Fraction],
    whole: Callable[[Fraction], int] = lambda x: math.floor(x + Fraction(1, 2)),
) -> Callable[..., Array]:
    """`ratio` of (MACs of the dense net over those of the small one, whether it is for epochs)."""

    def form(wide: Numbers, narrow: Numbers, epochs: int, milestones: Numbers) -> Array:
        r = [Fraction(10 * n, 10 * m) for n, m in zip(wide, narrow)]
        return np.array([[whole(ratio(each, n == epochs) * n) for n in (epochs, *milestones)] for each in r])

    return form


# ---- D181: guided pruning --------------------------------------------------------------------------------------------
STAGES = (1, 1, 2, 2, 3)
OF = (16, 48, 32, 33, 64)


def _draw_kept(rng: np.random.Generator) -> dict[str, Numbers]:
    """Filters kept of five layers: the first layer of each stage loses far more than the second."""
    return {
        "kept": [
            int(n * share) + 1
            for n, share in zip(OF, rng.uniform((0.1, 0.8, 0.2, 0.7, 0.3), (0.3, 0.9, 0.4, 0.9, 0.4)))
        ]
    }


def _named(values: Any) -> dict[str, Any]:
    return dict(zip("abcde", values))


def _guided(kept: Numbers) -> Array:
    shares = guided.shares(_named(kept), _named(OF), _named(STAGES))
    return np.array(list(guided.widths(_named(OF), _named(STAGES), shares).values()))


def _guided_by(
    share: Callable[[Numbers, Numbers], Fraction],
    nearest: Callable[[Fraction], int] = lambda x: math.floor(x + Fraction(1, 2)),
) -> Callable[..., Array]:
    """`share` of (filters kept, filters) of the layers of a stage."""

    def form(kept: Numbers) -> Array:
        found = []
        for stage, n in zip(STAGES, OF):
            layers = [k for k in range(5) if STAGES[k] == stage]
            found.append(max(1, nearest(share([kept[k] for k in layers], [OF[k] for k in layers]) * n)))
        return np.array(found)

    return form


def _of_sums(kept: Numbers, of: Numbers) -> Fraction:
    return Fraction(sum(kept), sum(of))


# ---- D182: guided sparsification -------------------------------------------------------------------------------------
def _draw_masks(rng: np.random.Generator) -> dict[str, list[Array]]:
    """Masks of two layers of one stage, of other sizes and densities, no place as full as another."""
    density = 0.1 + 0.8 * rng.permutation(9).reshape(3, 3) / 8
    shapes = (12, 30), (8, 10)
    return {
        "masks": [(rng.random((*n, 3, 3)) < power).astype(float) for n, power in zip(shapes, (density, density**3))]
    }


def _sparse(masks: list[Array]) -> tuple[Array, Array]:
    pattern = guided.patterns(dict(zip("ab", masks)), {"a": 1, "b": 1})[1]
    return pattern, guided.numbers(pattern, 97)


def _sparse_by(
    mean: Callable[[Numbers, Numbers], float],
    place: Callable[[int, int], tuple[int, int]] = lambda i, j: (i, j),
    n: int = 97,
) -> Callable[..., tuple[Array, Array]]:
    """`mean` of (weights that live at a place, kernels) of the layers."""

    def form(masks: list[Array]) -> tuple[Array, Array]:
        P = np.empty((3, 3))
        for i, j in np.ndindex(3, 3):
            alive = [sum(int(mask[o, c, i, j]) for o, c in np.ndindex(mask.shape[:2])) for mask in masks]
            P[place(i, j)] = mean(alive, [mask.shape[0] * mask.shape[1] for mask in masks])
        return P, np.array([[math.floor(n * share + 0.5) for share in row] for row in P])

    return form


def _of_kernels(alive: Numbers, kernels: Numbers) -> float:
    return sum(alive) / sum(kernels)


# ---- D183: captions --------------------------------------------------------------------------------------------------
SPREADS = {("19", 10): 102, ("19", 50): 124, ("19", 90): 374, ("20", 10): 106, ("20", 50): 108, ("20", 90): 244}
"""Largest over smallest mean of a stage, in hundredths, by table and percent that goes: sums of the printed digits."""


def _captions(rng: np.random.Generator) -> Iterator[Measured]:
    tables = {"19": stage_patterns.PRERESNET110, "20": stage_patterns.DENSENET40}
    for (name, percent), hundredths in SPREADS.items():
        # The digits as whole thousandths, so that nothing is rounded before the end.
        sums = [sum(round(1000 * float(share)) for share in P.ravel()) for P in tables[name][percent].values()]
        spread = Fraction(100 * max(sums), min(sums))
        yield Measured(f"Table {name}, {percent} %", abs(math.floor(spread + Fraction(1, 2)) - hundredths))
        most = sums.index(max(sums)) + 1
        if percent == 90:
            yield Measured(f"Table {name}, 90 %: the first stage keeps most", most - 1)
            message = "The first stage keeps several times as much as the third: that is not close to uniform."
            yield Measured("uniform at 90 %, too", max(0, int(spread) - 125), wrong=True, message=message)


# ---- D184: what a sparse net costs -----------------------------------------------------------------------------------
def _nothing(_: np.random.Generator) -> dict[str, Any]:
    return {}


def _densenet40() -> Array:
    net = densenet(40, None)
    names = [name for name, p in net.named_parameters() if p.shape[2:] == (3, 3) and name != "0.W"]
    stages = guided.stages(net, (3, 32, 32), names)
    return np.array([guided.sparse_cost(net, (3, 32, 32), stages, P) for P in stage_patterns.DENSENET40.values()])


def _densenet40_by(
    pixels: Callable[[int], int] = lambda s: (32 >> s) ** 2,
    pattern: Callable[[Array], Array] = lambda P: P,
    stage: Callable[[int], int] = lambda s: s,
    column: bool = False,
) -> Callable[[], Array]:
    """Twelve layers of 12 filters a stage, each sees 12 more maps; stem, transitions and the last layer stay whole."""

    def form() -> Array:
        c, macs, weights = 16, 432 * 1024 + 4480, 432 + 4480
        found = np.zeros((3, 2), dtype=int)
        for s in range(3):
            for _ in range(12):
                for k, (percent, table) in enumerate(stage_patterns.DENSENET40.items()):
                    P = np.full((3, 3), 1 - percent / 100) if column else pattern(table[stage(s) + 1])
                    left = sum(math.floor(Fraction(str(p)) * 12 * c + Fraction(1, 2)) for p in P.ravel().tolist())
                    found[k] += left * pixels(s), left
                c += 12
            if s < 2:
                macs, weights = macs + c * c * (32 >> s) ** 2, weights + c * c
        return found + np.array([macs, weights])

    return form


STATEMENTS = (
    Formula(
        id="D180",
        title="scratch-B with the cap of the ImageNet code",
        printed=r"E_B=E\cdot\min\left(\frac{\mathrm{FLOPs}(\text{full})}{\mathrm{FLOPs}(\text{pruned})},\,2\right)",
        verdict="lost",
        remark="The lecture names no cap; the authors' code for ImageNet trains at most 180 epochs in the place of 90.",
        where="S0, Training budget; the authors' code, imagenet/l1-norm-pruning/main_B.py",
        code="pruning.pipeline.scratch_b",
        notebook="26, section 2",
        tolerance=0,
        draw=_draw_budgets,
        right=_capped,
        referees=(Form("fractions of units", _capped_by(lambda r, _: min(r, Fraction(2)))),),
        wrong=(
            Form("no cap", _capped_by(lambda r, _: r), "Beyond a ratio of 2 the code trains 180 epochs."),
            Form(
                "two dense nets", _capped_by(lambda r, _: Fraction(1)), "The ratio of two dense nets is 1: scratch-E."
            ),
            Form("always twice", _capped_by(lambda r, _: Fraction(2)), "A net that saves less trains less than twice."),
            Form(
                "a cap on the epochs alone",
                _capped_by(lambda r, epochs: min(r, Fraction(2)) if epochs else r),
                "The milestones would lie behind the end.",
            ),
            Form("the saved share on top", _capped_by(lambda r, _: 2 - 1 / r), "1 + (M - m) / M is not M / m."),
        ),
    ),
    Formula(
        id="D181",
        title="guided pruning: the average of a stage",
        printed=r"r_s=\frac{\sum_{l\in s}\mathrm{kept}_l}{\sum_{l\in s}n_l},\qquad n'_l=\max(1,[r_sn_l])",
        verdict="lost",
        remark="The lecture says: the average number of channels in each stage; layers of a stage may differ in width.",
        where="S0, Parameter Efficiency of Pruned Architectures",
        code="pruning.architectures.guided.shares, pruning.architectures.guided.widths",
        notebook="26, section 5",
        tolerance=0,
        draw=_draw_kept,
        right=_guided,
        referees=(Form("loops over the layers of a stage", _guided_by(_of_sums)),),
        wrong=(
            Form(
                "mean of the layers' shares",
                _guided_by(lambda kept, of: sum((Fraction(*pair) for pair in zip(kept, of)), Fraction(0)) / len(of)),
                "A layer counts by its filters.",
            ),
            Form(
                "the share that goes",
                _guided_by(lambda kept, of: 1 - _of_sums(kept, of)),
                "The tables give the ratio of channels to be kept.",
            ),
            Form("rounded up", _guided_by(_of_sums, math.ceil), "The nearest number keeps the sum of a stage."),
            Form(
                "one share for all stages",
                _guided_by(lambda kept, of: Fraction(1, 2)),
                "That is the uniform net, the control.",
            ),
        ),
    ),
    Formula(
        id="D182",
        title="guided sparsification: the pattern of a stage",
        printed=r"P_s[i,j]=\frac{\sum_{l\in s}\sum_{o,c}m_l[o,c,i,j]}{\sum_{l\in s}O_lC_l},"
        r"\qquad k_l[i,j]=[P_s[i,j]\,O_lC_l]",
        verdict="lost",
        remark="The lecture says: sparsity patterns of 3x3 kernels; here the mean is over all kernels of the stage.",
        where="S0, Parameter Efficiency of Pruned Architectures; Tables 19 and 20",
        code="pruning.architectures.guided.patterns, pruning.architectures.guided.numbers",
        notebook="26, section 6",
        draw=_draw_masks,
        right=_sparse,
        referees=(Form("loops over kernels", _sparse_by(_of_kernels)),),
        wrong=(
            Form(
                "mean of the layers",
                _sparse_by(lambda alive, kernels: sum(a / n for a, n in zip(alive, kernels)) / len(kernels)),
                "A layer counts by its kernels.",
            ),
            Form("transposed", _sparse_by(_of_kernels, lambda i, j: (j, i)), "Rows of a kernel stay rows."),
            Form(
                "the share that goes",
                _sparse_by(lambda alive, kernels: 1 - _of_kernels(alive, kernels)),
                "The tables give the ratio of weights to be kept.",
            ),
            Form("first layer alone", _sparse_by(lambda a, n: a[0] / n[0]), "All layers of the stage have a say."),
        ),
    ),
    Claim(
        id="D183",
        title="sparsity patterns are close to uniform across stages?",
        printed=r"\text{for a certain prune ratio, the sparsity patterns are close to uniform (across stages)}",
        verdict="right if",
        remark="At 10 and 50 % within a factor of 1.25; at 90 % stage 1 keeps 3.74 and 2.44 times as much as stage 3.",
        where="S0, captions of Tables 19 and 20",
        code="pruning.architectures.stage_patterns.PRERESNET110, pruning.architectures.stage_patterns.DENSENET40",
        notebook="26, section 6",
        tolerance=0,
        measure=_captions,
        referee="sums of the printed digits",
    ),
    Formula(
        id="D184",
        title="a guided sparse DenseNet-40, counted",
        printed=r"\sum_l\sum_{ij}k_l[i,j],\qquad\sum_lH_lW_l\sum_{ij}k_l[i,j]",
        verdict="right if",
        remark="The 3x3 kernels keep 7.3, not 10 % in the last column: the total counts 1x1 convolutions as well.",
        where="S0, Table 20",
        code="pruning.architectures.guided.sparse_cost, pruning.architectures.stage_patterns.DENSENET40",
        notebook="26, section 6",
        tolerance=0,
        draw=_nothing,
        draws=1,
        right=_densenet40,
        referees=(
            Form("layers by hand", _densenet40_by()),
            Form(
                "integers, once counted",
                lambda: np.array([(238_145_408, 906_899), (154_101_504, 535_599), (72_542_784, 187_020)]),
            ),
        ),
        wrong=(
            Form("the ratio of the column", _densenet40_by(column=True), "It is that of all convolutions together."),
            Form("maps of one size", _densenet40_by(pixels=lambda s: 1024), "Stages differ by the size of their maps."),
            Form(
                "means of a stage",
                _densenet40_by(pattern=lambda P: np.full((3, 3), P.mean())),
                "The places of a kernel are rounded one by one.",
            ),
            Form("stages reversed", _densenet40_by(stage=lambda s: 2 - s), "Stage 1 has the largest maps."),
        ),
    ),
)
