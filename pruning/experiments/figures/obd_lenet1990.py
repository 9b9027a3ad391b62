"""The four figures of the experiment `obd_lenet1990`: those of the lecture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import (
    BLUE,
    GRAY,
    GREEN,
    METHODS,
    ORANGE,
    PINK,
    VERMILION,
    change_of_E,
    logarithmic,
    median_line,
    save,
    seed_list,
)


def prediction_of_obd(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E as OBD predicts it and as it is, as parameters go, and the terms that the prediction leaves out."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8), constrained_layout=True)
    x, values = _sweep(records, "obd", lambda row, start: row["E"])
    median_line(left, x, values, "black", "E, true")
    x, values = _sweep(records, "obd", lambda row, start: start["E"] + row["predicted"])
    median_line(left, x, values, BLUE, "E, predicted")
    logarithmic(left)
    left.set_ylabel("E on the training set")
    left.legend()
    terms = {"diagonal": BLUE, "off_diagonal": GREEN, "higher_order": VERMILION, "gradient": PINK}
    for term, color in terms.items():
        x, values = _sweep(records, "obd", lambda row, start, term=term: row.get(term))
        median_line(right, x, values, color, term.replace("_d", "-d").replace("_", " "), "o")
    change_of_E(right)
    right.set_ylabel("part of the change of E")
    right.legend()
    for axis in (left, right):
        axis.set_xlabel("parameters deleted")
        axis.grid(alpha=0.3)
    figure.suptitle(_title(records))
    return save(figure, path)


def obd_against_magnitude(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E on the training set as parameters go at once, chosen by OBD and by magnitude."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, style in METHODS.items():
        x, values = _sweep(records, method, lambda row, start: row["E"])
        median_line(axis, x, values, style["color"], style["label"])
    logarithmic(axis)
    axis.set_xlabel("parameters deleted")
    axis.set_ylabel("E on the training set")
    axis.set_title(_title(records), fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)


def log_mse(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the mean squared error per output against the parameters left, before and after retraining."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(7.8, 5.4), sharex=True, sharey=True, constrained_layout=True)
    for column, part in enumerate(("train", "test")):
        for method, style in METHODS.items():
            x, values = _sweep(records, method, lambda row, start, part=part: row[f"{part}_loss"] / 10)
            median_line(axes[0, column], 2578 - x, values, style["color"], style["label"])
            x, values = _rounds(records, method, lambda row, part=part: row["retrained"][f"{part}_loss"] / 10)
            start = [record["trained"][f"{part}_loss"] / 10 for record in records]
            median_line(axes[1, column], [2578, *x], _with_start(values, start), style["color"], style["label"], "o")
        for axis, when in zip(axes[:, column], ("deleted at once, not retrained", "retrained after each round")):
            logarithmic(axis)
            axis.set_title(f"{part}, {when}", fontsize=10)
            axis.grid(alpha=0.3)
        axes[1, column].set_xlabel("parameters left")
    axes[0, 0].invert_xaxis()
    for axis in axes[:, 0]:
        axis.set_ylabel("MSE per output")
    axes[0, 0].legend()
    figure.suptitle(_title(records))
    return save(figure, path)


def prune_retrain_loop(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw parameters and connections left, and the test error, round by round of the six-step loop."""
    import matplotlib.pyplot as plt

    figure, (counts, errors) = plt.subplots(1, 2, figsize=(8.8, 3.7), constrained_layout=True)
    for quantity, color in (("parameters", BLUE), ("connections", ORANGE)):
        start = [record["trained"][quantity] for record in records]
        _, values = _rounds(records, "obd", lambda row, quantity=quantity: row[f"{quantity}_left"])
        share = _with_start(values, start) / start[0]
        median_line(counts, range(share.shape[1]), share, color, f"{quantity} (of {start[0]:,})", "o")
    start = [100 - 100 * record["trained"]["test_accuracy"] for record in records]
    labels = {**{m: (s["color"], s["label"]) for m, s in METHODS.items()}, "control": (GRAY, "nothing deleted")}
    for method, (color, label) in labels.items():
        _, values = _rounds(records, method, lambda row: 100 - 100 * row["retrained"]["test_accuracy"])
        median_line(errors, range(values.shape[1] + 1), _with_start(values, start), color, label, "o")
    counts.set_ylabel("share left")
    counts.set_ylim(0, 1.05)
    errors.set_ylabel("test error in %")
    for axis in (counts, errors):
        axis.set_xlabel("round of pruning and retraining")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(_title(records))
    return save(figure, path)


def _sweep(records: Sequence[Mapping[str, Any]], method: str, value: Any) -> tuple[Any, Any]:
    # Parameters deleted, and value(row, measures before) (seeds, points); rows where it is None are left out.
    import numpy as np

    runs = []
    for record in records:
        before = {"deleted": 0, "predicted": 0.0, **record["trained"]}
        rows = [before, *(row for row in record["at_once"] if row["method"] == method)]
        points = [(row["deleted"], value(row, record["trained"])) for row in rows]
        runs.append([(x, y) for x, y in points if y is not None])
    return np.array([x for x, _ in runs[0]]), np.array([[y for _, y in run] for run in runs])


def _rounds(records: Sequence[Mapping[str, Any]], method: str, value: Any) -> tuple[Any, Any]:
    import numpy as np

    runs = [[row for row in record["loop"] if row["method"] == method] for record in records]
    return np.array([row["parameters_left"] for row in runs[0]]), np.array(
        [[value(row) for row in run] for run in runs]
    )


def _with_start(values: Any, start: Sequence[float]) -> Any:
    import numpy as np

    return np.column_stack([start, values])


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    return f"LeNet of 1990 on {records[0]['spec']['data']}, {seed_list(records)}"
