"""Gates on rows and columns: their derivatives, and the running mean of the squares of these."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

import nn
from pruning.ledger import plain
from pruning.ledger.core import Form, Formula
from pruning.pipeline.rows_and_columns import Groups
from pruning.scores import gates

Array = np.ndarray
NAMES = ("0.W", "3.W")
STEP = 1e-30


# ---- D196: derivatives by gates --------------------------------------------------------------------------------------
def _draw(rng: np.random.Generator) -> dict[str, Any]:
    """A convolution and two affine layers, and three minibatches."""
    layers = [nn.Conv2d(2, 3, 2, rng), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4, rng), nn.Tanh(), nn.Linear(4, 3, rng)]
    net = nn.Sequential(*layers)
    for u in net.parameters():
        u.data = 0.6 * rng.standard_normal(u.shape)
    return {"net": net, "x": rng.standard_normal((3, 2, 3, 3, 5)), "t": rng.integers(0, 3, (3, 5))}


def _sweep(net: Any, x: Array, t: Array) -> None:
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    net.backward(loss.backward())


def _gates(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    _sweep(net, x[0], t[0])
    return tuple(gates.rows(net, NAMES).values()) + tuple(gates.columns(net, NAMES).values())


def _loss(net: Any, x: Array, t: Array) -> Any:
    y = plain.forward(net, x)
    return np.mean(np.log(np.sum(np.exp(y), axis=0)) - y[t, np.arange(len(t))])


def _by_complex_steps(change: Callable[[Any, int, complex], None], size: Callable[[Array], int]) -> Callable[..., Any]:
    """`change` sets a gate of a layer to a complex number; `size` is how many gates its weight has."""

    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        found = []
        for place in (0, 3):
            layer = net.layers[place]
            W, b, g = layer.W.data, layer.b.data, []
            for k in range(size(W)):
                layer.W.data, layer.b.data = W.astype(complex), b.astype(complex)
                change(layer, k, 1 + 1j * STEP)
                g.append(np.imag(_loss(net, x, t)) / STEP)
                layer.W.data, layer.b.data = W, b
            found.append(np.array(g))
        return tuple(found)

    return form


def _gate_row(layer: Any, k: int, z: complex) -> None:
    layer.W.data[k] *= z
    layer.b.data[k] *= z


def _gate_row_alone(layer: Any, k: int, z: complex) -> None:
    layer.W.data[k] *= z


def _gate_column(layer: Any, k: int, z: complex) -> None:
    layer.W.data.reshape(len(layer.W.data), -1)[:, k] *= z


_columns = _by_complex_steps(_gate_column, lambda W: W[0].size)


def _gates_by(rows: Callable[..., Any], columns: Callable[..., Any] = _columns) -> Callable[..., tuple[Array, ...]]:
    return lambda net, x, t: (*rows(net, x[0], t[0]), *columns(net, x[0], t[0]))


_rows = _by_complex_steps(_gate_row, len)


def _entries(net: Any, x: Array, t: Array) -> list[Array]:
    """W dE/dW of both layers, as matrices with the column b dE/db."""
    _sweep(net, x, t)
    layers = [net.layers[0], net.layers[3]]
    by_weight = [(u.W.data * u.W.grad).reshape(len(u.W.data), -1) for u in layers]
    return [np.column_stack([A, u.b.data * u.b.grad]) for A, u in zip(by_weight, layers)]


def _of_entries(rows: Callable[[Array], Array], columns: Callable[[Array], Array]) -> Callable[..., tuple[Array, ...]]:
    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        found = _entries(net, x[0], t[0])
        return tuple(map(rows, found)) + tuple(columns(A[:, :-1]) for A in found)

    return form


# ---- D197: the running mean of squares -------------------------------------------------------------------------------
MEMORY = 0.7


def _observed(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
    groups = Groups(net, NAMES, NAMES, MEMORY)
    for batch, targets in zip(x, t):
        _sweep(net, batch, targets)
        groups.observe()
    return tuple(groups.means[kind, name] for kind, name in product(("row", "column"), NAMES))


def _by_sums(net: Any, x: Array, t: Array, power: int = 2) -> list[Array]:
    found = _entries(net, x, t)
    return [g**power for g in [A.sum(1) for A in found] + [A[:, :-1].sum(0) for A in found]]


def _running(
    of_batch: Callable[..., Sequence[Array]] = _by_sums,
    start: bool = True,
    last: Callable[[Array], Array] = lambda mean: mean,
) -> Callable[..., tuple[Array, ...]]:
    def form(net: Any, x: Array, t: Array) -> tuple[Array, ...]:
        means: list[Array] = []
        for batch, targets in zip(x, t):
            new = of_batch(net, batch, targets)
            old = means or (list(new) if start else [0 * g for g in new])
            means = [MEMORY * before + (1 - MEMORY) * now for before, now in zip(old, new)]
        return tuple(map(last, means))

    return form


def _squares_inside(net: Any, x: Array, t: Array) -> list[Array]:
    found = _entries(net, x, t)
    return [(A**2).sum(1) for A in found] + [(A[:, :-1] ** 2).sum(0) for A in found]


STATEMENTS = (
    Formula(
        id="D196",
        title="gates on rows and columns",
        printed=r"\frac{\partial E}{\partial z_j}=\sum_kW_{jk}\frac{\partial E}{\partial W_{jk}}"
        r"+b_j\frac{\partial E}{\partial b_j},\qquad\frac{\partial E}{\partial z_k}=\sum_jW_{jk}"
        r"\frac{\partial E}{\partial W_{jk}}",
        verdict="lost",
        remark="The derivative of the mean loss of a minibatch, by a factor 1 on all weights of the group.",
        where="derived here, after Molchanov et al. 2019",
        code="pruning.scores.gates.rows, pruning.scores.gates.columns",
        notebook="17, section 2.1",
        draw=_draw,
        draws=2,
        right=_gates,
        referees=(Form("gates in NumPy, complex step", _gates_by(_rows)),),
        wrong=(
            Form(
                "without the bias",
                _gates_by(_by_complex_steps(_gate_row_alone, len)),
                "A filter that is gone emits no bias either.",
            ),
            Form(
                "absolute values inside",
                _of_entries(lambda A: np.abs(A).sum(1), lambda A: np.abs(A).sum(0)),
                "Weights of one group go together: what they do cancels before it counts.",
            ),
            Form("means", _of_entries(lambda A: A.mean(1), lambda A: A.mean(0)), "Large groups do more."),
            Form("minus", _of_entries(lambda A: -A.sum(1), lambda A: -A.sum(0)), "That is the change by closing it."),
            Form(
                "rows for columns",
                _of_entries(lambda A: np.resize(A.sum(0), len(A)), lambda A: np.resize(A.sum(1), A.shape[1])),
                "A sum over the rows is the gate on a column.",
            ),
        ),
    ),
    Formula(
        id="D197",
        title="a group is worth the square of its gate",
        printed=r"\mathcal I_S(W)=\Big(\sum_{s\in S}g_sw_s\Big)^2",
        verdict="right if",
        remark="Of one minibatch; over several it is their running mean, which starts at the first.",
        where="Molchanov et al. 2019; their code squares the derivative by the gate",
        code="pruning.pipeline.rows_and_columns.Groups",
        notebook="17, section 2.1",
        draw=_draw,
        draws=1,
        right=_observed,
        referees=(
            Form(
                "gates in NumPy, complex step",
                _running(lambda net, x, t: [g**2 for g in (*_rows(net, x, t), *_columns(net, x, t))]),
            ),
        ),
        wrong=(
            Form("sum of squares", _running(_squares_inside), "That scores weights that go one by one, not together."),
            Form(
                "square of the mean",
                _running(lambda net, x, t: _by_sums(net, x, t, 1), last=lambda mean: mean**2),
                "Minibatches cancel: at a minimum every group would be worth nothing.",
            ),
            Form("mean from zero", _running(start=False), "The first means would be too small, by 1 - memory^k."),
            Form("root", _running(last=np.sqrt), "The score is the square of the gate, not its size."),
        ),
    ),
)
