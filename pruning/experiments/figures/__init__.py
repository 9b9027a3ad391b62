"""The figures of the experiments from their records, and what all of these figures share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nn.files import replacing


def training_curves(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw training and test loss, and test accuracy, by epoch: one thin line a seed."""
    import matplotlib.pyplot as plt

    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for number, record in enumerate(records):
        epochs = [row["epoch"] + 1 for row in record["history"]]
        for key, color, axis in (
            ("train_loss", "#0072b2", losses),
            ("test_loss", "#d55e00", losses),
            ("test_accuracy", "#d55e00", accuracy),
        ):
            label = None if number else key.replace("_", " ")
            axis.plot(epochs, [row[key] for row in record["history"]], color=color, label=label, linewidth=1)
    losses.set_yscale("log")
    for axis in (losses, accuracy):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    spec = records[0]["spec"]
    seeds = ", ".join(str(record["spec"]["seed"]) for record in records)
    figure.suptitle(f"{spec['model']} on {spec['data']}, seeds {seeds}")
    return save(figure, path)


def sparse_speed(record: Mapping[str, Any], path: Path) -> Path:
    """Draw measured speed-ups against sparsity: zeros at random as CSR, whole rows and columns, the pair of conv2_1."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 4), width_ratios=(4, 4, 5), constrained_layout=True)
    ticks = [1 - s for s in record["spec"]["sparsities"]]
    for axis, way, title in zip(axes, ("csr", "compact"), ("zeros at random, CSR", "rows and columns removed")):
        for layer, marker in zip(record["layers"], "osD^vPX"):
            speedups = [row[way]["speedup"][0] for row in layer["rows"]]
            axis.plot(ticks, speedups, marker=marker, markersize=4, linewidth=1, label=layer["name"])
        axis.plot(ticks, [1 / t for t in ticks], "k--", linewidth=1, label="theory")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="sparsity", title=title, ylim=(0.1, 200))
        axis.invert_xaxis()
        axis.set_xticks(ticks, [f"{1 - t:.0%}" for t in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("speed-up over the dense product")
    axes[1].legend(fontsize=8, loc="lower right")
    pair = record["pair"][:0:-1]
    names = [row["name"] for row in pair]
    axes[2].barh(names, [row["theory"] for row in pair], 0.8, color="#cccccc", label="theory")
    axes[2].barh(names, [row["speedup"][0] for row in pair], 0.4, color="#0072b2", label="measured")
    axes[2].axvline(1, color="black", linewidth=0.8)
    axes[2].set(xlabel="speed-up", title="conv2_1 of the slide")
    axes[2].legend(fontsize=8)
    figure.suptitle(f"AlexNet's products in float32, {record['spec']['machine']}")
    return save(figure, path)


def filter_sensitivity(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy against the share of one layer's filters that is removed, without retraining."""
    import matplotlib.pyplot as plt
    import numpy as np

    styles = {"l1": ("#0072b2", "o"), "l1, not folded": ("#009e73", "s"), "random": ("#999999", "^")}
    curves = records[0]["sensitivity"]
    columns = min(3, len(curves["l1"]))
    size = -(-len(curves["l1"]) // columns), columns
    figure, axes = plt.subplots(
        *size, figsize=(3.2 * columns + 1, 2.4 * size[0] + 1), sharex=True, sharey=True, constrained_layout=True
    )
    for axis, layer in zip(axes.flat, curves["l1"]):
        for method in curves:
            values = np.array([record["sensitivity"][method][layer] for record in records])
            shares = [100 * share for share in records[0]["spec"]["shares"]]
            median_line(axis, shares, 100 * values, styles[method][0], method, styles[method][1])
        axis.set_title(layer, fontsize=10)
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.supxlabel("filters removed in this layer alone, %")
    figure.supylabel("held-out accuracy, %")
    figure.suptitle(f"not retrained: {_filters_title(records)}")
    return save(figure, path)


def filter_retraining(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the test error while the pruned nets are retrained, and that of the dense net beside."""
    import matplotlib.pyplot as plt
    import numpy as np

    colors = "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#d55e00"
    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for number, method in enumerate(records[0]["spec"]["methods"]):
        every = [row for record in records for row in record["rows"] if row["method"] == method]
        rows = [row for row in every if "diverged" not in row]
        if not rows:
            continue
        label = method if len(rows) == len(every) else f"{method}, {len(every) - len(rows)} of {len(every)} diverged"
        errors = 100 - 100 * np.array([row["test_accuracy"] for row in rows])
        color = "#000000" if method == "dense" else colors[number]
        median_line(axis, rows[0]["epochs"], errors, color, label, "os^vDP"[number])
    axis.set_yscale("log")
    axis.set_xlabel("epochs after the first cut")
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel(f"{'held-out' if records[0]['spec']['validation'] else 'test'} error, %")
    axis.set_title(f"{records[0]['spec']['macs']:.0%} of the conv MACs left: {_filters_title(records)}", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)


def _filters_title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, {seed_list([record['spec']['seed'] for record in records])}"


def median_line(axis: Any, x: Any, values: Any, color: str, label: str, marker: str = "") -> None:
    """Draw the median of values (seeds, points) as a line, and a band from the lowest to the highest seed."""
    import numpy as np

    axis.plot(x, np.median(values, axis=0), color=color, label=label, marker=marker, markersize=4)
    if len(values) > 1:
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def seed_list(seeds: Sequence[int]) -> str:
    """Return the seeds as words for a title."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def save(figure: Any, path: Path) -> Path:
    """Write the figure to `path`, whole or not at all, close it, and return the path."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
    return path


def structured_sparsity(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what is left during the sparse phase, and the errors of each net, one mark a seed."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    structures = sorted({record["spec"]["structure"] for record in records} - {"dense"})
    colors = {**dict(zip(structures, ("#0072b2", "#d55e00"))), "dense": "#000000"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), constrained_layout=True)
    for record in records:
        structure, sparse, marker = record["spec"]["structure"], record["sparse"], "osD^v"[record["spec"]["seed"] % 5]
        stages = [record["dense"], *([sparse] if sparse else []), record["retrained"]]
        places = [0, 1, 2] if sparse else [0, 2]
        errors = [100 - 100 * stage["test_accuracy"] for stage in stages]
        shift = 0.08 * (list(colors).index(structure) - 1)
        color = colors[structure]
        right.plot([place + shift for place in places], errors, marker, linestyle=":", color=color, label=structure)
        for number, name in enumerate(sparse["left"][0] if sparse else ()):
            start = sparse["left"][0][name]
            shares = [100 * row[name] / start for row in sparse["left"]]
            epochs = [k / record["spec"]["sparse"]["checks"] for k in range(len(shares))]
            label = f"{structure}: {name.replace('_', ' ')}"
            left.plot(epochs, shares, linestyle=("-", "--", ":")[number], color=color, alpha=0.7, label=label)
    left.set(xlabel="epochs of the sparse phase", ylabel="left, %", yscale="log")
    what = "held-out" if records[0]["spec"]["validation"] else "test"
    right.set(ylabel=f"{what} error, %", yscale="log", xticks=[0, 1, 2])
    right.set_xticklabels(["dense", "cut", "trained on"])
    for axis in (left, right):
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
        entries = dict(zip(*reversed(axis.get_legend_handles_labels())))
        axis.legend(entries.values(), entries.keys(), fontsize=8)
        axis.grid(alpha=0.3)
    return save(figure, path)
