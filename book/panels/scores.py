"""What a weight or a filter is worth: each score deletes what is worth least."""

import copy

import numpy as np
from panels.drawing import Drawn, bars, before_and_after, canvas, filters_gone, show, tiles, without
from panels.nets import (
    FIRST,
    LAYER,
    LOSS,
    accuracy,
    array,
    convolutions,
    deleted,
    digits,
    for_net,
    left,
    new_perceptron,
    perceptron,
    trained,
)

import nn
from pruning import surgery
from pruning.scores import activation, chance, filter_norm, fisher, gates, magnitude, nisp, obd, obs, taylor

SHARE = 0.7


def by_magnitude() -> Drawn:
    """The smallest {gone:.0%} of all weights go, wherever they are. A tile is what one hidden unit sees of the pixels
    of a digit; gray is gone. Accuracy on the test images: {before:.1f} % before, {after:.1f} % after.

    Seen: One tile of weights for each hidden unit, and the same with the pale places gone: the strong weights stay.
    """
    return before_and_after(perceptron(), deleted(magnitude.saliency(perceptron()), perceptron(), SHARE))


def by_obd() -> Drawn:
    """A weight goes if deleting it is predicted to raise the loss least: {gone:.0%} of all. Of the weights on the
    leftmost column of pixels, which is nearly always dark, {edge:.0%} go. Accuracy: {before:.1f} % before, {after:.1f}
    % after.

    Seen: The same tiles after Optimal Brain Damage: whole columns of pixels at the edges are gone, and some pale
    weights in the middle stay.
    """
    scores = obd.saliency(perceptron(), LOSS, *digits().train, weight_decay=1e-4)
    small = deleted(scores, perceptron(), SHARE)
    figure, numbers = before_and_after(perceptron(), small)
    return figure, {**numbers, "edge": np.mean(array(small)[:, ::8] == 0)}


def by_obs() -> Drawn:
    """Optimal Brain Surgeon on a perceptron with {units} hidden units: one weight goes after the other, {gone:.0%} of
    all in the end, and after each all that stay are adjusted. The right panel is the change of those that stay, on a
    scale of its own: by {most:.2f} at most, and half of them by less than {median:.3f}.

    Seen: One tile for each hidden unit, the same with half of the weights gone, and how the others changed: a few
    strong colors among many pale ones.
    """
    net = trained(nn.models.mlp((64, 8, 10), np.random.default_rng(0)))
    small, (x, t) = copy.deepcopy(net), for_net(net).train
    Hinv = nn.curvature.matrix.inverse(net, LOSS, x[..., :500], t[:500], weight_decay=1e-4, damping=1e-3)
    obs.prune(small, Hinv, 0.5)
    W, V = array(net), array(small)
    moved, size = without(V - W, V == 0), float(np.abs(W).max())
    figure, axes = canvas(3, 9, 2.4)
    show(axes[0], tiles(W, 4), f"before: {accuracy(net):.1f} %", size)
    show(axes[1], tiles(without(V), 4), f"after: {accuracy(small):.1f} %", size)
    image = show(axes[2], tiles(moved, 4), "how the others moved")
    figure.colorbar(image, ax=axes[2])
    change = np.abs(moved[np.isfinite(moved)])
    numbers = {"units": len(W), "gone": 1 - left(small) / left(net)}
    return figure, {**numbers, "most": change.max(), "median": np.median(change)}


def by_fisher() -> Drawn:
    """The mean of the squared gradient, which Adam keeps anyway, in the place of the second derivative: {gone:.0%} of
    the weights go. Accuracy: {before:.1f} % before, {after:.1f} % after.

    Seen: Tiles before and after: the pixels at both edges, which are always dark, are gone in all of them.
    """
    net = new_perceptron()
    optimizer = nn.Adam(net.parameters(), 0.01)
    trained(net, optimizer)
    return before_and_after(net, deleted(fisher.saliency(net, optimizer), net, SHARE))


def by_gates() -> Drawn:
    """Gates on rows and columns of the first layer: how the loss answers to closing a unit, or a pixel, summed over all
    of its weights. The {gone} units of least answer are pale; {dark} of {pixels} pixels answer with less than a tenth
    of the strongest.

    Seen: One bar for each unit, half of them pale, and a square picture of the pixels: the edges are white, they may
    go.
    """
    net = copy.deepcopy(perceptron())
    LOSS.forward(net.forward(digits().train[0]), digits().train[1])
    net.backward(LOSS.backward())
    rows, columns = (np.abs(np.asarray(each(net, [FIRST])[FIRST])) for each in (gates.rows, gates.columns))
    keep = np.argsort(-rows)[: len(rows) // 2]
    figure, axes = canvas(2)
    bars(axes[0], rows, list(keep), "units of the hidden layer", "|dE / d gate|", "unit")
    figure.colorbar(show(axes[1], columns.reshape(8, 8), "inputs, pixel by pixel", color="Blues"), ax=axes[1])
    dark = np.count_nonzero(columns < columns.max() / 10)
    return figure, {"gone": len(rows) - len(keep), "dark": dark, "pixels": columns.size}


def by_chance() -> Drawn:
    """{gone} of {all} filters of the second convolution, drawn by lot: what any other score has to beat. Accuracy,
    nothing retrained: {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of random height, half of them pale, and the maps of a digit, of which the same half is gone.
    """
    scores = chance.saliency(convolutions(), np.random.default_rng(3), [LAYER])[LAYER]
    return filters_gone(scores, "chance", "a random number")


def by_norm() -> Drawn:
    """The {gone} filters of least L1 norm go. The batch norm behind them is folded in first: without that the norm says
    nothing of the map. Accuracy, nothing retrained: {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of the norms of the filters, the lower half pale, and the maps of a digit before and after.
    """
    scores = filter_norm.saliency(surgery.fold_batchnorm(convolutions()), [LAYER])[LAYER]
    return filters_gone(scores, "L1 norm, batch norm folded in", "L1 norm")


def by_activation() -> Drawn:
    """The {gone} maps that are most often zero go, whatever the next layer makes of them. Accuracy, nothing retrained:
    {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of the shares of nonzero places of the maps, the lower half pale, and the maps of a digit before and
    after.
    """
    scores = activation.nonzero(convolutions(), digits().train[0], [LAYER])[LAYER]
    return filters_gone(scores, "share of the map that is not 0", "1 - APoZ")


def by_taylor() -> Drawn:
    """A gate on each map, closed from one to zero: the first-order change of the loss of each image, in the mean of
    absolute values. The {gone} lowest go. Accuracy, nothing retrained: {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of the scores, the lower half pale, and the maps of a digit before and after.
    """
    scores = taylor.saliency(convolutions(), LOSS, *digits().train, [LAYER])[LAYER]
    return filters_gone(scores, "Taylor", "mean |z dE/dz|")


def by_nisp() -> Drawn:
    """The importance of the last responses, carried back through the absolute values of the weights behind the layer.
    The {gone} lowest go. Accuracy, nothing retrained: {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of the importances, the lower half pale, and the maps of a digit before and after.
    """
    scores = nisp.of_classifier(convolutions(), digits().train[0], [LAYER])[LAYER]
    return filters_gone(scores, "NISP", "importance")


PANELS = {
    "scores.magnitude": by_magnitude,
    "scores.obd": by_obd,
    "scores.obs": by_obs,
    "scores.fisher": by_fisher,
    "scores.gates": by_gates,
    "scores.chance": by_chance,
    "scores.filter_norm": by_norm,
    "scores.activation": by_activation,
    "scores.taylor": by_taylor,
    "scores.nisp": by_nisp,
}
