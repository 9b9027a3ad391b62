"""Network slimming: the pull at a scale, how long a free one lives, the threshold, and the lecture's patterns."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import nn
from pruning import surgery
from pruning.architectures import stage_patterns
from pruning.ledger import plain
from pruning.ledger.core import Claim, Measured, relative
from pruning.penalties import group_lasso, slimming

Array = np.ndarray
ETA, LAM, MU = 0.1, 0.02, 0.9


def _net(rng: np.random.Generator, widths: tuple[int, ...] = (5, 6)) -> Any:
    """Convolution, batch norm and ReLU for each width, and a convolution that reads them."""
    layers: list[nn.Module] = []
    for c_in, c_out in zip((2, *widths), widths):
        layers += [nn.Conv2d(c_in, c_out, 1, rng, bias=False), nn.BatchNorm(c_out), nn.ReLU()]
    return plain.chain(rng, *layers, nn.Conv2d(widths[-1], 2, 1, rng))


# ---- S0-F9, D70: the penalty -----------------------------------------------------------------------------------------
def _pull(rng: np.random.Generator) -> Iterator[Measured]:
    """What the penalty adds to the gradients of all parameters, one scale being zero."""
    net = _net(rng)
    scales = slimming.scales(net)
    next(iter(scales.values())).data[0] = 0.0
    for parameter in net.parameters():
        parameter.grad = np.zeros(parameter.shape)
    group_lasso.add_subgradient(net, slimming.families(net, LAM))
    found = np.concatenate([parameter.grad.ravel() for parameter in net.parameters()])

    def expected(*kinds: str, zero: float = 0.0) -> Array:
        parts = []
        for name, parameter in net.named_parameters():
            sign = np.where(parameter.data == 0, zero, np.where(parameter.data > 0, 1.0, -1.0))
            parts.append((LAM * sign if name.endswith(kinds) else 0 * sign).ravel())
        return np.concatenate(parts)

    yield Measured("lam sign(gamma), sign(0) = 0", relative(found, expected("gamma")))
    for name, form, message in (
        ("sign(0) = 1", expected("gamma", zero=1.0), "A scale at zero would be pushed away from it."),
        ("on beta too", expected("gamma", "beta"), "A shift is no factor of the channel: Gamma holds scales alone."),
        ("on W too", expected("gamma", "W"), "That is a lasso of single weights."),
        ("lam gamma", LAM * np.concatenate(_masked_values(net)), "That is weight decay, which leaves no zeros."),
    ):
        yield Measured(name, relative(form, found), True, message)


def _masked_values(net: Any) -> list[Array]:
    return [(p.data if name.endswith("gamma") else 0 * p.data).ravel() for name, p in net.named_parameters()]


def _fixed_points(rng: np.random.Generator) -> Iterator[Measured]:
    """E = sum a (gamma - c)^2 / 2 by SGD with momentum and the prox: S(c, lam / a)."""
    a, c, lam = rng.uniform(0.5, 1.5, 6), rng.uniform(-0.5, 0.5, 6), 0.2
    net = _net(rng, (6,))
    (gamma,) = slimming.scales(net).values()
    optimizer, families = nn.SGD([gamma], ETA, MU), slimming.families(net, lam)
    for _ in range(1500):
        gamma.grad = a * (gamma.data - c)
        optimizer.step()
        group_lasso.proximal_step(net, families, optimizer)

    def soft(threshold: float) -> Array:
        return np.asarray(np.sign(c) * np.maximum(np.abs(c) - threshold / a, 0))

    yield Measured("prox with eta lam / (1 - mu)", relative(gamma.data, soft(lam)))
    message = "Momentum moves a scale by eta g / (1 - mu) a step; a prox of eta lam solves for (1 - mu) lam."
    yield Measured("prox with eta lam", relative(soft((1 - MU) * lam), gamma.data), True, message)


# ---- D71: a scale that the loss does not hold ------------------------------------------------------------------------
def _steps_to_zero(net: Any, proximal: bool) -> int:
    (gamma,) = slimming.scales(net).values()
    optimizer, families = nn.SGD([gamma], ETA, MU), slimming.families(net, LAM)
    for step in range(1, 1000):
        gamma.grad = np.zeros(gamma.shape)
        if not proximal:
            group_lasso.add_subgradient(net, families)
        optimizer.step()
        if proximal:
            group_lasso.proximal_step(net, families, optimizer)
        if gamma.data[0] <= 0:
            return step
    return 1000


def _lives(rng: np.random.Generator) -> Iterator[Measured]:
    """Steps until a scale without a gradient is at or below zero, less those predicted, beyond one."""
    start = float(rng.uniform(0.5, 1.0))
    found = {}
    for proximal in (True, False):
        net = _net(rng, (5,))
        slimming.start(net, start)
        found[proximal] = _steps_to_zero(net, proximal)
    predicted, late = start * (1 - MU) / (ETA * LAM), MU / (1 - MU)
    yield Measured("prox: gamma_0 (1 - mu) / (eta lam)", max(0.0, abs(found[True] - predicted) - 1))
    yield Measured("subgradient: mu / (1 - mu) later", max(0.0, abs(found[False] - predicted - late) - 1))
    message = "The pull adds up to eta lam / (1 - mu) a step: momentum shortens the life tenfold."
    yield Measured("gamma_0 / (eta lam)", abs(start / (ETA * LAM) - found[True]), True, message)
    message = "The velocity of the subgradient has to build up first."
    yield Measured("subgradient as soon as the prox", max(0.0, abs(found[False] - predicted) - 1), True, message)


# ---- S0-F10, D72, D73: the threshold, and the small net --------------------------------------------------------------
def _thresholds(rng: np.random.Generator) -> Iterator[Measured]:
    """How many of 60 channels go at 40 %, and whether the smallest of all layers go."""
    net = _net(rng, (20, 40))
    gammas = [gamma.data for gamma in slimming.scales(net).values()]
    gammas[0] *= 0.7
    sizes = np.abs(np.concatenate(gammas))
    kept = slimming.keep(net, 0.4)
    stays = np.concatenate([np.isin(np.arange(len(g)), rows) for g, rows in zip(gammas, kept.values())])
    yield Measured("24 of 60 go", abs(24 - float(np.sum(~stays))))
    yield Measured("none that goes is larger than one that stays", max(0.0, sizes[~stays].max() - sizes[stays].min()))
    above = sizes > np.sort(sizes)[int(0.4 * 60)]
    message = "Above the value y[int(p N)] of the sorted scales: that one goes too, 25 for 24."
    yield Measured("> y[int(p N)]", abs(24 - float(np.sum(~above))), True, message)
    own = np.concatenate([np.abs(g) > np.sort(np.abs(g))[int(0.4 * len(g)) - 1] for g in gammas])
    message = "A threshold for each layer is uniform pruning: the widths are what slimming finds."
    yield Measured("a threshold a layer", max(0.0, sizes[~own].max() - sizes[own].min()), True, message)


def _guarded(rng: np.random.Generator) -> Iterator[Measured]:
    """Layers without a channel, where the scales of one are small."""
    net = _net(rng, (6, 12, 12))
    next(iter(slimming.scales(net).values())).data *= 0.01
    plain_cut = slimming.by_threshold(net, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = slimming.keep(net, 0.5)
    yield Measured("guarded: layers without a channel", float(sum(not rows for rows in kept.values())))
    yield Measured("as many go", abs(sum(map(len, kept.values())) - sum(map(len, plain_cut.values()))))
    message = "All six scales of the first layer are below the threshold of all: nothing passes the net."
    yield Measured("the threshold alone", float(sum(not rows for rows in plain_cut.values())), True, message)


def _small_nets(rng: np.random.Generator) -> Iterator[Measured]:
    """The small net against the one with scales at zero, borders of zeros included."""
    layers = [nn.Conv2d(2, 5, 3, rng, padding=1, bias=False), nn.BatchNorm(5), nn.ReLU()]
    net = plain.chain(rng, *layers, nn.Conv2d(5, 3, 3, rng, padding=1))
    x, keep = rng.standard_normal((*plain.SHAPE, 3)), {"1.gamma": [0, 2, 4]}
    net.layers[1].beta.data = rng.uniform(0.5, 1, 5)
    masked = slimming.masked(net, keep)
    net.layers[1].gamma.data[plain.DEAD] = 0.0
    y = plain.forward(net, x)
    yield Measured("masked", relative(masked.forward(x), y))
    yield Measured("folded and removed", relative(slimming.slim(net, keep, plain.SHAPE).forward(x), y))
    message = "beta of a dead channel is set to zero too: what it emitted is missing."
    yield Measured("removed with its beta", relative(surgery.remove(masked, plain.KEEP).forward(x), y), True, message)


# ---- D74: the lecture's tables ---------------------------------------------------------------------------------------
def _rows(table: dict[int, stage_patterns.Shares]) -> Array:
    return np.array([list(table[percent].values()) for percent in sorted(table)]).T


VGG_16: dict[str, Any] = {
    "widths": (2 * 64, 2 * 128, 3 * 256, 3 * 512, 3 * 512),
    "kept": _rows(stage_patterns.VGG16),
}
PRERESNET: dict[str, Any] = {
    # 18 blocks a stage: scales of (4 w + w + w) channels, but for the first block of a stage, which reads the last one.
    "widths": tuple(17 * 6 * w + first + 2 * w for w, first in ((16, 16), (32, 64), (64, 128))),
    "kept": _rows(stage_patterns.PRERESNET164),
}


def _means(table: dict[str, Any], weights: Array) -> Array:
    return np.asarray(weights @ np.array(table["kept"]) / np.sum(weights))


def _tables(rng: np.random.Generator) -> Iterator[Measured]:
    """Stages, weighted by their channels, against what the prune ratio of the column leaves; tolerance half a digit."""
    left = 1 - np.arange(1, 8) / 10
    vgg, pre = (np.array(table["widths"], dtype=float) for table in (VGG_16, PRERESNET))
    yield Measured("Table 21, VGG-16: 10 to 60 %", _beyond(_means(VGG_16, vgg), left[:6], 0.0005))
    yield Measured("Table 18, PreResNet-164: 10 to 70 %", _beyond(_means(PRERESNET, pre), left, 0.009))
    message = "Stages have 128 to 1,536 channels: their plain mean is another number."
    yield Measured("Table 21, plain mean", _beyond(_means(VGG_16, np.ones(5)), left[:6], 0.0005), True, message)
    message = "The columns of Table 18 have no heads in the lecture; one further, they fit no ratio."
    yield Measured("Table 18: 20 to 80 %", _beyond(_means(PRERESNET, pre), left - 0.1, 0.009), True, message)


def _beyond(found: Array, expected: Array, tolerance: float) -> float:
    return max(0.0, float(np.max(np.abs(found - expected))) - tolerance)


WHERE = "S0, Experiments - Automatic structured: Network Slimming"
STATEMENTS = (
    Claim(
        id="S0-F9",
        title="network slimming: the pull at a scale",
        printed=r"L=\sum_{(x,y)}I(f(x,W),y)+\lambda\sum_{\gamma\in\Gamma}g(\gamma),\qquad g(s)=|s|",
        verdict="slip",
        remark="I is the loss l. Gamma holds the scales alone, and the subgradient at zero is 0.",
        where=WHERE,
        code="pruning.penalties.slimming.families, pruning.penalties.group_lasso.add_subgradient",
        notebook="18, section 2",
        measure=_pull,
        referee="signs by hand",
    ),
    Claim(
        id="D70",
        title="network slimming: the fixed point of the prox behind momentum",
        printed=r"\gamma\leftarrow S\left(\gamma,\tfrac{\eta\lambda}{1-\mu}\right):\quad"
        r"\left|\partial E/\partial\gamma\right|\le\lambda\ \text{at }0,\quad=\lambda\ \text{elsewhere}",
        verdict="lost",
        remark="The authors descend along a subgradient, which leaves no exact zeros; this step does.",
        where="derived; the penalty is that of S0-F9",
        code="pruning.penalties.slimming.families, pruning.penalties.group_lasso.proximal_step",
        notebook="18, section 2",
        tolerance=1e-9,
        measure=_fixed_points,
        referee="closed form of a quadratic",
    ),
    Claim(
        id="D71",
        title="network slimming: how long a free scale lives",
        printed=r"T=\frac{\gamma_0(1-\mu)}{\eta\lambda},\qquad T_{\mathrm{subgradient}}\approx T+\frac{\mu}{1-\mu}",
        verdict="lost",
        remark="A training of fewer steps prunes nothing, however useless the channel.",
        where="derived",
        code="pruning.penalties.slimming.families, pruning.penalties.group_lasso.proximal_step",
        notebook="18, section 2",
        tolerance=0.0,
        measure=_lives,
        referee="steps counted",
    ),
    Claim(
        id="S0-F10",
        title="network slimming: a percentile of all scales",
        printed=r"\text{threshold}=\text{a percentile among all scaling factors}",
        verdict="right if",
        remark="If the number is counted: of N scales p N go, those of the smallest size, whatever layer they are in.",
        where=WHERE,
        code="pruning.penalties.slimming.keep, pruning.penalties.slimming.by_threshold",
        notebook="18, section 3",
        tolerance=0.0,
        measure=_thresholds,
        referee="sorted sizes",
    ),
    Claim(
        id="D72",
        title="network slimming: a layer below the threshold",
        printed=r"\max_{c}|\gamma_{lc}|<\text{threshold}\ \Rightarrow\ \text{layer }l\text{ is empty}",
        verdict="lost",
        remark="One threshold for all layers can empty one; the largest scale of each layer has to stay.",
        where="derived from S0-F10",
        code="pruning.penalties.slimming.keep, pruning.penalties.slimming.by_threshold",
        notebook="18, section 3",
        tolerance=0.0,
        measure=_guarded,
        referee="layers counted",
    ),
    Claim(
        id="D73",
        title="network slimming: the small net",
        printed=r"\gamma_c=0\ \Rightarrow\ \text{drop }\gamma_c,\beta_c,W_c",
        verdict="right if",
        remark="If what act(beta) gives the next layer is folded, under a border of zeros into a map of biases.",
        where="the authors' code of Liu et al. 2017, which zeroes beta",
        code="pruning.penalties.slimming.slim, pruning.penalties.slimming.masked",
        notebook="18, section 4",
        measure=_small_nets,
        referee="net in plain NumPy",
    ),
    Claim(
        id="D74",
        title="network slimming: the lecture's sparsity patterns",
        printed=r"\frac{\sum_s n_s\,\mathrm{kept}_s}{\sum_s n_s}=1-\text{prune ratio}",
        verdict="right if",
        remark="If stages count by their channels. Table 18 has lost its heads: its columns are 10 to 70 %.",
        where="S0, Tables 18 and 21",
        code="pruning.architectures.stage_patterns.VGG16, pruning.architectures.stage_patterns.PRERESNET164",
        notebook="18, section 6",
        tolerance=0.0,
        measure=_tables,
        referee="channels of VGG-16 and PreResNet-164 counted",
    ),
)
