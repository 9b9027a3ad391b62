"""The figure of the experiment `train`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, VERMILION, save, seed_list


def training_curves(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw training and test loss, and test accuracy, by epoch: one thin line a seed."""
    import matplotlib.pyplot as plt

    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for number, record in enumerate(records):
        epochs = [row["epoch"] + 1 for row in record["history"]]
        for key, color, axis in (
            ("train_loss", BLUE, losses),
            ("test_loss", VERMILION, losses),
            ("test_accuracy", VERMILION, accuracy),
        ):
            label = None if number else key.replace("_", " ")
            axis.plot(epochs, [row[key] for row in record["history"]], color=color, label=label, linewidth=1)
    losses.set_yscale("log")
    for axis in (losses, accuracy):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    spec = records[0]["spec"]
    figure.suptitle(f"{spec['model']} on {spec['data']}, {seed_list(records)}")
    return save(figure, path)
