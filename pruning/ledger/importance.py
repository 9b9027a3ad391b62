"""What a map is worth by its gate: Taylor's score, where its absolute value stands, and what gates conserve."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning.ledger import plain
from pruning.ledger.core import Form, Formula
from pruning.scores import activation, taylor

Array = np.ndarray
NAMES = ("0.W", "3.W")
EMITTERS = (2, 4)
STEP = 1e-30


def _draw(rng: np.random.Generator) -> dict[str, Any]:
    """A net of two convolutions with maps of 16 and 4 positions, batch norm behind the first, and 8 patterns."""
    convs = [nn.Conv2d(2, 4, 3, rng), nn.BatchNorm(4), nn.ReLU(), nn.Conv2d(4, 5, 3, rng), nn.ReLU()]
    net = nn.Sequential(*convs, nn.Flatten(), nn.Linear(20, 3, rng)).eval()
    norm: Any = net.layers[1]
    norm.gamma.data, norm.beta.data = rng.uniform(0.5, 1.5, 4), rng.uniform(0, 0.5, 4)
    norm.running_mean, norm.running_variance = rng.uniform(-0.3, 0.3, 4), rng.uniform(0.5, 2, 4)
    return {"net": net, "x": rng.standard_normal((2, 6, 6, 8)), "t": rng.integers(0, 3, 8)}


# ---- D30 to D32: derivatives by gates --------------------------------------------------------------------------------
def _losses(y: Array, t: Array) -> Array:
    return np.asarray(np.log(np.sum(np.exp(y), axis=0)) - y[t, np.arange(len(t))])


def _products(net: Any, x: Array, t: Array, place: int) -> Array:
    """z dE_n/dz behind the layer at `place`, (C, H, W, N): a gate on every number, by the complex step."""
    z, behind = plain.forward(nn.Sequential(*net.layers[: place + 1]), x), nn.Sequential(*net.layers[place + 1 :])
    found = np.zeros(z.shape)
    for c, i, j in np.ndindex(z.shape[:-1]):
        gated = z.astype(complex)
        gated[c, i, j] *= 1 + 1j * STEP
        found[c, i, j] = np.imag(_losses(plain.forward(behind, gated), t)) / STEP
    return found


def _by_gates(score: Callable[[Array], Array]) -> Callable[..., tuple[Array, ...]]:
    """A score of both layers, made of z dE_n/dz (C, H, W, N)."""

    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        return tuple(score(_products(net, x, t, place)) for place in EMITTERS)

    return form


def _in_train_mode(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    z, mean = plain.forward(nn.Sequential(net.layers[0]), x), (1, 2, 3)
    norm = net.layers[1]
    running = norm.running_mean, norm.running_variance
    norm.running_mean, norm.running_variance = z.mean(mean), z.var(mean)
    found = _by_gates(_outside)(net, x, t)
    norm.running_mean, norm.running_variance = running
    return found


def _gradients_alone(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    scores = []
    for place in EMITTERS:
        z, zg = plain.forward(nn.Sequential(*net.layers[: place + 1]), x), _products(net, x, t, place)
        scores.append(_outside(np.divide(zg, z, out=np.zeros(z.shape), where=z != 0)))
    return tuple(scores)


def _outside(zg: Array) -> Array:
    return np.asarray(np.abs(zg.sum((1, 2))).mean(1))


def _scored(form: Callable[..., dict[str, Any]]) -> Callable[..., tuple[Array, ...]]:
    def right(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        scores = form(net, nn.SoftmaxCrossEntropy(), x, t, NAMES, 3)
        return tuple(scores[name] for name in NAMES)

    return right


def _normalised(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    scores = taylor.normalised(taylor.saliency(net, nn.SoftmaxCrossEntropy(), x, t, NAMES))
    return tuple(scores[name] for name in NAMES)


def _divided(size: Callable[[list[Array], Array], Any]) -> Callable[..., tuple[Array, ...]]:
    """The paper's scores, with 1/M, of each layer divided by a size of (all scores, those of the layer)."""

    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        scores = [np.abs(_products(net, x, t, place).mean((1, 2))).mean(1) for place in EMITTERS]
        return tuple(score / size(scores, score) for score in scores)

    return form


# ---- D33: Euler's identity -------------------------------------------------------------------------------------------
def _draw_homogeneous(rng: np.random.Generator) -> dict[str, Any]:
    convs = [nn.Conv2d(2, 4, 3, rng, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 3, rng, bias=False), nn.ReLU()]
    net = nn.Sequential(*convs, nn.Flatten(), nn.Linear(20, 3, rng, bias=False)).eval()
    return {"net": net, "x": rng.standard_normal((2, 6, 6, 8)), "t": rng.integers(0, 3, 8)}


def _sums(net: Any, x: Array, t: Array) -> Array:
    return np.stack([g.sum(0) for g in taylor.gates(net, nn.SoftmaxCrossEntropy(), x, t).values()])


def _euler(net: Any, x: Array, t: Array) -> Array:
    y = plain.forward(net, x)
    p = np.exp(y) / np.exp(y).sum(0)
    p[t, np.arange(len(t))] -= 1
    return np.tile((y * p).sum(0), (3, 1))


def _sums_of(function: Callable[[Array], Array]) -> Callable[..., Array]:
    def form(net: Any, x: Array, t: Array) -> Array:
        return np.stack([function(g) for g in taylor.gates(net, nn.SoftmaxCrossEntropy(), x, t).values()])

    return form


def _with_biases(net: Any, x: Array, t: Array) -> Array:
    biased = nn.Sequential(*net.layers).eval()
    old: Any = net.layers[2]
    layer = nn.Conv2d(4, 5, 3, np.random.default_rng(0))
    layer.W.data, layer.b = old.W.data, nn.Parameter(np.linspace(0.5, 1, 5))
    biased.layers[2] = layer
    return _sums(biased, x, t)


# ---- D34: activations ------------------------------------------------------------------------------------------------
def _numbers(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    scores = [each(net, x, ["0.W"], 3) for each in (activation.saliency, activation.deviation, activation.nonzero)]
    return tuple(score["0.W"] for score in scores)


def _numbers_of(
    place: int = 2,
    deviation: Callable[[Array], Array] = lambda z: z.std(1),
    nonzero: Callable[[Array], Array] = lambda z: (z != 0).mean(1),
) -> Callable[..., tuple[Array, ...]]:
    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        z = plain.forward(nn.Sequential(*net.layers[: place + 1]), x).reshape(4, -1)
        return z.mean(1), deviation(z), nonzero(z)

    return form


STATEMENTS = (
    Formula(
        id="D30",
        title="Taylor's score is the derivative by a gate",
        printed=r"\Theta_{TE}(z_l^{(k)})=\left|\frac1M\sum_m\frac{\partial C}{\partial z_{l,m}^{(k)}}z_{l,m}^{(k)}"
        r"\right|",
        verdict="right if",
        remark="Without 1/M it is |dE_n/dgate| of a gate at 1, whose mean over the patterns is the score.",
        where="Molchanov et al. 2016, the Taylor criterion; named in S0, Methods for pruning",
        code="pruning.scores.taylor.saliency, pruning.scores.taylor.gates",
        notebook="17, section 2",
        draw=_draw,
        draws=1,
        right=_scored(taylor.saliency),
        referees=(Form("gates in NumPy, complex step", _by_gates(_outside)),),
        wrong=(
            Form(
                "absolute value inside",
                _by_gates(lambda zg: np.abs(zg).sum((1, 2)).mean(1)),
                "Positions of one map cancel, since it is cut as a whole.",
            ),
            Form(
                "absolute value of the mean",
                _by_gates(lambda zg: np.abs(zg.sum((1, 2)).mean(1))),
                "Patterns would cancel: at a minimum every gate has the derivative 0.",
            ),
            Form(
                "1/M",
                _by_gates(lambda zg: np.abs(zg.mean((1, 2))).mean(1)),
                "The printed factor divides a layer's scores by its number of positions: layers lose a common unit.",
            ),
            Form("gradients alone", _gradients_alone, "A map of zeros can have a gradient, and costs nothing."),
            Form("batch norm in train mode", _in_train_mode, "The net that is cut has the running statistics."),
        ),
    ),
    Formula(
        id="D31",
        title="the l2 norm of a layer takes 1/M away",
        printed=r"\hat\Theta(z_l^{(k)})=\frac{\Theta(z_l^{(k)})}{\sqrt{\sum_j\Theta(z_l^{(j)})^2}}",
        verdict="right",
        remark="M is one factor of all scores of a layer, so that sum and mean over positions become one score.",
        where="Molchanov et al. 2016, normalisation",
        code="pruning.scores.taylor.normalised",
        notebook="17, section 2",
        draw=_draw,
        draws=1,
        right=_normalised,
        referees=(Form("means over positions, by their norm", _divided(lambda _, s: np.sqrt((s**2).sum()))),),
        wrong=(
            Form("not normalised", _divided(lambda *_: 1.0), "Scores of different layers have different units."),
            Form("l1 norm", _divided(lambda _, s: s.sum()), "Divided by the sum, wide layers would get small scores."),
            Form(
                "one norm of all layers",
                _divided(lambda scores, _: np.linalg.norm(np.concatenate(scores))),
                "One factor for all layers leaves their units as they were.",
            ),
            Form("the largest is 1", _divided(lambda _, s: s.max()), "One outlier would decide about a layer."),
        ),
    ),
    Formula(
        id="D32",
        title="squared, Taylor is the Fisher information of the gates",
        printed=r"\frac1N\sum_n\Big(\sum_mz_{km}\frac{\partial E_n}{\partial z_{km}}\Big)^2",
        verdict="lost",
        remark="OBD's h u^2 with u = 1 and the empirical Fisher in the place of h.",
        where="derived here; Theis et al. 2018 for single weights",
        code="pruning.scores.taylor.squared",
        notebook="17, section 2",
        draw=_draw,
        draws=1,
        right=_scored(taylor.squared),
        referees=(Form("gates in NumPy, complex step", _by_gates(lambda zg: (zg.sum((1, 2)) ** 2).mean(1))),),
        wrong=(
            Form(
                "square of the mean",
                _by_gates(lambda zg: zg.sum((1, 2)).mean(1) ** 2),
                "At a minimum this is zero for every map.",
            ),
            Form(
                "squares inside",
                _by_gates(lambda zg: (zg**2).sum((1, 2)).mean(1)),
                "A gate is shared by all positions of its map: sum first, then square.",
            ),
            Form(
                "variance",
                _by_gates(lambda zg: zg.sum((1, 2)).var(1)),
                "Away from a minimum the mean is a part of what closing the gate costs.",
            ),
        ),
    ),
    Formula(
        id="D33",
        title="Euler: signed gate gradients add up to the same in every layer",
        printed=r"\sum_k\frac{\partial E_n}{\partial g_{lk}}=y_n^T\frac{\partial E_n}{\partial y_n}"
        r"\quad\text{for all layers }l",
        verdict="lost",
        remark="Behind each layer a ReLU net without biases is homogeneous of degree 1: a theorem of Euler's.",
        where="derived here",
        code="pruning.scores.taylor.gates",
        notebook="17, section 3",
        draw=_draw_homogeneous,
        right=_sums,
        referees=(Form("y dE/dy of softmax in NumPy", _euler),),
        wrong=(
            Form("with biases", _with_biases, "A bias has a share of the output that no gate in front of it has."),
            Form("absolute values first", _sums_of(lambda g: np.abs(g).sum(0)), "What is conserved has a sign."),
            Form("mean over the filters", _sums_of(lambda g: g.mean(0)), "It is the sum; layers differ in width."),
            Form("squares", _sums_of(lambda g: (g**2).sum(0)), "Squares of parts do not add up to one square."),
        ),
    ),
    Formula(
        id="D34",
        title="mean, deviation and zeros of a map",
        printed=r"\Theta_{MA}=\frac1{|a|}\sum_ia_i,\quad\Theta_{STD}=\sqrt{\frac1{|a|}\sum_i(a_i-\mu_a)^2},"
        r"\quad\text{APoZ}=\frac1{|a|}\sum_if(a_i=0)",
        verdict="right",
        remark="Low is cheap: the score is 1 - APoZ, of the map behind batch norm and activation.",
        where="Molchanov et al. 2016, the other criteria; Hu et al. 2016, APoZ",
        code="pruning.scores.activation.saliency, pruning.scores.activation.deviation,"
        " pruning.scores.activation.nonzero",
        notebook="17, section 5",
        draw=_draw,
        right=_numbers,
        referees=(Form("whole maps in NumPy", _numbers_of()),),
        wrong=(
            Form("in front of the activation", _numbers_of(1), "What the next layer reads is behind the ReLU."),
            Form("in front of batch norm", _numbers_of(0), "Batch norm gives the map its size."),
            Form("variance", _numbers_of(deviation=lambda z: z.var(1)), "The root makes it scale as the map does."),
            Form("APoZ itself", _numbers_of(nonzero=lambda z: (z == 0).mean(1)), "Many zeros make a map cheap."),
            Form("n - 1", _numbers_of(deviation=lambda z: z.std(1, ddof=1)), "The definition divides by n."),
        ),
    ),
)
