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
    axes[0].legend(frameon=False, fontsize="small")
    x = np.arange(3)
    axes[1].bar(x - 0.2, 100 * np.array(row["open"]), 0.4, color=BLUE, label="open for one image")
    axes[1].bar(x + 0.2, 100 * np.array(row["static"]), 0.4, color=GONE, label="decided alike for nearly all")
    axes[1].set(xticks=x, xticklabels=["layer 1", "layer 2", "layer 3"], ylabel="channels, %", ylim=(0, 130))
    axes[1].legend(frameon=False, fontsize="small")
    return figure, {"low": 100 * min(row["by_class"]), "high": 100 * max(row["by_class"])}


def by_straight_through() -> Drawn:
    """A decision (black) has no slope. The straight-through gradient takes that of a smooth curve v₁ (blue) in its
    place; the mean decision under noise has the slope φ(s). At zero the slopes are {taken:.2f} and {true:.2f}.

    Seen: Left a step and a smooth curve through it, right two bell-shaped slopes of like size; that of the curve is cut
    off at both ends.
    """
    s = np.linspace(-4, 4, 400)
    sigma = 1 / (1 + np.exp(-s))
    seen = np.where(np.abs(s) < np.log(11), 1.2 * sigma * (1 - sigma), 0)
    figure, axes = canvas(2, 8.4, 2.5)
    axes[0].plot(s, (s > 0).astype(float), color="black", label="1[s > 0]")
    axes[0].plot(s, np.clip(1.2 * sigma - 0.1, 0, 1), color=BLUE, label="v₁(s)")
    axes[1].plot(s, np.exp(-s * s / 2) / np.sqrt(2 * np.pi), color="black", label="φ(s)")
    axes[1].set_ylim(0, 0.6)
    axes[1].plot(s, seen, color=BLUE, label="v₁′(s)")
    for axis in axes:
        axis.set_xlabel("s")
        axis.legend(frameon=False, fontsize="small")
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
    """Decisions in a row: left Q of the first one by Bellman's equation, what each number of groups is worth for images
    of each bin of brightness. Right the mean reward of what Q-learning does after so many images, below that of the
    best policy: after {images:,} it loses {lost:.3f} of {best:.3f}.

    Seen: A table of negative numbers, palest where most is lost, and a curve that wanders below a dashed line and ends
    nearest to it.
    """
    best = decision_process.optimal(process())
    learner = decision_process.QLearning(process(), 0.3, np.random.default_rng(0))
    reward = decision_process.follow(process(), best)[0].mean()
    seen, found = [100, 300, 1000, 3000, 8000], []
    for before, now in zip([0, *seen], seen):
        learner.run(now - before)
        found.append(decision_process.follow(process(), learner.tables)[0].mean())
    figure, axes = canvas(2, 8.4, 2.8)
    show(axes[0], best[0] - best[0].min(), "Q of the first decision", color="Blues")
    for (o, a), q in np.ndenumerate(best[0]):
        dark = q - best[0].min() > 0.6 * np.ptp(best[0])
        axes[0].text(a, o, f"{q:.2f}", ha="center", va="center", color="white" if dark else "black")
    axes[0].set(xticks=range(K), xticklabels=range(1, K + 1), yticks=range(BINS), yticklabels=["dark", "", "bright"])
    axes[0].set(xlabel="groups that are computed", ylabel="images")
    axes[1].plot(seen, found, "-o", color=BLUE, label="Q-learning")
    axes[1].axhline(reward, color="black", linestyle="--", label="the best policy")
    axes[1].set(xscale="log", xlabel="images", ylabel="mean reward")
    curves(axes[1])
    return figure, {"images": seen[-1], "best": reward, "lost": reward - found[-1]}


PANELS = {
    "dynamic.self_adaptive": by_self_adaptive,
    "dynamic.straight_through": by_straight_through,
    "dynamic.decision_process": by_decision_process,
    "dynamic.runtime": by_runtime,
}
