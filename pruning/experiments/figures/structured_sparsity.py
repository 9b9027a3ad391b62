"""The figure of the experiment `structured_sparsity`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLACK, BLUE, VERMILION, legend_without_doubles, logarithmic, save


def left_and_errors(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what is left during the sparse phase, and the errors of each net, one mark a seed."""
    import matplotlib.pyplot as plt

    structures = sorted({record["spec"]["structure"] for record in records} - {"dense"})
    colors = {**dict(zip(structures, (BLUE, VERMILION))), "dense": BLACK}
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
    left.set(xlabel="epochs of the sparse phase", ylabel="left, %")
    what = "held-out" if records[0]["spec"]["validation"] else "test"
    right.set(ylabel=f"{what} error, %", xticks=[0, 1, 2])
    right.set_xticklabels(["dense", "cut", "trained on"])
    for axis in (left, right):
        logarithmic(axis, (1, 1.5, 2, 3, 5, 7))
        legend_without_doubles(axis, fontsize=8)
        axis.grid(alpha=0.3)
    return save(figure, path)
