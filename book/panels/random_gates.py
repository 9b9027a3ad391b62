"""Sparsity that is learnt while the net trains: random gates."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from panels.drawing import BLUE, Drawn, bars, canvas, curves, show, tiles, without
from panels.nets import accuracy, array, digits, left, new_perceptron, record, trained

import nn
from pruning import surgery
from pruning.penalties import beta_bernoulli, families, hard_concrete, l0, variational_dropout


def gated(gate: Callable[[int, Any], Any]) -> Any:
    """Return the perceptron with gates on its inputs and hidden units, untrained."""
    layers = []
    for k, layer in enumerate(new_perceptron().layers):
        if isinstance(layer, nn.Linear):
            layers.append(gate(layer.W.shape[1], np.random.default_rng(k)))
        layers.append(layer)
    return nn.Sequential(*layers)


def of_pixels_and_units(gates: dict[str, Any]) -> Drawn:
    """Draw the gates of eval mode: of the pixels as a picture, of the units as bars."""
    z, hidden = (np.asarray(each.factor()) for each in gates.values())
    figure, axes = canvas(2)
    title = f"gates of the pixels: {np.count_nonzero(z)} open"
    figure.colorbar(show(axes[0], without(z).reshape(8, 8), title, 1, "Blues"), ax=axes[0])
    bars(axes[1], hidden, range(hidden.size), f"of the units: {np.count_nonzero(hidden)} open", "gate", "unit")
    numbers = {"pixels": np.count_nonzero(z), "all_pixels": z.size}
    return figure, {**numbers, "units": np.count_nonzero(hidden), "all_units": hidden.size}


@functools.cache
def with_hard_concrete_gates() -> Any:
    """Return the perceptron with hard concrete gates, trained."""
    net = gated(lambda n, rng: hard_concrete.HardConcrete(n, rng, 0.2, dtype=np.float32))
    groups = {name: families.Family({f"{int(name) + 1}.W": (1,)}, 0.15) for name in l0.gates(net)}
    penalty = l0.ExpectedL0(net, groups, digits().train[1].size)
    return trained(net, nn.Adam(net.parameters(), 0.01), 30, [penalty])


def by_l0() -> Drawn:
    """L0 regularization: each pixel and each hidden unit has a random gate, whose probability to be open is penalised.
    Drawn are the gates of eval mode: {pixels} of {all_pixels} pixels and {units} of {all_units} units are open. What is
    closed leaves the net for good; accuracy {accuracy:.1f} %.

    Seen: A square picture of the gates of the pixels, gray at the edges, and bars of the gates of the units.
    """
    net = with_hard_concrete_gates()
    figure, numbers = of_pixels_and_units(l0.gates(net))
    return figure, {**numbers, "accuracy": accuracy(net)}


def by_beta_bernoulli() -> Drawn:
    """Beta-Bernoulli gates on the same places: how often each is open is drawn too, and the prior wants all of them
    closed. Drawn are the gates of eval mode, the mean of that share: {pixels} of {all_pixels} pixels and {units} of
    {all_units} units are open; accuracy {accuracy:.1f} %.

    Seen: A square picture of the gates of the pixels, gray where they are closed, and bars of the gates of the units.
    """
    net = gated(lambda n, rng: beta_bernoulli.BetaBernoulli(n, rng, dtype=np.float32))
    gates = beta_bernoulli.gates(net)
    faster = {parameter: 10.0 for gate in gates.values() for parameter in gate.parameters()}
    penalty = beta_bernoulli.Divergence(net, 1.0, digits().train[1].size)
    trained(net, nn.Adam(net.parameters(), 0.003, rates=faster), 25, [penalty])
    figure, numbers = of_pixels_and_units(gates)
    return figure, {**numbers, "accuracy": accuracy(net)}


def by_hard_concrete() -> Drawn:
    """Draws of a hard concrete gate for three values of log α: a smooth variable, stretched over [{low}, {high}] and
    clipped, is exactly zero or exactly one in many draws.

    Seen: Three histograms with peaks at zero and at one; from left to right the weight moves from zero to one.
    """
    figure, axes = canvas(3, 9, 2.3, sharey=True)
    rng = np.random.default_rng(0)
    u = rng.random(20000)
    for axis, log_alpha in zip(axes, (-2.0, 0.0, 2.0)):
        gate = hard_concrete.HardConcrete(u.size, rng)
        gate.log_alpha.data[:] = log_alpha
        z = np.asarray(gate.gates(u))
        share, edges = np.histogram(z, 40, weights=np.full(u.size, 1 / u.size))
        axis.stairs(share, edges, fill=True, color=BLUE)
        ends = [100 * np.mean(z == end) for end in (0, 1)]
        axis.set(title=f"log α = {log_alpha:g}: {ends[0]:.0f} % at 0, {ends[1]:.0f} % at 1", xlabel="gate z")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of draws")
    return figure, {"low": hard_concrete.GAMMA, "high": hard_concrete.ZETA}


def by_factorised_l0() -> Drawn:
    """FLOP on a text: two multipliers pull the share of the weights that closed gates are expected to take along to a
    target that grows. After the last epoch it is {share:.0%}, the target {target:.0%}, and an exact cut takes the rest.
    A net of the records.

    Seen: The share that is expected to go runs behind the dashed target, and rises with it.
    """
    course = record("factorised_l0")["course"]
    figure, (axis,) = canvas(1, 7.2, 2.8)
    epochs = range(1, len(course) + 1)
    axis.plot(epochs, [100 * each["target"] for each in course], color="black", linestyle="--", label="target")
    axis.plot(epochs, [100 * each["share"] for each in course], color=BLUE, marker="o", label="expected to go")
    axis.set(xlabel="epoch", ylabel="share of the weights, %")
    curves(axis)
    return figure, {name: course[-1][name] for name in ("share", "target")}


def by_variational() -> Drawn:
    """Variational dropout: each weight learns how much noise it bears. Those of log α above {threshold:g} bear any
    amount, so they carry nothing, and go: {left:,} weights are left. Accuracy {accuracy:.1f} %.

    Seen: Tiles of the noise of each weight, mostly dark, and the weights that stay: few in each tile, in the middle.
    """
    rng = np.random.default_rng(0)
    net = variational_dropout.variational(new_perceptron(), rng, -5.0, 3.0)
    count = digits().train[1].shape[0]
    optimizer = nn.Adam(net.parameters(), 0.01)
    ramp = nn.Ramp(optimizer, 300)
    trained(net, optimizer, 40, [variational_dropout.LogUniformPrior(net, count, ramp)])
    layer = next(each for each in net.modules() if isinstance(each, variational_dropout.VariationalLinear))
    noise = np.clip(np.asarray(layer.log_alpha()), -6, 8)
    small = surgery.harden(net)
    figure, axes = canvas(2)
    image = show(axes[0], tiles(noise, 6), "log α of each weight", 8, "viridis_r")
    image.set_clim(-6, 8)
    figure.colorbar(image, ax=axes[0])
    W = array(small)
    show(axes[1], tiles(without(W), 6), f"log α ≤ {layer.threshold:g}: {left(small):,} weights")
    return figure, {"threshold": layer.threshold, "left": left(small), "accuracy": accuracy(small)}


PANELS = {
    "penalties.hard_concrete": by_hard_concrete,
    "penalties.l0": by_l0,
    "penalties.beta_bernoulli": by_beta_bernoulli,
    "penalties.factorised_l0": by_factorised_l0,
    "penalties.variational_dropout": by_variational,
}
