"""The figures of the experiment `scaling_factors`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning.experiments.figures.style import BLUE, GRAY, GREEN, ORANGE, VERMILION, save, seed_list

STAGES = (BLUE, ORANGE, VERMILION)


def factors(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the factors of all blocks by epoch, one row a way to move them, one panel a seed, one colour a stage."""
    import matplotlib.pyplot as plt

    ways, blocks = list(records[0]["selected"]), list(records[0]["dense"]["added"])
    size = len(ways), len(records)
    figure, axes = plt.subplots(
        *size,
        figsize=(2.4 * size[1] + 1.6, 2.4 * size[0] + 0.8),
        sharex=True,
        sharey="row",
        constrained_layout=True,
        squeeze=False,
    )
    for row, way in zip(axes, ways):
        for axis, record in zip(row, records):
            found = record["selected"][way]["factors"]
            epochs = range(1, len(found) + 1)
            each_stage = len(blocks) // len(STAGES)
            for place, (block, s) in enumerate(zip(blocks, zip(*found, strict=True), strict=True)):
                look = ("-", "--", ":")[place % each_stage]
                axis.plot(epochs, s, look, color=STAGES[place // each_stage], linewidth=1.4, label=f"block {block}")
            out = sum(value == 0 for value in found[-1])
            axis.set_title(f"{way}, seed {record['spec']['seed']}: {out} at zero", fontsize=9)
            axis.grid(alpha=0.3)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.supxlabel("epoch")
    figure.supylabel("factor s of the block")
    figure.suptitle(f"{_title(records)}, strength {records[0]['spec']['strength']:g}", fontsize=10)
    return save(figure, path)


def nets(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the accuracy of every net as cut and as retrained, one point a seed."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4), constrained_layout=True)
    rows = [_rows(record) for record in records]
    names = list(rows[0])
    for stage, color, label, shift in (
        ("cut", GRAY, "as they are", -0.15),
        ("retrained", VERMILION, "retrained", 0.15),
    ):
        points = [
            (100 * found["test_accuracy"], names.index(name) + shift)
            for each in rows
            for name, row in each.items()
            if "test_accuracy" in (found := row.get(stage, {}))
        ]
        axis.plot(*zip(*points, strict=True), "o", color=color, markersize=4, label=label)
    for number, record in enumerate(records):
        after = record["dense"]["retrained"].get("test_accuracy")
        if after is not None:
            axis.axvline(100 * after, color=GREEN, linewidth=0.8, label="" if number else "dense, retrained")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel("test accuracy, %")
    axis.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right center")
    figure.suptitle(_title(records), fontsize=10)
    return save(figure, path)


def _rows(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {"dense": record["dense"], **{row["method"]: row for row in record["rows"]}}


def _title(records: Sequence[Mapping[str, Any]]) -> str:
    dense = records[0]["spec"]["dense"]
    return f"{dense['model']} on {dense['data']}, {seed_list(records)}"
