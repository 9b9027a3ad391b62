r"""Adversarial training, vulnerability suppression, and masks that learn from attacked images alone.

The attack is projected gradient descent, in eval mode, on the mean loss E of labels t,

    x' <- P(x' + step sign(dE/dx')),   P onto |x' - x| <= eps and 0 <= x' <= 1,   sign(0) = 0,

from a point drawn in the ball.  The vulnerability of the hidden layers is

    V = (1/L) sum_l mean |f_l(x') - f_l(x)|,

f_l being the output of the l-th `nn.Tap`, behind its mask.  Weights and masks have objectives of their own,

    weights:  (E(x) + 2 E(x')) / 3 + lam V,        masks:  E(x') + (beta/N) KL,

of which KL is `beta_bernoulli.Divergence`.  Clean and attacked images go through the net as one batch of
twice the size, each with draws of its own: V of identical images is therefore not zero in train mode.  N is the number
of all training patterns.

Notes
-----
Madry, Makelov, Schmidt, Tsipras, Vladu 2018, Towards deep learning models resistant to adversarial attacks,
arXiv:1706.06083: the attack.  Madaan, Shin, Hwang 2019, Adversarial neural pruning with latent vulnerability
suppression, arXiv:1908.04355: V and the two objectives, as in their code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.arguments import nonnegative, whole
from nn.backend import Array, asarray, get_array_module
from nn.batches import Targets, evaluating
from nn.companions import OwnGradients, State
from nn.gates import Gate, Tap
from nn.initializers import check_generator
from nn.module import Module, check_net
from nn.run_state import check_generator_state, generator_state


@dataclass(frozen=True)
class PGD:
    """The attack x' <- P(x' + step sign(dE/dx')), `steps` times; FGSM is ``PGD(eps, eps, 1)`` without a draw.

    Parameters
    ----------
    eps : how far a pixel may move.
    step : how far it moves in one step.
    steps : how many there are.

    Raises
    ------
    TypeError, ValueError
        If eps or the step is below 0, or the number of steps no whole one of 0 or more.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties.adversarial import PGD
    >>> net = nn.Sequential(nn.Linear(2, 2, np.random.default_rng(0)))
    >>> net.layers[0].W.data = np.array([[1.0, 0.0], [0.0, 0.0]])
    >>> PGD(0.3, 0.2, 2)(net, nn.SoftmaxCrossEntropy(), np.array([[0.2], [0.5]]), np.array([1]), None).round(3)
    array([[0.5],
           [0.5]])
    """

    eps: float
    step: float
    steps: int

    def __post_init__(self) -> None:
        nonnegative(self.eps, "radius eps")
        nonnegative(self.step, "step of the attack")
        whole(self.steps, "number of steps", 0)

    def __call__(self, net: Module, loss: Any, x: Array, t: Targets, rng: np.random.Generator | None) -> Array:
        """Return x' for images x in [0, 1]; rng draws where it starts, None starts at x.  The net stays as it is.

        Raises
        ------
        ValueError
            If a pixel of x is not in [0, 1].
        """
        xp = get_array_module(x)
        _check_pixels(x)
        low, high = xp.maximum(x - self.eps, xp.zeros_like(x)), xp.minimum(x + self.eps, xp.ones_like(x))
        moved = x
        if rng is not None:
            start = asarray(rng.uniform(-self.eps, self.eps, tuple(x.shape)), like=x)
            moved = xp.minimum(xp.maximum(x + start, low), high)
        with evaluating(net):
            for _ in range(self.steps):
                loss.forward(net.forward(moved), t)
                gx = net.backward(loss.backward())
                moved = xp.minimum(xp.maximum(moved + self.step * xp.sign(gx), low), high)
        return moved


def _check_pixels(x: Array) -> None:
    xp = get_array_module(x)
    low, high = float(xp.min(x)), float(xp.max(x))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"expected pixels in [0, 1], the box of the attack, got from {low:g} to {high:g}")


def taps(net: Module) -> list[Tap]:
    """Return the taps of the net, the hidden layers that V looks at.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none.
    """
    check_net(net)
    found = [module for module in net.modules() if isinstance(module, Tap)]
    if not found:
        raise ValueError("expected a net with an nn.Tap behind every hidden layer that V looks at, got one without")
    return found


def vulnerability(net: Module, x: Array, attacked: Array) -> float:
    """Return V of images x and attacked ones of the same shape, in the mode that the net is in.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If the net has no tap, or the shapes differ.
    """
    found, xp = taps(net), get_array_module(x, attacked)
    if tuple(x.shape) != tuple(attacked.shape):
        raise ValueError(f"expected attacked images of shape {tuple(x.shape)}, got {tuple(attacked.shape)}")
    net.forward(xp.concat([x, attacked], axis=-1))
    return float(_vulnerability(found))


def _vulnerability(found: Sequence[Tap]) -> Array:
    means = [get_array_module(d).sum(abs(d)) / math.prod(d.shape) for d in map(_difference, found)]
    return sum(means[1:], means[0]) / len(means)


def _difference(tap: Tap) -> Array:
    N = tap.y.shape[-1] // 2
    return tap.y[..., N:] - tap.y[..., :N]


class AdversarialGradients(OwnGradients):
    """Gradients of  w_0 E(x) + w_1 E(x') + lam V  for the weights and of  m_0 E(x) + m_1 E(x')  for the masks.

    Parameters
    ----------
    net : the one that is trained; masks are the parameters of its gates (`nn.Gate`), weights are all others.
    attack : makes x' of every batch.
    rng : draws where the attack starts; its state is saved with the run.
    weights, masks : (w_0, w_1) and (m_0, m_1), the shares of clean and attacked images.
    strength : lam.

    Raises
    ------
    TypeError, ValueError
        If a share or lam is below 0, there are not two shares, or lam is above 0 and the net has no tap.

    Notes
    -----
    ``gradients`` returns the objective of the weights.  Two sweeps go back through one forward pass; the masks' comes
    first, for the second one overwrites all gradients.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties.adversarial import PGD, AdversarialGradients
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> net, loss = nn.models.mlp((64, 30, 10), rng), nn.SoftmaxCrossEntropy()
    >>> robust = AdversarialGradients(net, PGD(0.1, 0.025, 5), np.random.default_rng(1))
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [robust]}
    >>> history = nn.training.train(net, loss, nn.Adam(net.parameters(), 1e-2), *data.train, epochs=5, **settings)
    >>> attacked = PGD(0.1, 0.025, 10)(net, loss, *data.test, np.random.default_rng(2))
    >>> nn.batches.evaluate(net, loss, attacked, data.test[1])[1] > 0.5
    True
    """

    def __init__(
        self,
        net: Module,
        attack: PGD,
        rng: np.random.Generator,
        weights: Sequence[float] = (1 / 3, 2 / 3),
        masks: Sequence[float] = (0.0, 1.0),
        strength: float = 0.0,
    ):
        check_net(net)
        check_generator(rng, outline=False)
        self.net, self.attack, self.rng = net, attack, rng
        self.weights, self.masks = _shares(weights, "weights"), _shares(masks, "masks")
        self.strength = nonnegative(strength, "strength of V")
        self.taps = taps(net) if self.strength else []
        gates = [module for module in net.modules() if isinstance(module, Gate)]
        self.mask_parameters = [u for gate in gates for u in gate.parameters()]

    def gradients(self, net: Module, loss: Any, x: Array, t: Targets) -> Array:
        """Fill all gradients and return  w_0 E(x) + w_1 E(x') + lam V."""
        xp, N = get_array_module(x), x.shape[-1]
        y = net.forward(xp.concat([x, self.attack(net, loss, x, t, self.rng)], axis=-1))
        E, gy = zip(*((loss.forward(part, t), loss.backward()) for part in (y[..., :N], y[..., N:])))
        masks = []
        if self.mask_parameters:
            net.backward_parameters(_weighted(self.masks, gy))
            masks = [u.grad for u in self.mask_parameters]
        self._suppress()
        net.backward_parameters(_weighted(self.weights, gy))
        for u, grad in zip(self.mask_parameters, masks):
            u.grad = grad
        total = self.weights[0] * E[0] + self.weights[1] * E[1]
        return total + self.strength * _vulnerability(self.taps) if self.taps else total

    def _suppress(self) -> None:
        # lam dV/df_l = lam sign(f_l(x') - f_l(x)) / (L size), and its negative for the clean half.
        for tap in self.taps:
            d = _difference(tap)
            xp = get_array_module(d)
            pull = self.strength / (len(self.taps) * math.prod(d.shape)) * xp.sign(d)
            tap.extra = xp.concat([-pull, pull], axis=-1)

    def state(self) -> State:
        """Return the state of the generator."""
        return {"rng": generator_state(self.rng.bit_generator.state)}

    def load(self, state: State) -> None:
        """Take up the state of the generator."""
        if not isinstance(state, Mapping) or set(state) != {"rng"}:
            raise ValueError(f"expected the state of a generator, got {sorted(state)}")
        check_generator_state("the run", self.rng, state["rng"])
        self.rng.bit_generator.state = state["rng"]


def _weighted(shares: tuple[float, float], gy: Sequence[Array]) -> Array:
    clean, attacked = gy
    return get_array_module(clean).concat([shares[0] * clean, shares[1] * attacked], axis=-1)


def _shares(shares: Sequence[float], what: str) -> tuple[float, float]:
    if len(shares) != 2:
        raise ValueError(f"expected two shares of the {what}, of clean and of attacked images, got {shares!r}")
    return nonnegative(shares[0], f"share of the {what}"), nonnegative(shares[1], f"share of the {what}")
