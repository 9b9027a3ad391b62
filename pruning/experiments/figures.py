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


def prediction_of_obd(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E as OBD predicts it and as it is, as parameters go, and the terms that the prediction leaves out."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8), constrained_layout=True)
    x, values = _sweep(records, "obd", lambda row, start: row["E"])
    _median(left, x, values, "black", "E, true")
    x, values = _sweep(records, "obd", lambda row, start: start["E"] + row["predicted"])
    _median(left, x, values, "#0072b2", "E, predicted")
    _logarithmic(left)
    left.set_ylabel("E on the training set")
    left.legend()
    terms = {"diagonal": "#0072b2", "off_diagonal": "#009e73", "higher_order": "#d55e00", "gradient": "#cc79a7"}
    for term, color in terms.items():
        x, values = _sweep(records, "obd", lambda row, start, term=term: row.get(term))
        _median(right, x, values, color, term.replace("_d", "-d").replace("_", " "), "o")
    right.set_yscale("symlog", linthresh=1e-3)
    right.axhline(0, color="black", linewidth=0.6)
    right.set_ylabel("part of the change of E")
    right.legend()
    for axis in (left, right):
        axis.set_xlabel("parameters deleted")
        axis.grid(alpha=0.3)
    figure.suptitle(_lenet_title(records))
    return _save(figure, path)


def obd_against_magnitude(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw E on the training set as parameters go at once, chosen by OBD and by magnitude."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for method, style in STYLES.items():
        x, values = _sweep(records, method, lambda row, start: row["E"])
        _median(axis, x, values, style["color"], style["label"])
    _logarithmic(axis)
    axis.set_xlabel("parameters deleted")
    axis.set_ylabel("E on the training set")
    axis.set_title(_lenet_title(records), fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return _save(figure, path)


def log_mse(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the mean squared error per output against the parameters left, before and after retraining."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(7.8, 5.4), sharex=True, sharey=True, constrained_layout=True)
    for column, part in enumerate(("train", "test")):
        for method, style in STYLES.items():
            x, values = _sweep(records, method, lambda row, start, part=part: row[f"{part}_loss"] / 10)
            _median(axes[0, column], 2578 - x, values, style["color"], style["label"])
            x, values = _rounds(records, method, lambda row, part=part: row["retrained"][f"{part}_loss"] / 10)
            start = [record["trained"][f"{part}_loss"] / 10 for record in records]
            _median(axes[1, column], [2578, *x], _with_start(values, start), style["color"], style["label"], "o")
        for axis, when in zip(axes[:, column], ("deleted at once, not retrained", "retrained after each round")):
            _logarithmic(axis)
            axis.set_title(f"{part}, {when}", fontsize=10)
            axis.grid(alpha=0.3)
        axes[1, column].set_xlabel("parameters left")
    axes[0, 0].invert_xaxis()
    for axis in axes[:, 0]:
        axis.set_ylabel("mean squared error per output")
    axes[0, 0].legend()
    figure.suptitle(_lenet_title(records))
    return _save(figure, path)


def prune_retrain_loop(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw parameters and connections left, and the test error, round by round of the six-step loop."""
    import matplotlib.pyplot as plt

    figure, (counts, errors) = plt.subplots(1, 2, figsize=(8.8, 3.7), constrained_layout=True)
    for quantity, color in (("parameters", "#0072b2"), ("connections", "#e69f00")):
        start = [record["trained"][quantity] for record in records]
        _, values = _rounds(records, "obd", lambda row, quantity=quantity: row[f"{quantity}_left"])
        share = _with_start(values, start) / start[0]
        _median(counts, range(share.shape[1]), share, color, f"{quantity} (of {start[0]:,})", "o")
    start = [100 - 100 * record["trained"]["test_accuracy"] for record in records]
    labels = {**{m: (s["color"], s["label"]) for m, s in STYLES.items()}, "control": ("#999999", "nothing deleted")}
    for method, (color, label) in labels.items():
        _, values = _rounds(records, method, lambda row: 100 - 100 * row["retrained"]["test_accuracy"])
        _median(errors, range(values.shape[1] + 1), _with_start(values, start), color, label, "o")
    counts.set_ylabel("share left")
    counts.set_ylim(0, 1.05)
    errors.set_ylabel("test error in %")
    for axis in (counts, errors):
        axis.set_xlabel("round of pruning and retraining")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(_lenet_title(records))
    return _save(figure, path)


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
    return _save(figure, path)


def filter_sensitivity(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy against the share of one layer's filters that is removed, without retraining."""
    import matplotlib.pyplot as plt
    import numpy as np

    spec = records[0]["spec"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, constrained_layout=True)
    for axis, layer in zip(axes, records[0]["sensitivity"]["l1"]):
        for method, color, label in (("l1", "#0072b2", "smallest L1 norms"), ("random", "#999999", "by chance")):
            values = np.array([record["sensitivity"][method][layer] for record in records])
            _median(axis, [100 * share for share in spec["shares"]], 100 * values, color, label, "o")
        axis.set_title(f"convolution {layer}")
        axis.set_xlabel("filters removed in this layer alone, %")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out accuracy, %")
    axes[0].legend()
    figure.suptitle(f"LeNet-5, not retrained, {_seeds([record['spec']['seed'] for record in records])}")
    return _save(figure, path)


def filter_retraining(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the test error while nets with half of their conv MACs are retrained, and that of the dense net beside."""
    import matplotlib.pyplot as plt
    import numpy as np

    styles = {"l1": "#0072b2", "l1 in steps": "#009e73", "random": "#d55e00", "dense": "#000000"}
    figure, axis = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for number, (method, color) in enumerate(styles.items()):
        rows = [row for record in records for row in record["rows"] if row["method"] == method]
        errors = 100 - 100 * np.array([row["test_accuracy"] for row in rows])
        _median(axis, rows[0]["epochs"], errors, color, method, "os^D"[number])
    axis.set_yscale("log")
    axis.set_xlabel("epochs after the first cut")
    axis.set_ylabel(f"{'held-out' if records[0]['spec']['validation'] else 'test'} error, %")
    seeds = _seeds([record["spec"]["seed"] for record in records])
    axis.set_title(f"LeNet-5 with {records[0]['spec']['macs']:.0%} of its conv MACs, {seeds}", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return _save(figure, path)


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


def _median(axis: Any, x: Any, values: Any, color: str, label: str, marker: str = "") -> None:
    import numpy as np

    axis.plot(x, np.median(values, axis=0), color=color, label=label, marker=marker, markersize=4)
    if len(values) > 1:
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def _logarithmic(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())


def _lenet_title(records: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted(record["spec"]["seed"] for record in records)
    return f"LeNet of 1990 on {records[0]['spec']['data']}, {_seeds(seeds)}"


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
    return f"{spec['data']}, {spec['activation']} net with {layers} hidden units, {_seeds(seeds)}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
    return path
