"""Units that go and are made up for: like units merge, and channels that stay take over by least squares."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.reconstruction import moments, neuron_merging, refitting

Array = np.ndarray


# ---- D201: what a merge costs ----------------------------------------------------------------------------------------
def _draw_units(rng: np.random.Generator) -> dict[str, Array]:
    """Five units with three inputs and a bias, read by four."""
    return {"omega": rng.standard_normal((5, 4)), "a": rng.standard_normal((4, 5)) * rng.permutation([1, 2, 3, 4, 5])}


def _costs(omega: Array, a: Array) -> tuple[Array, Array]:
    (merge,) = neuron_merging.pairs(omega, a, 1)
    return np.array(neuron_merging.saliency(omega, a)), np.array(merge)


def _square(d: Array) -> float:
    return float(sum(w * w for w in d.tolist()))


def _mean_square(a: Array, i: int, j: int) -> float:
    return _square(a[:, j]) / len(a)


def _costs_by(
    read: Callable[[Array, int, int], float] = _mean_square,
    apart: Callable[[Array], float] = _square,
) -> Callable[..., tuple[Array, Array]]:
    """`read` of (outgoing weights, i that stays, j that goes), `apart` of a difference of incoming weights."""

    def form(omega: Array, a: Array) -> tuple[Array, Array]:
        s = np.array([[read(a, i, j) * apart(omega[i] - omega[j]) for j in range(5)] for i in range(5)])
        best = min((s[i, j], i, j) for i in range(5) for j in range(5) if i != j)
        return s, np.array([*best[1:], best[0]])

    return form


# ---- D202: equal units, and the bound --------------------------------------------------------------------------------
def _merged(rng: np.random.Generator) -> Iterator[Measured]:
    layers = [nn.Linear(3, 5, rng), nn.Tanh(), nn.Linear(5, 4, rng), nn.Tanh(), nn.Linear(4, 2, rng)]
    net: Any = nn.Sequential(*layers)
    for u in net.parameters():
        u.data = rng.uniform(0.5, 1.5, u.shape) * rng.choice([-1, 1], u.shape)
    first, second = net.layers[0], net.layers[2]
    first.W.data[1] = first.W.data[0]  # but with another bias
    i, j = sorted(int(k) for k in rng.choice([2, 3, 4], 2, replace=False))
    first.W.data[j], first.b.data[j] = first.W.data[i], first.b.data[i]
    x = rng.standard_normal((3, 7))
    y, small = plain.forward(net, x), neuron_merging.merge(net, "0.W", 1)
    yield Measured("equal units", relative(plain.forward(small, x), y))
    yield Measured("one unit less", float(abs(first.W.shape[0] - small.layers[0].W.shape[0] - 1)))  # type: ignore[attr-defined]
    left, reader = np.delete(second.W.data, j, axis=1), small.layers[2]
    total: Any = reader.W.data  # type: ignore[attr-defined]
    i = i if i < j else i - 1
    for name, column, message in (
        ("dropped", left[:, i], "What went out of the unit that goes has to go out of the one that stays."),
        ("mean of both", total[:, i] / 2, "Two signals that are equal add up: the weights are summed."),
    ):
        reader.W.data = left.copy()  # type: ignore[attr-defined]
        reader.W.data[:, i] = column  # type: ignore[attr-defined]
        yield Measured(name, relative(plain.forward(small, x), y), True, message)
    first.b.data[j] += 1
    y = plain.forward(net, x)
    reader.W.data = total  # type: ignore[attr-defined]
    message = "Units with equal weights and other biases are no twins: omega has the bias in it."
    yield Measured("biases aside", relative(plain.forward(small, x), y), True, message)


def _bounded(rng: np.random.Generator) -> Iterator[Measured]:
    for name in ("ReLU", "Tanh", "Sigmoid"):
        yield Measured(f"above the bound, {name}", max(0.0, max(_over(name, rng)) - 1))
    message = "The slope of A tanh(S a) is up to 1.14: the bound holds for slopes of at most one."
    yield Measured("steeper than one", max(0.0, max(_over("ScaledTanh", rng)) - 1), True, message)
    message = "The mean of the squared changes has no half in front of it: half of the saliency is no bound."
    yield Measured("half of it", max(0.0, 2 * max(_over("Tanh", rng)) - 1), True, message)
    message = "The bias is an input that is always one."
    yield Measured("||x|| for ||(x, 1)||", max(0.0, max(_over("Tanh", rng, one=0)) - 1), True, message)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "ReLU": lambda a: np.maximum(a, 0),
    "Tanh": np.tanh,
    "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "ScaledTanh": lambda a: 1.7159 * np.tanh(2 / 3 * a),
}


def _over(activation: str, rng: np.random.Generator, one: int = 1) -> list[float]:
    """Mean square changes behind the next layer over the bound; two units differ along (x, 1), small, so f' counts."""
    x = 1e-3 * rng.standard_normal((3, 6))
    omega = rng.standard_normal((4, 4))
    omega[0] = 0.02 * rng.standard_normal(4)
    omega[1] = omega[0] + 1e-3 * np.append(x[:, 0], 1)
    a = rng.standard_normal((5, 4))
    a[:, 1] *= 0.1
    net: Any = nn.Sequential(nn.Linear(3, 4, rng), getattr(nn, activation)(), nn.Linear(4, 5, rng))
    net.layers[0].W.data, net.layers[0].b.data, net.layers[2].W.data = omega[:, :3], omega[:, 3], a
    ((_, _, s),) = neuron_merging.pairs(omega, a, 1)
    change = _outputs(net, x) - _outputs(neuron_merging.merge(net, "0.W", 1), x)
    return [float(each) for each in np.mean(change**2, axis=0) / (s * (np.sum(x * x, axis=0) + one))]


def _outputs(net: Any, x: Array) -> Array:
    first, activation, second = net.layers
    hidden = FUNCTIONS[type(activation).__name__](first.W.data @ x + first.b.data[:, None])
    return np.asarray(second.W.data @ hidden)


# ---- D203: least squares ---------------------------------------------------------------------------------------------
def _draw_layer(rng: np.random.Generator) -> dict[str, Any]:
    """A convolution that reads four maps of 4 by 4; two of them stay, and 90 positions say how."""
    net = nn.Sequential(nn.Conv2d(2, 4, 2, rng), nn.ReLU(), nn.Conv2d(4, 3, 2, rng))
    for layer in (net.layers[0], net.layers[2]):
        layer.b.data = rng.uniform(0.5, 1, layer.b.data.shape)  # type: ignore[attr-defined]
    return {"net": net, "x": rng.standard_normal((2, 5, 5, 10)), "kept": sorted(rng.permutation(4)[:2].tolist())}


def _written(net: Any, x: Array, kept: list[int]) -> tuple[Array, Array]:
    found = moments.collect(net, "2.W", x)
    nets: list[Any] = [each(net, "2.W", kept, found) for each in (refitting.refitted, refitting.rescaled)]
    return nets[0].layers[2].W.data, nets[1].layers[2].W.data


def _seen(net: Any, x: Array) -> Array:
    """What each channel shows at every position, (4, positions, 4), by windows."""
    z = plain.forward(nn.Sequential(*net.layers[:2]), x)
    windows = np.lib.stride_tricks.sliding_window_view(z, (2, 2), axis=(1, 2))
    return np.asarray(windows.reshape(4, -1, 4))


def _solved(
    refit: Callable[[Array, Array, list[int]], Array] | None = None,
    factors: Callable[[Array, Array, list[int]], Array] | None = None,
) -> Callable[..., tuple[Array, Array]]:
    """`refit` and `factors` of (channels' columns (4, positions, 4), W (3, 4, 4), kept); what is None is right."""

    def form(net: Any, x: Array, kept: list[int]) -> tuple[Array, Array]:
        X, W = _seen(net, x), net.layers[2].W.data.reshape(3, 4, 4)
        found = np.zeros((2, 3, 4, 4))
        found[0][:, kept] = _least_squares(X, W, kept) if refit is None else refit(X, W, kept)
        beta = _factors(X, W, kept) if factors is None else factors(X, W, kept)
        found[1][:, kept] = beta[:, None] * W[:, kept]
        return found[0].reshape(3, 4, 2, 2), found[1].reshape(3, 4, 2, 2)

    return form


def _target(X: Array, W: Array) -> Array:
    return np.asarray(np.einsum("cpk,nck->pn", X, W))


def _least_squares(X: Array, W: Array, kept: list[int], centred: bool = False, of_all: bool = False) -> Array:
    Y, columns = _target(X, W), np.hstack([X[c] for c in kept])
    if of_all:
        Y = Y - _target(X[kept], W[:, kept])
    if centred:
        Y, columns = Y - Y.mean(0), columns - columns.mean(0)
    return np.asarray(np.linalg.lstsq(columns, Y, rcond=None)[0].T.reshape(3, len(kept), 4))


def _factors(X: Array, W: Array, kept: list[int]) -> Array:
    parts = np.stack([(X[c] @ W[:, c].T).ravel() for c in kept], axis=1)
    return np.asarray(np.linalg.lstsq(parts, _target(X, W).ravel(), rcond=None)[0])


def _factors_alone(X: Array, W: Array, kept: list[int]) -> Array:
    parts, Y = [(X[c] @ W[:, c].T).ravel() for c in kept], _target(X, W).ravel()
    return np.array([part @ Y / (part @ part) for part in parts])


STATEMENTS = (
    Formula(
        id="D201",
        title="what it costs that one unit speaks for another",
        printed=r"s_{ij}=\langle a_j^2\rangle\,\|\varepsilon_{ij}\|_2^2,\qquad\varepsilon_{ij}=\omega_i-\omega_j",
        verdict="right",
        remark="Not symmetric: it is j that goes, and the mean is over the units that read it.",
        where="Srinivas and Babu 2015",
        code="pruning.reconstruction.neuron_merging.saliency, pruning.reconstruction.neuron_merging.pairs",
        notebook="10, section 8",
        draw=_draw_units,
        right=_costs,
        referees=(Form("loops over pairs", _costs_by()),),
        wrong=(
            Form("of the one that stays", _costs_by(lambda a, i, j: np.mean(a[:, i] ** 2)), "It is j that goes."),
            Form("sum over readers", _costs_by(lambda a, i, j: np.sum(a[:, j] ** 2)), "The brackets are a mean."),
            Form("square of the mean", _costs_by(lambda a, i, j: a[:, j].mean() ** 2), "Weights of both signs cancel."),
            Form("norm without square", _costs_by(apart=lambda d: float(np.linalg.norm(d))), "The norm is squared."),
            Form("biases aside", _costs_by(apart=lambda d: float(d[:-1] @ d[:-1])), "omega has the bias in it."),
        ),
    ),
    Claim(
        id="D202",
        title="equal units merge without a trace",
        printed=r"\omega_i=\omega_j\ \Rightarrow\ a_{ki}y_i+a_{kj}y_j=(a_{ki}+a_{kj})y_i",
        verdict="right",
        remark="The surgery takes row j out of one layer, and adds its column to that of i in the next.",
        where="Srinivas and Babu 2015",
        code="pruning.reconstruction.neuron_merging.merge",
        notebook="10, section 8",
        measure=_merged,
        referee="net in plain NumPy",
    ),
    Claim(
        id="D202b",
        title="the saliency bounds the change behind the next layer",
        printed=r"\tfrac1O\sum_k(\Delta z_k)^2\le s_{ij}\,\|(x,1)\|^2",
        verdict="right if",
        remark="If |f'| <= 1; by the inequality of Cauchy and Schwarz, with equality along epsilon.",
        where="derived here, after Srinivas and Babu 2015",
        code="pruning.reconstruction.neuron_merging.pairs, pruning.reconstruction.neuron_merging.merge",
        notebook="10, section 8",
        tolerance=1e-3,
        measure=_bounded,
        referee="nets before and after, in units of the bound",
    ),
    Formula(
        id="D203",
        title="the weights of the channels that stay",
        printed=r"\arg\min_{W'}\|Y-X_SW'^\top\|_F^2=C_SA_{SS}^+,\qquad"
        r"\arg\min_\beta\Big\|Y-\sum_{i\in S}\beta_iX_iW_i^\top\Big\|_F^2=G_{SS}^+q_S",
        verdict="right",
        remark="He's step (ii), and beside it one factor a channel; the bias is left alone.",
        where="He, Zhang and Sun 2017, step (ii)",
        code="pruning.reconstruction.refitting.refitted, pruning.reconstruction.refitting.rescaled",
        notebook="16, section 9",
        tolerance=1e-10,
        draw=_draw_layer,
        draws=3,
        right=_written,
        referees=(Form("least squares on windows", _solved()),),
        wrong=(
            Form("weights as they are", _solved(lambda X, W, kept: W[:, kept]), "The channels that stay can make up."),
            Form(
                "centred",
                _solved(lambda X, W, kept: _least_squares(X, W, kept, centred=True)),
                "The bias stays as it is, so that the weights have to give the mean as well.",
            ),
            Form(
                "what is lost, alone",
                _solved(lambda X, W, kept: _least_squares(X, W, kept, of_all=True)),
                "This is the change of the weights, and not the weights.",
            ),
            Form("factors one by one", _solved(factors=_factors_alone), "Channels are correlated."),
            Form(
                "factors of one",
                _solved(factors=lambda X, W, kept: np.ones(len(kept))),
                "So nothing makes up for the channels that went.",
            ),
        ),
    ),
)
