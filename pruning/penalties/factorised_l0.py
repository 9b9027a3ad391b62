r"""FLOP: a matrix in two factors with a gate for each component, and multipliers that hold the size to a target.

    W = P diag(z) Q,   P (m, r),  Q (D, r)^T,   r = D m // (D + m)  so that nothing is gained or lost before pruning

Component k is a column of P, a gate and a row of Q: D + m weights, that come and go together, and what is left are two
smaller dense matrices.  z are hard concrete gates with beta = 1 (`hard_concrete`).  The expected share that goes is

    s = 1 - sum_k (D_k + m_k) P(z_k != 0) / sum_k (D_k + m_k),

and training minimises  E + l1 (s - t) + l2 (s - t)^2  over weights and gates while l1 and l2 ascend it (`Lagrangian`).
l2 can only grow, for its slope is a square; l1 turns round where s passes t.

The ascent ends near t, not at it: far open or far closed gates have almost no gradient.  `cut_to` then keeps as many
components, those of the largest log alpha, as come nearest to the target, and the small net is trained on.

Notes
-----
Wang, Wohlwend, Lei 2019, Structured pruning of large language models, arXiv:1910.04732.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import nn
from nn.activations import Identity
from nn.arguments import number, whole
from nn.backend import Array, dtype_name, get_array_module, to_numpy
from nn.companions import Companion, Ramp, State
from nn.initializers import Initializer, lecun_normal
from nn.linear import Linear
from nn.module import Module, Sequential, check_net
from nn.optimizers import Adam
from nn.parameter import Parameter
from pruning import surgery
from pruning.channels.tracing import refuse_shared
from pruning.penalties.hard_concrete import HardConcrete
from pruning.penalties.l0 import LIMIT
from pruning.surgery.resizing import Rebuild


def rank(n_in: int, n_out: int) -> int:
    """Return r = D m // (D + m), the most components that have no more weights than the matrix (m, D).

    Parameters
    ----------
    n_in, n_out : D and m.

    Raises
    ------
    ValueError
        If there is none, as for a matrix of one row.
    """
    D, m = whole(n_in, "number of inputs", 1), whole(n_out, "number of outputs", 1)
    if D * m < D + m:
        raise ValueError(f"expected a matrix that a component is smaller than, got one of {m} x {D}: r would be 0")
    return D * m // (D + m)


def factorised(
    n_in: int,
    n_out: int,
    rng: np.random.Generator | None,
    r: int | None = None,
    gated: bool = True,
    init: Initializer = lecun_normal,
    drop_rate: float = 0.5,
    dtype: Any = np.float64,
) -> Sequential:
    """Return a layer W = P diag(z) Q of features (D, N) -> (m, N), as three layers of which the gates are the second.

    Parameters
    ----------
    n_in, n_out : D and m.
    rng : draws Q and P, and is the parent of the generator of the gates; None builds an outline.
    r : how many components; None is `rank`.
    gated : whether there are gates; an `nn.Identity` stands in their place otherwise.
    init, drop_rate, dtype : of the factors, and of the gates (`hard_concrete.HardConcrete`).

    Raises
    ------
    ValueError
        If r is below 1; as `rank`, `nn.Linear` and `hard_concrete.HardConcrete`.

    Examples
    --------
    >>> import numpy as np
    >>> from pruning.penalties import factorised_l0
    >>> layer = factorised_l0.factorised(96, 288, np.random.default_rng(0))
    >>> [u.shape for u in layer.parameters()]
    [(72, 96), (72,), (288, 72)]
    """
    r = rank(n_in, n_out) if r is None else whole(r, "number of components", 1)
    front = Linear(n_in, r, rng, bias=False, init=init, dtype=dtype)
    behind = Linear(r, n_out, rng, bias=False, init=init, dtype=dtype)
    if not gated:
        return Sequential(front, Identity(), behind)
    noise = None if rng is None else rng.spawn(1)[0]
    return Sequential(front, HardConcrete(r, noise, drop_rate=drop_rate, beta=1.0, dtype=dtype), behind)


class Matrix(NamedTuple):
    """The layers of a factorised matrix: Q^T, what stands between, P."""

    front: Linear
    gate: Module
    behind: Linear

    @property
    def r(self) -> int:
        """How many components there are."""
        return self.front.n_out

    @property
    def size(self) -> int:
        """How many weights a component has, D + m."""
        return self.front.n_in + self.behind.n_out


def matrices(net: Module) -> dict[str, Matrix]:
    """Return the factorised matrices of the net by name, with their gates or without.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none, or two layers share a parameter.
    """
    refuse_shared(net)
    found = {name: matrix for name, layer in net.named_modules() if (matrix := _matrix(layer)) is not None}
    if not found:
        raise ValueError("expected a net with factorised matrices (factorised_l0.factorised), got one without")
    return found


def _matrix(chain: Module) -> Matrix | None:
    if not isinstance(chain, Sequential) or len(chain.layers) != 3:
        return None
    front, gate, behind = chain.layers
    if not isinstance(front, Linear) or front.b is not None or not isinstance(behind, Linear):
        return None
    between = isinstance(gate, HardConcrete) or type(gate) is Identity  # a tap is one too, and looks at what passes
    return Matrix(front, gate, behind) if between else None


def _gates(net: Module) -> dict[str, HardConcrete]:
    found = {}
    for name, matrix in matrices(net).items():
        if not isinstance(matrix.gate, HardConcrete):
            raise ValueError(f"expected gates in all factorised matrices, and {name or 'the net'} has none")
        found[name] = matrix.gate
    return found


def weights(net: Module) -> int:
    """Return how many weights the factorised matrices have together, r (D + m) each; errors as `matrices`."""
    return sum(matrix.r * matrix.size for matrix in matrices(net).values())


def expected_share(net: Module) -> float:
    """Return s, the share of these weights that is expected to go: 1 - sum (D + m) P(z != 0) / sum (D + m).

    A matrix without gates is there as a whole.  Errors as `matrices`.
    """
    left = 0.0
    for matrix in matrices(net).values():
        gate = matrix.gate
        left += matrix.size * (float(_sum(gate.open())) if isinstance(gate, HardConcrete) else matrix.r)
    return 1 - left / weights(net)


class Lagrangian(Companion):
    """E + l1 (s - t) + l2 (s - t)^2, descended by the net and ascended by l1 and l2, which begin at 0.

    The gates have  (l1 + 2 l2 (s - t)) ds/dlog alpha  added to their gradients, with
    ds/dlog alpha_k = -(D_k + m_k) p_k (1 - p_k) / size,  p = P(z != 0).  Then l1 and l2 take a step of Adam along
    -(s - t) and -(s - t)^2, downwards, which is upwards.

    A gate far out would have no gradient to come back by: log alpha stays below log 100, and P(z != 0) above 1/101.
    (With log alpha above -log 100, P would be 11/111 or more, so that no share beyond 100/111 could be reached.)

    Parameters
    ----------
    net : the one that is trained, with gates in all of its factorised matrices.
    target : t, the share of their weights that is to go, in [0, 1).
    rate : the learning rate of l1 and l2.
    ramp : None, or an `nn.Ramp` that t is multiplied with.

    Attributes
    ----------
    multipliers : l1 and l2, an `nn.Parameter` (2,).

    Raises
    ------
    ValueError
        If the target is outside its range, the rate is below 0, or a matrix has no gates; as `matrices`.
    TypeError
        If the ramp is none.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import factorised_l0
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(factorised_l0.factorised(12, 12, rng), nn.Tanh(), nn.Linear(12, 3, rng))
    >>> x, t = rng.standard_normal((12, 64)), rng.integers(0, 3, 64)
    >>> gate = net.layers[0].layers[1]
    >>> optimizer = nn.Adam(net.parameters(), 1e-3, rates={gate.log_alpha: 10})
    >>> pull = factorised_l0.Lagrangian(net, 0.5, ramp=nn.Ramp(optimizer, 300))
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [pull]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs=800, **settings)
    >>> abs(factorised_l0.expected_share(net) - 0.5) < 0.1
    True
    >>> small = factorised_l0.cut_to(net, 0.5)
    >>> small.layers[0].layers[0].W.shape
    (3, 12)
    """

    def __init__(self, net: Module, target: float, rate: float = 2e-2, ramp: Ramp | None = None):
        check_net(net)
        if ramp is not None and not isinstance(ramp, Ramp):
            raise TypeError(f"expected an nn.Ramp or None, got {type(ramp).__name__}")
        self.net, self.target, self.ramp = net, _share(target), ramp
        self.gates, self.total = _gates(net), weights(net)
        self.sizes = {name: matrix.size for name, matrix in matrices(net).items()}
        self.multipliers = Parameter(np.zeros(2))
        self.ascent = Adam([self.multipliers], rate)

    def excess(self) -> float:
        """Return s - t, with t as far as its ramp has come."""
        left = sum(self.sizes[name] * float(_sum(gate.open())) for name, gate in self.gates.items())
        return 1 - left / self.total - self.target * (1.0 if self.ramp is None else self.ramp.value)

    def after_backward(self, step: int) -> None:
        """Add the gradients of the constraint to those of log alpha, and let the multipliers ascend."""
        if any(gate.log_alpha.grad is None for gate in self.gates.values()):
            raise ValueError("log alpha has no gradient to add to: this belongs after the backward sweep in train mode")
        l1, l2 = map(float, self.multipliers.data)
        excess = self.excess()
        for name, gate in self.gates.items():
            p = gate.open()
            slope = -self.sizes[name] / self.total * p * (1 - p)  # ds/dlog alpha
            gate.log_alpha.grad = gate.log_alpha.grad + (l1 + 2 * l2 * excess) * slope
        self.multipliers.grad = np.array([-excess, -excess * excess])  # the optimizer descends
        self.ascent.step()

    def after_step(self, step: int) -> None:
        """Bring log alpha back to where P(z != 0) is 1/101 or more, and to at most log 100."""
        for gate in self.gates.values():
            a, least = gate.log_alpha.data, gate.beta * math.log(-gate.gamma / gate.zeta) - LIMIT
            xp = get_array_module(a)
            a = xp.where(a < least, xp.ones_like(a) * least, a)
            gate.log_alpha.data = xp.where(a > LIMIT, xp.ones_like(a) * LIMIT, a)

    def penalty(self) -> float:
        """Return l1 (s - t) + l2 (s - t)^2, which may be negative."""
        (l1, l2), excess = map(float, self.multipliers.data), self.excess()
        return l1 * excess + l2 * excess * excess

    def state(self) -> State:
        """Return the multipliers, what Adam remembers of them, and its steps."""
        memory = self.ascent.state[0] or dict.fromkeys(self.ascent.memories, np.zeros(2))
        return {"multipliers": self.multipliers.data + 0, **memory, "steps": self.ascent.steps}

    def load(self, state: State) -> None:
        """Take up what ``state`` returned."""
        names = ("multipliers", *self.ascent.memories)
        arrays = {name: state.get(name) for name in names}
        fits = all(getattr(array, "shape", None) == (2,) for array in arrays.values())
        if set(state) != {*names, "steps"} or not fits:
            raise ValueError(f"expected two multipliers and what Adam remembers of them, got {', '.join(state)}")
        steps = whole(state["steps"], "number of steps of the multipliers", 0)
        self.multipliers.data = np.array(arrays.pop("multipliers"), dtype=np.float64)
        self.ascent.state[0] = {name: np.array(array) for name, array in arrays.items()} if steps else {}
        self.ascent.steps = steps


def magnitudes(net: Module) -> dict[str, np.ndarray]:
    """Return the norm of each component of the matrices, ||P_k|| ||Q_k||, gates left out; errors as `matrices`."""
    return {
        name: np.linalg.norm(to_numpy(behind.W.data), axis=0) * np.linalg.norm(to_numpy(front.W.data), axis=1)
        for name, (front, _, behind) in matrices(net).items()
    }


def log_alphas(net: Module) -> dict[str, np.ndarray]:
    """Return log alpha of the gates of each matrix.

    Raises
    ------
    ValueError
        If a matrix has no gates; as `matrices`.
    """
    return {name: to_numpy(gate.log_alpha.data) for name, gate in _gates(net).items()}


def kept(net: Module, scores: Mapping[str, Array], share: float) -> dict[str, list[int]]:
    """Return which components stay: those of the largest scores over all matrices, but one at least of each.

    Their number is that which leaves nearest to (1 - share) of the weights, within half a component; ties go to the
    smaller net, and among equal scores to the first matrix and the lowest index.

    Raises
    ------
    ValueError
        If the share is outside [0, 1), or one component for each matrix is more than is to be left; if the scores are
        not finite, or not one for each component of each matrix; as `matrices`.
    """
    size = {name: matrix.size for name, matrix in matrices(net).items()}
    goal = (1 - _share(share)) * weights(net)
    ranked = _ranked(net, scores)
    left = np.cumsum([size[name] for name, _ in ranked])
    n = int(np.argmin(np.abs(left - goal))) + 1
    least = sum(size.values())
    if n < len(size) or least - goal > max(size.values()) / 2:
        raise ValueError(f"expected a share that leaves a component of each matrix, {least} weights, got {share}")
    return {name: sorted(k for other, k in ranked[:n] if other == name) for name in size}


def _ranked(net: Module, scores: Mapping[str, Array]) -> list[tuple[str, int]]:
    # (matrix, component), the best one of each matrix in front of all others.
    counts = {name: matrix.r for name, matrix in matrices(net).items()}
    arrays = {name: to_numpy(scores[name]) for name in counts} if scores.keys() == counts.keys() else {}
    fitting = [arrays[name].shape == (r,) and np.isfinite(arrays[name]).all() for name, r in counts.items() if arrays]
    if not fitting or not all(fitting):
        given = ", ".join(f"{r} for {name or 'the net'}" for name, r in counts.items())
        raise ValueError(f"expected a finite score for each component, {given}")
    pairs = [(name, int(k)) for name, score in arrays.items() for k in np.argsort(-score, kind="stable")]
    first = {name: int(np.argmax(score)) for name, score in arrays.items()}
    return sorted(pairs, key=lambda pair: (first[pair[0]] != pair[1], -arrays[pair[0]][pair[1]]))


def cut(net: Module, keep: Mapping[str, Sequence[int]]) -> Module:
    """Return a new net with these components of each matrix alone, and none of its gates: those left are at E z.

    In eval mode the authors take sigmoid(0.8 log alpha) for E z, which it is within 0.0074 of.  The gates become
    factors of Q, and an `nn.Identity` stands in their place.  The new net needs a new optimizer.

    Raises
    ------
    ValueError
        If `keep` does not name the matrices, or components of one are doubled, out of range or none; as `matrices`.
    """
    known = matrices(net)
    if set(keep) != set(known):
        raise ValueError(f"expected the components of {', '.join(known)} that stay, got those of {', '.join(keep)}")

    def change(_: Rebuild, name: str, module: Module) -> Module | None:
        return _small(known[name], keep[name]) if name in known else None

    return Rebuild(net, change).net


def cut_to(net: Module, share: float) -> Module:
    """Return a new net without the components of the smallest log alpha, so that this share of the weights is gone.

    Exact to half a component (`kept`), for good (`cut`).  Errors as these two.
    """
    return cut(net, kept(net, log_alphas(net), share))


def _small(matrix: Matrix, kept: Sequence[int]) -> Module:
    # The chain is a net of its own: that the channels of a recurrence around it cannot go does not concern it.
    front, gate, behind = matrix
    if isinstance(gate, HardConcrete):
        scale = nn.Scale(gate.channels, gate.channels, dtype_name(front.W.dtype))
        scale.s.data, scale.training, gate = gate.mean(), gate.training, scale
    small: Module = surgery.remove(Sequential(front, gate, behind), {"0.W": kept})
    return surgery.fold_scales(small)


def _share(value: Any) -> float:
    share = number(value, "a share that goes")
    if not 0 <= share < 1:
        raise ValueError(f"expected a share that goes of 0 or more, below 1, got {value}")
    return share


def _sum(x: Array) -> Array:
    return get_array_module(x).sum(x)
