"""The figures of optimal brain damage and optimal brain surgeon, the demo's too, from their records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures import median_line, save, seed_list

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
    return save(figure, path)


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
    return save(figure, path)


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
    return save(figure, path)


def prediction_of_obd(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E as OBD predicts it and as it is, as parameters go, and the terms that the prediction leaves out."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8), constrained_layout=True)
    x, values = _sweep(records, "obd", lambda row, start: row["E"])
    median_line(left, x, values, "black", "E, true")
    x, values = _sweep(records, "obd", lambda row, start: start["E"] + row["predicted"])
    median_line(left, x, values, "#0072b2", "E, predicted")
    _logarithmic(left)
    left.set_ylabel("E on the training set")
    left.legend()
    terms = {"diagonal": "#0072b2", "off_diagonal": "#009e73", "higher_order": "#d55e00", "gradient": "#cc79a7"}
    for term, color in terms.items():
        x, values = _sweep(records, "obd", lambda row, start, term=term: row.get(term))
        median_line(right, x, values, color, term.replace("_d", "-d").replace("_", " "), "o")
    right.set_yscale("symlog", linthresh=1e-3)
    right.axhline(0, color="black", linewidth=0.6)
    right.set_ylabel("part of the change of E")
    right.legend()
    for axis in (left, right):
        axis.set_xlabel("parameters deleted")
        axis.grid(alpha=0.3)
    figure.suptitle(_lenet_title(records))
    return save(figure, path)


def obd_against_magnitude(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E on the training set as parameters go at once, chosen by OBD and by magnitude."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, style in STYLES.items():
        x, values = _sweep(records, method, lambda row, start: row["E"])
        median_line(axis, x, values, style["color"], style["label"])
    _logarithmic(axis)
    axis.set_xlabel("parameters deleted")
    axis.set_ylabel("E on the training set")
    axis.set_title(_lenet_title(records), fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save(figure, path)


def log_mse(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the mean squared error per output against the parameters left, before and after retraining."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(7.8, 5.4), sharex=True, sharey=True, constrained_layout=True)
    for column, part in enumerate(("train", "test")):
        for method, style in STYLES.items():
            x, values = _sweep(records, method, lambda row, start, part=part: row[f"{part}_loss"] / 10)
            median_line(axes[0, column], 2578 - x, values, style["color"], style["label"])
            x, values = _rounds(records, method, lambda row, part=part: row["retrained"][f"{part}_loss"] / 10)
            start = [record["trained"][f"{part}_loss"] / 10 for record in records]
            median_line(axes[1, column], [2578, *x], _with_start(values, start), style["color"], style["label"], "o")
        for axis, when in zip(axes[:, column], ("deleted at once, not retrained", "retrained after each round")):
            _logarithmic(axis)
            axis.set_title(f"{part}, {when}", fontsize=10)
            axis.grid(alpha=0.3)
        axes[1, column].set_xlabel("parameters left")
    axes[0, 0].invert_xaxis()
    for axis in axes[:, 0]:
        axis.set_ylabel("MSE per output")
    axes[0, 0].legend()
    figure.suptitle(_lenet_title(records))
    return save(figure, path)


def prune_retrain_loop(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw parameters and connections left, and the test error, round by round of the six-step loop."""
    import matplotlib.pyplot as plt

    figure, (counts, errors) = plt.subplots(1, 2, figsize=(8.8, 3.7), constrained_layout=True)
    for quantity, color in (("parameters", "#0072b2"), ("connections", "#e69f00")):
        start = [record["trained"][quantity] for record in records]
        _, values = _rounds(records, "obd", lambda row, quantity=quantity: row[f"{quantity}_left"])
        share = _with_start(values, start) / start[0]
        median_line(counts, range(share.shape[1]), share, color, f"{quantity} (of {start[0]:,})", "o")
    start = [100 - 100 * record["trained"]["test_accuracy"] for record in records]
    labels = {**{m: (s["color"], s["label"]) for m, s in STYLES.items()}, "control": ("#999999", "nothing deleted")}
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
    figure.suptitle(_lenet_title(records))
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


def _logarithmic(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())


def _lenet_title(records: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted(record["spec"]["seed"] for record in records)
    return f"LeNet of 1990 on {records[0]['spec']['data']}, {seed_list(seeds)}"


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
    return f"{spec['data']}, {spec['activation']} net with {layers} hidden units, {seed_list(seeds)}"
