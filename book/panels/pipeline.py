"""How pruning and training take turns."""

import math

import numpy as np
from panels.drawing import BLUE, GONE, RED, Drawn, before_and_after, canvas, curves, show, tiles, without
from panels.nets import (
    FIRST,
    LAYER,
    LOSS,
    array,
    convolutions,
    deleted,
    digits,
    new_convolutions,
    new_perceptron,
    perceptron,
    record,
    records,
    trained,
)

import nn
from pruning import counts, pipeline, surgery
from pruning.pipeline import controls, gradual, rows_and_columns, scratch_budget, soft_filters
from pruning.scores import magnitude

STEPS = 23
"""Batches of one epoch."""


def by_three_stages() -> Drawn:
    """Train, prune, retrain, in turns, with Optimal Brain Damage: down to {flat:,} weights deleting costs this net less
    than {little:.0f} points of accuracy. The last deletion costs {fall:.0f} points, and retraining brings {rise:.0f} of
    them back. One perceptron of the records.

    Seen: A zigzag from left to right: flat at first, then falls that retraining answers.
    """
    rows = [row for row in record("obd_mlp")["rows"] if row["method"] == "obd" and row["retrain"]]
    x = [row["weights_left"] for row in rows]
    before = [100 * row["test_accuracy"] for row in rows]
    after = [100 * row["retrained"]["test_accuracy"] for row in rows]
    falls = [high - low for high, low in zip(after, before[1:])]
    little = 2.0
    figure, (axis,) = canvas(1, 7.2, 2.9)
    axis.plot(np.repeat(x, 2), np.column_stack([before, after]).ravel(), color=BLUE, linewidth=1)
    axis.plot(x, before, "v", color=RED, label="deleted")
    axis.plot(x, after, "^", color=BLUE, label="and retrained")
    axis.set(xlabel="weights left", ylabel="test accuracy, %", xscale="log", xlim=(3000, 150))
    axis.set_xticks([2000, 1000, 500, 200], ["2,000", "1,000", "500", "200"])
    axis.minorticks_off()
    curves(axis)
    costly = next(k for k, fall in enumerate(falls) if fall >= little)
    numbers = {"flat": x[costly], "little": little, "fall": falls[-1], "rise": after[-1] - before[-1]}
    return figure, numbers


def by_gradual() -> Drawn:
    """Single weights are deleted by magnitude while the net trains, a few every {every} steps, until {budget} of all
    are left; then it trains on. Of the first layer {last:,} of {all:,} are left.

    Seen: The tiles of the first layer at three times of the training, emptier each time.
    """
    net, seen, budget, every = new_perceptron(), [], 400, 10
    deletion = gradual.Gradual(net, magnitude.saliency, budget, 0.7 * 30 * STEPS, every=every)
    optimizer, rng = nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4), np.random.default_rng(1)
    for epochs in (4, 10, 16):
        nn.training.train(net, LOSS, optimizer, *digits().train, epochs, 64, rng, companions=[deletion], progress=False)
        seen.append(array(net).copy())
    figure, axes = canvas(3, 9, 2.9)
    for axis, W, epoch in zip(axes, seen, (4, 14, 30)):
        show(axis, tiles(without(W), 6), f"epoch {epoch}: {np.count_nonzero(W):,} of {W.size:,}", 1)
    numbers = {"every": every, "budget": budget, "last": np.count_nonzero(seen[-1]), "all": seen[-1].size}
    return figure, numbers


def by_rows_and_columns() -> Drawn:
    """Rows and columns of the first layer go while it trains: {units} units, whose tile is empty, and {pixels} pixels,
    which are gone in every tile. Accuracy: {before:.1f} % before, {after:.1f} % after.

    Seen: Tiles before and after: some tiles are empty, and the others have the same holes.
    """
    net = new_perceptron()
    groups = rows_and_columns.Groups(net, [FIRST], [FIRST], budget=lambda step: max(500, 2220 - 10 * step))
    trained(net, companions=[groups])
    W = array(net)
    figure, numbers = before_and_after(perceptron(), net)
    return figure, {**numbers, "units": sum(~W.any(axis=1)), "pixels": sum(~W.any(axis=0))}


def by_soft_filters() -> Drawn:
    """Soft filters: at the end of each epoch half of the filters are set to zero, and train on. With momentum some come
    back: {back} of {all} filters were zeroed once and are whole after the last epoch.

    Seen: A grid of filters against epochs; most rows keep one color after the first epochs, a few change it.
    """
    net, seen, epochs = new_convolutions(), [], 8
    soft = soft_filters.SoftFilters(net, {LAYER: 0.5}, STEPS)
    optimizer, rng = nn.SGD(net.parameters(), 0.05, momentum=0.9), np.random.default_rng(1)
    for _ in range(epochs):
        nn.training.train(net, LOSS, optimizer, *digits().train, 1, 64, rng, companions=[soft], progress=False)
        seen.append(np.abs(array(net, LAYER)).sum(axis=(1, 2, 3)) > 0)
    whole = np.array(seen).T
    figure, (axis,) = canvas(1, 7.2, 2.6)
    show(axis, np.where(whole, 1.0, np.nan), "zeroed at the end of each epoch (gray)", 1.6, "Blues")
    axis.set(xlabel="epoch", ylabel="filter", xticks=range(epochs), xticklabels=range(1, epochs + 1), aspect="auto")
    return figure, {"back": sum(whole[:, -1] & ~whole.all(axis=1)), "all": len(whole)}


def by_new_weights() -> Drawn:
    """The control: what pruning left as an architecture or a mask, with weights that were never trained. Is it the
    weights that pruning keeps, or only the net that it finds? One mask of {after_weights} weights: accuracy
    {before:.1f} % with the weights that pruning kept, {after:.1f} % with new ones, before any training.

    Seen: Two pictures of the same tiles with the same holes; the weights differ.
    """
    small = deleted(magnitude.saliency(perceptron()), perceptron(), 0.7)
    figure, numbers = before_and_after(small, pipeline.redrawn(small, np.random.default_rng(2)))
    return figure, numbers


def by_controls() -> Drawn:
    """What a target is worth: masks that leave {share:.0%} of the weights of a net for the digits, fine-tuned as the
    authors do at the lowest rate, and from new weights for as long as the dense net (scratch-E) or for its computation
    (scratch-B). Left the learning rates, right the accuracies of {seeds} nets of the records and their mean: fine-tuned
    less scratch-B {gap:+.1f} points, with a standard error of {error:.1f}. Fine-tuned at a rate of {faster:g} the same
    nets reach {fast:.1f} %.

    Seen: Three falling staircases of different length, and three columns of points with a bar at each mean.
    """
    found = [row for row in records("rethinking") if row["spec"]["dense"]["data"] == "digits"]
    share = found[0]["spec"]["targets"][-2]["share"]
    arms = {
        name: [next(r for r in each["rows"] if r["arm"] == name and r["target"]["share"] == share) for each in found]
        for name in controls.ARMS
    }
    figure, axes = canvas(2, 9, 2.7)
    means = {}
    for k, (name, look) in enumerate(zip(arms, ("-", "--", ":"))):
        row = arms[name][0]
        rate = nn.step_decay(row["learning_rate"], row["milestones"])
        color = (RED, GONE, BLUE)[k]
        axes[0].step(range(row["epochs"]), [rate(e) for e in range(row["epochs"])], look, color=color, label=name)
        values = 100 * np.array([each["trained"]["test_accuracy"] for each in arms[name]])
        means[name] = values
        axes[1].plot(np.full(len(values), k), values, "o", color=color, alpha=0.7)
        axes[1].plot([k - 0.25, k + 0.25], [values.mean()] * 2, color="black")
    axes[0].set(xlabel="epoch", ylabel="learning rate", yscale="log")
    curves(axes[0])
    axes[1].set(xticks=range(len(arms)), xticklabels=list(arms), ylabel="test accuracy, %", xlim=(-0.5, 2.5))
    axes[1].spines[["top", "right"]].set_visible(False)
    gap = means["fine-tuned"] - means["scratch-B"]
    error = gap.std(ddof=1) / math.sqrt(len(gap))
    faster = [
        [r for r in each["rows"] if r["arm"] == "fine-tuned" and r["target"]["share"] == share][1] for each in found
    ]
    fast = 100 * np.mean([row["trained"]["test_accuracy"] for row in faster])
    numbers = {"share": 1 - share, "seeds": len(found), "gap": gap.mean(), "error": error}
    return figure, {**numbers, "faster": faster[0]["learning_rate"], "fast": fast}


def by_scratch_budget() -> Drawn:
    """How long the control trains, as areas: epochs times the multiply-accumulates of one image. Without half of its
    filters the net has {share:.0%} of them. Scratch-E trains it for {e} epochs like the dense net, scratch-B for {b},
    so that its area is that of the dense net.

    Seen: A high block for the dense net, a low one of the same length, and a low one that is much longer.
    """
    net, epochs = convolutions(), 20
    small = surgery.remove(net, {name: range(array(net, name).shape[0] // 2) for name in ("0.W", LAYER, "7.W")})
    macs = [counts.count(each, (1, 8, 8)).macs for each in (net, small)]
    e, b = scratch_budget.scratch_e(epochs), scratch_budget.scratch_b(net, small, (1, 8, 8), epochs)
    figure, axes = canvas(3, 9, 2.9, sharey=True, gridspec_kw={"width_ratios": [epochs, epochs, b.epochs]})
    blocks = (
        ("dense", epochs, macs[0], GONE),
        ("scratch-E", e.epochs, macs[1], BLUE),
        ("scratch-B", b.epochs, macs[1], BLUE),
    )
    for axis, (name, length, height, color) in zip(axes, blocks):
        axis.fill_between([0, length], [height / 1e3] * 2, color=color, edgecolor="black")
        axis.set(xlim=(0, length * 1.02), ylim=(0, macs[0] / 950), xlabel="epochs", xticks=[0, length])
        axis.set_title(f"{name}:\n{length * height / 1e6:.1f} million")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("thousand MACs")
    return figure, {"share": macs[1] / macs[0], "e": e.epochs, "b": b.epochs}


PANELS = {
    "pipeline.three_stages": by_three_stages,
    "pipeline.gradual": by_gradual,
    "pipeline.rows_and_columns": by_rows_and_columns,
    "pipeline.soft_filters": by_soft_filters,
    "pipeline.new_weights": by_new_weights,
    "pipeline.controls": by_controls,
    "pipeline.scratch_budget": by_scratch_budget,
}
