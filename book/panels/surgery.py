"""What is really removed."""

import copy
from typing import Any

import numpy as np
from panels.drawing import RED, Drawn, bars, canvas, pictures_of, show, tiles, without
from panels.nets import LAYER, array, convolutions, deleted, digits, left, perceptron
from panels.random_gates import with_hard_concrete_gates

from pruning import filters, masks, surgery
from pruning.channels import tracing
from pruning.penalties import l0, projections
from pruning.scores import filter_norm, magnitude
from pruning.surgery import constants


def sparse_rows_and_columns() -> np.ndarray:
    """Return the second layer's matrix after filters and columns were projected."""
    W = array(convolutions(), LAYER)
    return np.asarray(projections.matrix(projections.filters_and_columns(10, 40)(W)))


def by_removal() -> Drawn:
    """Surgery: {first} of {all_first} filters of the first layer take their blocks of columns of the second one along,
    and {rows} of its {all_rows} rows go themselves. What is left is an ordinary smaller matrix.

    Seen: A wide matrix with gray rows and gray blocks of columns, and a matrix of half the height and width without
    gray.
    """
    net = convolutions()
    keep = filters.independent(net, {"0.W": 0.5, LAYER: 0.5}, filter_norm.saliency)
    small = surgery.remove(net, keep)
    figure, axes = canvas(2, 8.4, 2.0, gridspec_kw={"width_ratios": [2, 1]})
    W, V = (projections.matrix(array(each, LAYER)) for each in (net, small))
    gone = np.ones(array(net, LAYER).shape, bool)
    gone[np.ix_(keep[LAYER], keep["0.W"])] = False
    size = float(np.abs(W).max())
    show(axes[0], without(W, projections.matrix(gone)), f"{W.shape[0]} × {W.shape[1]}: rows and columns that go", size)
    show(axes[1], V, f"{V.shape[0]} × {V.shape[1]}: what is left", size)
    all_first = len(array(net, "0.W"))
    sizes = {"all_first": all_first, "first": all_first - len(keep["0.W"])}
    return figure, {**sizes, "rows": len(W) - len(V), "all_rows": len(W)}


def with_dead_filters() -> tuple[Any, list[int]]:
    """Return a net three of whose filters have no weights and no scale any more, but a shift, and which these are."""
    net = copy.deepcopy(convolutions())
    order = np.argsort(array(net, "4.beta"))
    dead = sorted(int(k) for k in (order[0], order[-2], order[-1]))
    array(net, LAYER)[dead] = 0
    array(net, "4.gamma")[dead] = 0
    return net, dead


def by_folding() -> Drawn:
    """The {dead} dead filters of a layer still emit the activation of their shifts: {emitted}. The next layer reads
    these constants. Folded into it they are a bias for each of its outputs, another one where its window meets the
    border. Then the filters go: the outputs move by {with_them:.0e} at most, and by {without_them:.2f} if the constants
    are forgotten.

    Seen: The matrix of the layer with empty rows, the smaller matrix, and small squares of biases of both signs, uneven
    at their borders.
    """
    net, dead = with_dead_filters()
    keep = {LAYER: [k for k in range(len(array(net, LAYER))) if k not in dead]}
    folded = surgery.fold_constants(net, keep, (1, 8, 8), border="map")
    small = surgery.remove(folded, keep)
    W, V = (projections.matrix(array(each, LAYER)) for each in (net, small))
    bias = np.asarray(dict(folded.named_buffers())["7.bias_map"])
    figure, axes = canvas(3, 10, 2.2, gridspec_kw={"width_ratios": [1.6, 1.6, 1]})
    for axis, values, title in zip(axes, (W, V), ("before", "after")):
        show(axis, without(values), f"{title}: {len(values)} filters", float(np.abs(W).max()))
        axis.set_aspect("auto")
    image = show(axes[2], tiles(bias.reshape(len(bias), -1), 4, bias.shape[-1]), "biases of the next layer")
    figure.colorbar(image, ax=axes[2])
    emitted = constants.Emitted(net, tracing.trace(net), (1, 8, 8)).outputs["5"]
    numbers = {"dead": len(dead), "emitted": ", ".join(f"{np.max(emitted.x[k]) + 0.0:.3f}" for k in dead)}
    moved = {"with_them": gap(net, small), "without_them": gap(net, surgery.remove(net, keep))}
    return figure, {**numbers, **moved}


def gap(net: Any, other: Any) -> float:
    """Return the largest difference of the outputs of two nets on the test images."""
    x = digits().test[0]
    return float(np.abs(net.forward(x) - other.forward(x)).max())


def by_constants() -> Drawn:
    """Which channels are constant, whatever the input, and what they emit. Of {all} maps of a layer {constant} are,
    found from the weights alone: for two digits they hold the same number everywhere, {loud} of them not zero.

    Seen: The maps of two digits side by side; those in frames are even and the same in both, the others differ.
    """
    net, _ = with_dead_filters()
    found = constants.Emitted(net, tracing.trace(net), (1, 8, 8)).outputs["5"]
    figure, axes = canvas(2)
    for axis, image in zip(axes, (5, 6)):
        maps = pictures_of(net, image=image)
        show(
            axis,
            tiles(maps.reshape(len(maps), -1), 4, maps.shape[-1]),
            f"maps of a {digits().test[1][image]}",
            color="Blues",
        )
        for k in np.flatnonzero(found.constant):
            corner = [(maps.shape[-1] + 1) * n + 0.5 for n in (k % 4, k // 4)]
            axis.add_patch(plt_frame(corner, maps.shape[-1]))
    loud = sum(found.constant & found.nonzero())
    return figure, {"all": found.constant.size, "constant": sum(found.constant), "loud": loud}


def plt_frame(corner: list[float], side: int) -> Any:
    """Return a frame around a tile."""
    import matplotlib.patches

    return matplotlib.patches.Rectangle((corner[0], corner[1]), side, side, fill=False, edgecolor=RED, linewidth=2)


def by_hardening() -> Drawn:
    """A net with random gates becomes one without: each gate of eval mode is a factor of the weights around it. Of
    {before:,} weights {after:,} are not zero then, and the two nets differ by {gap:.0e} at most in their outputs.

    Seen: Tiles of weights of the first layer in front of gates, bright and gray gates, and the tiles times the gates:
    closed pixels are gone in every tile.
    """
    net = with_hard_concrete_gates()
    plain = surgery.harden(net)
    name = next(iter(masks.prunable(net)))
    W, V = array(net, name), array(plain, name)
    z = np.asarray(next(iter(l0.gates(net).values())).factor())
    figure, axes = canvas(3, 9, 2.9, gridspec_kw={"width_ratios": [1.3, 0.7, 1.3]})
    size = float(np.abs(W).max())
    show(axes[0], tiles(without(W), 6), f"with gates: {left(net):,} weights", size)
    show(axes[1], without(z).reshape(8, 8), "gates of the pixels", 1, "Blues")
    show(axes[2], tiles(without(V), 6), f"without: {left(plain):,} weights", size)
    return figure, {"before": left(net), "after": left(plain), "gap": gap(net, plain)}


def by_purification() -> Drawn:
    """Network purification: after columns were pruned, a channel of which few columns are left does little. If its
    fullness is below a threshold, and its energy too, the whole channel goes, and with it the filter that makes it: by
    fullness alone, below {least:.0%}, {gone} of {all} channels.

    Seen: A matrix with gray columns in blocks of nine, and bars of how full each block is; bars below a line are pale.
    """
    W = sparse_rows_and_columns()
    least = 0.35
    full = (W.reshape(len(W), -1, 9) ** 2).sum(axis=0)
    fullness = (full > 0).mean(axis=1)
    figure, axes = canvas(2, 9, 2.3, gridspec_kw={"width_ratios": [2.2, 1]})
    show(axes[0], without(W), "columns of a pruned layer, nine a channel")
    bars(
        axes[1],
        fullness,
        list(np.flatnonzero(fullness >= least)),
        "fullness of each channel",
        "share of columns",
        "channel",
    )
    axes[1].axhline(least, color=RED, linewidth=1)
    return figure, {"least": least, "gone": sum(fullness < least), "all": fullness.size}


def by_unused_paths() -> Drawn:
    """Unused paths: with {share:.0%} of the weights left, {silent} of {all} units see nothing and {unread} are read by
    nobody (marked rows). They leave the net, of which {units} units are left, and which computes the same: the outputs
    differ by {gap:.0e} at most.

    Seen: A sparse matrix with marked rows, and a smaller one without them.
    """
    net = deleted(magnitude.saliency(perceptron()), perceptron(), 0.95)
    W, V = array(net), array(net, "3.W")
    silent, unread = ~W.any(axis=1), ~V.any(axis=0)
    small = surgery.remove_unused_paths(net, (1, 8, 8))
    figure, axes = canvas(2, 9, 2.6, gridspec_kw={"width_ratios": [2.2, 1]})
    show(axes[0], without(W), f"{len(W)} units, a row each; marked: those that go")
    for k in np.flatnonzero(silent | unread):
        axes[0].axhspan(k - 0.5, k + 0.5, facecolor="none", edgecolor=RED, hatch="///", linewidth=0)
    U = next(np.asarray(each.data) for name, each in small.named_parameters() if name.endswith(".W"))
    show(axes[1], without(U), f"{U.shape[0]} units are left")
    numbers = {"share": left(net) / left(perceptron()), "silent": sum(silent), "unread": sum(unread)}
    return figure, {**numbers, "all": len(W), "units": len(U), "gap": gap(net, small)}


PANELS = {
    "surgery.removal": by_removal,
    "surgery.folding": by_folding,
    "surgery.constants": by_constants,
    "surgery.hardening": by_hardening,
    "surgery.purification": by_purification,
    "surgery.unused_paths": by_unused_paths,
}
