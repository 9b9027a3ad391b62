"""Which channels are computed for one image."""

import functools
from typing import Any

import numpy as np
from panels.drawing import BLUE, GONE, GRAY, Drawn, canvas, curves, show, tiles
from panels.nets import digits, record, trained

import nn
from pruning.dynamic import decision_process, runtime


def by_self_adaptive() -> Drawn:
    """A net that decides for each image which channels it computes: what the classes cost, {low:.0f} to {high:.0f} % of
    the whole net, and how many decisions are the same whatever the image. A net of the records.

    Seen: One bar for each class, of nearly equal height, and pairs of bars for three layers.
    """
    row = record("self_adaptive")["rows"][0]
    figure, axes = canvas(2, 8.4, 2.6)
    axes[0].bar(range(10), 100 * np.array(row["by_class"]), color=BLUE)
    low, high = (100 * each for each in row["costs"])
    axes[0].axhspan(low, high, color=GRAY, zorder=0, label="from the cheapest to the dearest image")
    axes[0].set(xlabel="class", ylabel="cost, % of the whole net", ylim=(0, 1.5 * high), xticks=range(10))
    axes[0].legend(frameon=False, fontsize=8)
    x = np.arange(3)
    axes[1].bar(x - 0.2, 100 * np.array(row["open"]), 0.4, color=BLUE, label="open for one image")
    axes[1].bar(x + 0.2, 100 * np.array(row["static"]), 0.4, color=GONE, label="decided alike for nearly all")
    axes[1].set(xticks=x, xticklabels=["layer 1", "layer 2", "layer 3"], ylabel="channels, %", ylim=(0, 130))
    axes[1].legend(frameon=False, fontsize=8)
    return figure, {"low": 100 * min(row["by_class"]), "high": 100 * max(row["by_class"])}


def by_straight_through() -> Drawn:
    """A decision has no slope. The straight-through gradient takes that of a smooth curve in its place; the mean
    decision under noise has the slope φ(s). At zero the slopes are {taken:.2f} and {true:.2f}.

    Seen: Left a step and a smooth curve through it, right two bell-shaped slopes of like size; that of the curve is cut
    off at both ends.
    """
    s = np.linspace(-4, 4, 400)
    sigma = 1 / (1 + np.exp(-s))
    seen = np.where(np.abs(s) < np.log(11), 1.2 * sigma * (1 - sigma), 0)
    figure, axes = canvas(2, 8.4, 2.5)
    axes[0].plot(s, (s > 0).astype(float), color="black", label="the decision 1[s > 0]")
    axes[0].plot(s, np.clip(1.2 * sigma - 0.1, 0, 1), color=BLUE, label="v₁, whose slope is taken")
    axes[1].plot(s, np.exp(-s * s / 2) / np.sqrt(2 * np.pi), color="black", label="φ(s): of the mean over noise")
    axes[1].set_ylim(0, 0.6)
    axes[1].plot(s, seen, color=BLUE, label="v₁′(s)")
    for axis in axes:
        axis.set_xlabel("s")
        axis.legend(frameon=False, fontsize=8)
    return figure, {"taken": 1.2 / 4, "true": 1 / np.sqrt(2 * np.pi)}


K, PRICE, BINS = 4, 0.2, 3
"""Groups of channels, the price of all layers in full, and bins of what is seen."""


@functools.cache
def undecided() -> Any:
    """Return a net whose last two convolutions may compute some groups only, trained with random numbers of groups."""
    rng, f = np.random.default_rng(0), {"dtype": np.float32}
    first, second = (runtime.FirstGroups(12, np.random.default_rng([0, l]), K, **f) for l in (0, 1))
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, rng, padding=1, **f), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 12, 3, rng, padding=1, **f), first, nn.ReLU()),
        *(nn.Conv2d(12, 12, 3, rng, padding=1, **f), second, nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(48, 10, rng, **f)),
    )
    return trained(net, nn.Adam(net.parameters(), 5e-3), 5)


@functools.cache
def process() -> Any:
    """Return the decisions about the first test images."""
    looks, losses = runtime.enumerated(undecided(), digits().test[0], digits().test[1])
    costs = runtime.macs(undecided(), (1, 8, 8))
    return runtime.decisions(looks, losses, runtime.quantiles(looks, BINS), costs, PRICE)


def by_runtime() -> Drawn:
    """How many of {groups} groups of channels are computed is decided layer by layer, for each image: the best policy
    that sees the mean brightness of the features, in {bins} bins. It spends {share:.0%} of the multiply-accumulates,
    and decides alike for {alike:.0%} of the images. A net of its own, and the test images it decides about.

    Seen: A square table of shares of images, by groups in the first and in the second layer, and the maps of one digit
    with those groups gray that were not computed.
    """
    tables = decision_process.optimal(process())
    _, actions = decision_process.follow(process(), tables)
    counts = np.zeros((K, K))
    np.add.at(counts, tuple(actions), 1 / actions.shape[1])
    costs = runtime.macs(undecided(), (1, 8, 8))
    spent = np.mean(costs[0][actions[0]] + costs[1][tuple(actions)]) / sum(each.flat[-1] for each in costs)
    figure, axes = canvas(2, 8.4, 2.9)
    image = show(axes[0], counts, "share of the images", 1, "Blues")
    axes[0].set(xlabel="groups in the second layer", ylabel="groups in the first")
    axes[0].set(xticks=range(K), xticklabels=range(1, K + 1), yticks=range(K), yticklabels=range(1, K + 1))
    figure.colorbar(image, ax=axes[0])
    picked = int(np.argmin(costs[0][actions[0]] + costs[1][tuple(actions)]))
    with nn.recording.record(undecided(), ["5"]) as seen:
        undecided().forward(digits().test[0][..., picked : picked + 1])
    maps = np.asarray(seen["5"][0][1])[..., 0]
    computed = np.arange(len(maps)) < (actions[0, picked] + 1) * len(maps) // K
    shown = np.where(computed[:, None, None], maps, np.nan)
    show(axes[1], tiles(shown.reshape(len(maps), -1), 4, 4), "first layer, one image: computed maps", color="Blues")
    return figure, {"groups": K, "bins": BINS, "share": spent, "alike": counts.max()}


def by_decision_process() -> Drawn:
    """Q of the first decision about an image: what each number of groups is worth for images of each bin of brightness,
    by Bellman's equation (points), and what Q-learning has learnt after {images:,} images (bars). It loses {lost:.4f}
    of a reward of {best:.3f}.

    Seen: Groups of bars, one group for each bin, with a point near the end of each bar.
    """
    images = 8000
    best = decision_process.optimal(process())
    learner = decision_process.QLearning(process(), 0.3, np.random.default_rng(0))
    learner.run(images)
    figure, (axis,) = canvas(1, 7.2, 2.8)
    for a in range(K):
        at = np.arange(BINS) + 0.2 * (a - (K - 1) / 2)
        axis.bar(at, learner.tables[0][:, a], 0.17, color=plt_blues(a), label=f"{a + 1} of {K} groups")
        axis.plot(at, best[0][:, a], "o", color="black", markersize=4)
    axis.set(xticks=range(BINS), xticklabels=["dark images", "between", "bright images"], ylabel="Q, less is worse")
    curves(axis)
    rewards = [decision_process.follow(process(), each)[0].mean() for each in (best, learner.tables)]
    return figure, {"images": images, "best": rewards[0], "lost": rewards[0] - rewards[1]}


def plt_blues(a: int) -> Any:
    """Return a blue, the darker the more is computed."""
    import matplotlib

    return matplotlib.colormaps["Blues"](0.3 + 0.2 * a)


PANELS = {
    "dynamic.self_adaptive": by_self_adaptive,
    "dynamic.straight_through": by_straight_through,
    "dynamic.decision_process": by_decision_process,
    "dynamic.runtime": by_runtime,
}
