"""The figures of the demo and of the experiments, from their records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nn.files import replacing

STYLES = {
    "obd": {"color": "#0072b2", "marker": "o", "label": "OBD"},
    "magnitude": {"color": "#d55e00", "marker": "s", "label": "magnitude"},
}


def loss_curves(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw training and test loss against the weights left, before and after retraining, for both methods.

    With several records (seeds) lines are medians and bands reach from the lowest to the highest seed.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey=True, constrained_layout=True)
    for row, retrain in enumerate((False, True)):
        for column, part in enumerate(("train", "test")):
            axis = axes[row, column]
            for method, style in STYLES.items():
                _band(axis, records, method, retrain, f"{part}_loss", style)
            axis.set_yscale("log")
            axis.set_title(f"{part}, {'retrained after each step' if retrain else 'pruned at once, no retraining'}")
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(records[0]["spec"]["loss"])
            if row == 1:
                axis.set_xlabel("weights left")
    axes[0, 0].legend()
    axes[0, 0].invert_xaxis()
    figure.suptitle(_title(records))
    return _save(figure, path)


def predicted_against_true(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the change of E that OBD's parabola predicts and the true one, against the weights deleted."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, style in STYLES.items():
        _band(axis, records, method, False, "true", {**style, "label": f"{style['label']}: true"}, deleted=True)
        dashed = {**style, "label": f"{style['label']}: predicted", "linestyle": "--", "fillstyle": "none"}
        _band(axis, records, method, False, "predicted", dashed, deleted=True)
    axis.set_yscale("symlog", linthresh=1e-3)  # E may fall
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_xlabel("weights deleted")
    axis.set_ylabel("change of E (linear within 0.001)")
    axis.set_title(_title(records), fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return _save(figure, path)


def true_changes(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the true change of E against the share deleted: magnitude, OBD, OBS, and the variants of these."""
    import matplotlib.pyplot as plt
    import numpy as np

    dashed: dict[str, Any] = {"linestyle": "--", "fillstyle": "none"}
    curves: tuple[tuple[str, bool, bool, dict[str, Any]], ...] = (
        ("magnitude", False, False, {"color": "#d55e00", "marker": "s", "label": "magnitude"}),
        ("obd", False, False, {"color": "#0072b2", "marker": "o", "label": "OBD"}),
        ("obd", True, False, {"color": "#0072b2", "marker": "o", "label": "OBD, renewed", **dashed}),
        ("obs", False, False, {"color": "#009e73", "marker": "^", "label": "OBS"}),
        ("obs", True, False, {"color": "#009e73", "marker": "^", "label": "OBS, renewed", **dashed}),
        ("obs", False, True, {"color": "#cc79a7", "marker": "v", "label": "OBS, damped"}),
    )
    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, renewed, damped, style in curves:
        keys = {"method": method, "renewed": renewed, "adjusted": method == "obs"}
        runs = [
            [row for row in each["rows"] if keys.items() <= row.items() and (row["damping"] > 0) == damped]
            for each in records
        ]
        values = np.array([[row["true"] for row in run] for run in runs])
        x = [100 * row["sparsity"] for row in runs[0]]
        axis.plot(x, np.median(values, axis=0), markersize=4, **style)
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.12, linewidth=0)
    axis.set_yscale("symlog", linthresh=1e-3)  # E may fall
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_xlabel("weights deleted, %")
    axis.set_ylabel("change of E (linear within 0.001)")
    axis.set_title(f"{_title(records)}, {records[0]['spec']['loss']}", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return _save(figure, path)


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
    return _save(figure, path)


def _band(
    axis: Any,
    records: Sequence[Mapping[str, Any]],
    method: str,
    retrain: bool,
    quantity: str,
    style: Mapping[str, Any],
    deleted: bool = False,
) -> None:
    import numpy as np

    runs = [
        [row for row in record["rows"] if row["method"] == method and row["retrain"] == retrain] for record in records
    ]
    x = [row["weights_left"] for row in runs[0]]
    if deleted:
        total = round(x[0] / (1 - runs[0][0]["sparsity"]))
        x = [total - left for left in x]
    values = np.array([[(row["retrained"] if retrain else row)[quantity] for row in run] for run in runs])
    axis.plot(x, np.median(values, axis=0), markersize=4, **style)
    if len(records) > 1:
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    spec = records[0]["spec"]
    seeds = sorted(record["spec"]["seed"] for record in records)
    layers = "-".join(map(str, spec["hidden"]))
    label = "seed" if len(seeds) == 1 else "seeds"
    return f"{spec['data']}, {spec['activation']} net with {layers} hidden units, {label} {', '.join(map(str, seeds))}"


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
    return path
