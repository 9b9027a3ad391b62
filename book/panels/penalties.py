"""Sparsity that is learnt while the net trains: penalties and constraints."""

import copy

import numpy as np
from panels.drawing import BLUE, GONE, RED, Drawn, bars, canvas, curves, pixels, show, tiles, without
from panels.nets import (
    FIRST,
    LAYER,
    LOSS,
    array,
    convolutions,
    digits,
    new_convolutions,
    new_perceptron,
    perceptron,
    record,
    trained,
)

import nn
from pruning.penalties import (
    admm,
    adversarial,
    families,
    gradual_thresholds,
    group_lasso,
    ista_scales,
    projections,
    slimming,
)


def by_families() -> Drawn:
    """One weight as a matrix, a row for each of {rows} filters and a column for each of {columns} positions, cut into
    groups in four ways. The weaker half of the groups is gray.

    Seen: Four matrices of one size: gray rows, gray blocks of nine columns, gray single columns, and gray short pieces
    of rows.
    """
    net = convolutions()
    W = array(net, LAYER)
    cuts = {
        "filters": families.filters,
        "channels": families.channels,
        "columns": families.columns,
        "kernels": families.kernels,
    }
    figure, axes = canvas(4, 10, 2.2)
    for axis, (name, make) in zip(axes, cuts.items()):
        family = make(net, LAYER, 1.0)
        weights = {each: array(net, each) for each in family.axes}
        sizes = np.asarray(families.norms(weights, family))
        spread = np.broadcast_to(np.asarray(families.spread(sizes, W, family.axes[LAYER])), W.shape)
        matrix = projections.matrix(spread)
        low = np.quantile(np.unique(spread), 0.5)
        show(axis, np.where(matrix < low, np.nan, 1.0), f"{name}: {sizes.size} groups", 1.6, "Blues")
        axis.set_aspect("auto")
    return figure, {"rows": len(W), "columns": W[0].size}


def by_group_lasso() -> Drawn:
    """A group lasso on the columns of the first layer: whole pixels become exactly zero while the net trains, in all
    units at once. {after_pixels} of {before_pixels} are left; accuracy {before:.1f} % before, {after:.1f} % after.

    Seen: Norms of the columns as a square picture before and after: the edges, and some pixels more, are gone.
    """
    net = new_perceptron()
    group = families.columns(net, FIRST, 0.01)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    trained(net, optimizer, 30, [group_lasso.ProximalSteps(net, [group], optimizer)])
    return pixels(net)


def by_gradual_thresholds() -> Drawn:
    """The same penalty, and a threshold that grows step by step: a pixel whose norm falls below it is deleted for good.
    {after_pixels} of {before_pixels} are left; accuracy {before:.1f} % before, {after:.1f} % after.

    Seen: Norms of the columns as a square picture before and after: fewer pixels stay, all of them strong.
    """
    net = new_perceptron()
    group = families.columns(net, FIRST, 0.01)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    growing = gradual_thresholds.GradualThresholds(net, [group], lambda step: 0.001 * step, every=20)
    steps = [group_lasso.ProximalSteps(net, [group], optimizer), growing]
    trained(net, optimizer, 30, steps)
    return pixels(net)


def by_projections() -> Drawn:
    """A matrix and its nearest ones in three sets: with {weights} nonzero weights, with {rows} rows, with {columns}
    columns. What stays is unchanged.

    Seen: Four matrices: all, scattered entries, whole rows, whole columns.
    """
    W = array(perceptron())[:12, 8:40]
    weights, rows, columns = 100, 4, 12
    sets = {
        "a matrix": W,
        f"{weights} weights": projections.weights(weights)(W),
        f"{rows} rows": projections.filters(rows)(W),
        f"{columns} columns": projections.columns(columns)(W),
    }
    figure, axes = canvas(4, 10, 1.9)
    for axis, (name, nearest) in zip(axes, sets.items()):
        show(axis, without(nearest), name, float(np.abs(W).max()))
    return figure, {"weights": weights, "rows": rows, "columns": columns}


def by_admm() -> Drawn:
    """ADMM: the weights W follow the loss and are pulled to a copy Y that has {budget} nonzeros in all. What is below
    {small} is drawn as gone; the projection then deletes what Y does not have.

    Seen: Tiles of the dense net, of the net after ADMM, many of whose weights are nearly zero, and after the
    projection.
    """
    net = copy.deepcopy(perceptron())
    budget, small = 440, 1e-3
    goal = admm.OneBudget(net, [FIRST, "3.W"], budget, 0.1, every=20)
    optimizer = nn.Adam(net.parameters(), 0.003)
    trained(net, optimizer, 30, [goal])
    pulled = array(net).copy()
    goal.project()
    figure, axes = canvas(3, 9, 2.9)
    size = float(np.abs(array(perceptron())).max())
    for axis, W, title in zip(
        axes, (array(perceptron()), pulled, array(net)), ("before", "W, pulled to Y", "projected")
    ):
        gone = (W == 0) | ((np.abs(W) < small) & (title != "before"))
        show(axis, tiles(without(W, gone), 6), f"{title}: {np.count_nonzero(~gone):,} of {W.size:,}", size)
    return figure, {"budget": budget, "small": small}


def by_slimming() -> Drawn:
    """Network slimming: an l1 penalty pushes scales of batch norm to zero, and one threshold for all layers says which
    channels go: {gone} of {all}. A net of the records.

    Seen: Bars of the scales of three layers: many are exactly zero, and the few others below one height are pale.
    """
    found = record("slimming")
    scales = found["penalised"]["proximal"]["scales"]
    keep = found["rows"][0]["keep"]
    figure, axes = canvas(3, 9, 2.5, sharey=True)
    for axis, (name, values), kept in zip(axes, scales.items(), keep.values()):
        bars(axis, np.abs(values), kept, f"layer {name.split('.')[0]}: {len(kept)} of {len(values)} stay", "")
    axes[0].set_ylabel("|scale|")
    total = sum(map(len, scales.values()))
    return figure, {"gone": total - sum(map(len, keep.values())), "all": total}


def by_ista() -> Drawn:
    """Proximal steps on the scales of batch norm, each layer pushed as strongly as one of its channels costs. Channels
    whose scale is exactly zero go: {gone} of {all}.

    Seen: Bars of the scales of three layers, some of them exactly zero; above each layer what one of its channels
    costs.
    """
    net = new_convolutions()
    costs = ista_scales.costs(net, (1, 8, 8))
    groups = ista_scales.families(net, (1, 8, 8), 0.006)
    optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    trained(net, optimizer, 8, [group_lasso.ProximalSteps(net, groups, optimizer)])
    figure, axes = canvas(3, 9, 2.5)
    sizes = {name: np.abs(gamma.data) for name, gamma in slimming.scales(net).items()}
    for axis, (name, size) in zip(axes, sizes.items()):
        title = f"{name}: {np.count_nonzero(size)} of {size.size} stay\ncost {costs[name]:.2f} a channel"
        bars(axis, size, list(np.flatnonzero(size)), title, "|scale|")
    joined = np.concatenate(list(sizes.values()))
    return figure, {"gone": sum(joined == 0), "all": joined.size}


def by_scaling_factors() -> Drawn:
    """Sparse structure selection: each residual block has one factor, pushed towards zero while the net trains. {gone}
    of {all} blocks reach it (dashed), and leave the net. A net of the records.

    Seen: One falling curve for each block; the dashed ones end at zero, the others above.
    """
    found = record("scaling_factors")["selected"]["APG"]
    factors = np.array(found["factors"])
    figure, (axis,) = canvas(1, 7.2, 2.8)
    for line in factors.T:
        gone = line[-1] == 0
        axis.plot(range(1, len(line) + 1), line, color=GONE if gone else BLUE, linestyle="--" if gone else "-")
    names = [", ".join(str(k + 1) for k in np.flatnonzero((factors[-1] == 0) == each)) for each in (False, True)]
    axis.plot([], color=BLUE, label=f"blocks {names[0]} stay")
    axis.plot([], color=GONE, linestyle="--", label=f"blocks {names[1]} go")
    axis.set(xlabel="epoch", ylabel="factor of the block", xlim=(1, len(factors)))
    curves(axis)
    return figure, {"gone": sum(factors[-1] == 0), "all": factors.shape[1]}


def by_adversary() -> Drawn:
    """Digits, and the same moved by at most {radius} a pixel so that the loss of this net rises: of {all} it reads
    {right} right above, and {fooled} below. Pruning against an adversary trains weights and masks on images like those
    below.

    Seen: Two rows of digits that look alike, with what the net says above each; wrong ones are marked.
    """
    import matplotlib.pyplot as plt

    net = perceptron()
    x, t = digits().test[0][..., :6], digits().test[1][:6]
    radius, right = 0.15, []
    moved = np.asarray(adversarial.PGD(radius, 0.02, 20)(net, LOSS, x, t, None))
    figure, grid = plt.subplots(2, 6, figsize=(9, 3.2), constrained_layout=True)
    for k in range(6):
        for axis, images in zip(grid[:, k], (x, moved)):
            said = int(np.asarray(net.forward(images[..., k : k + 1])).argmax())
            right.append(said == int(t[k]))
            show(axis, images[0, ..., k], f"says {said}" + ("" if right[-1] else ": wrong"), 1, "gray")
            axis.title.set_color("black" if right[-1] else RED)
    return figure, {"radius": radius, "all": len(t), "right": sum(right[::2]), "fooled": sum(right[1::2])}


PANELS = {
    "penalties.families": by_families,
    "penalties.group_lasso": by_group_lasso,
    "penalties.gradual_thresholds": by_gradual_thresholds,
    "penalties.projections": by_projections,
    "penalties.admm": by_admm,
    "penalties.slimming": by_slimming,
    "penalties.ista_scales": by_ista,
    "penalties.scaling_factors": by_scaling_factors,
    "penalties.adversarial": by_adversary,
}
