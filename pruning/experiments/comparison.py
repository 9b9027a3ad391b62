"""What the records of an experiment say, over seeds: means, standard errors, and differences paired by seed.

An experiment has ``compared(record)``, which yields an `Arm` for each of its nets; `tables` puts those of all records
side by side.  The seed that two arms share is what pairs them: they began with the same net, or the same draws.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One net of a record.

    Attributes
    ----------
    name : what it is called; several of one name in a record are averaged.
    numbers : what is known of it, by name and unit; differences are taken of the first.  Empty if it diverged.
    controls : the names of the arms of the same group that it is measured by.
    group : what it may be compared with: nets of the same target, for instance.
    """

    name: str
    numbers: Mapping[str, float]
    controls: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, and its standard error: not a number if there is one seed."""

    mean: float
    error: float
    seeds: int

    @property
    def resolved(self) -> bool:
        """Whether the mean, a difference, is at least two standard errors away from zero."""
        return self.error > 0 and abs(self.mean) >= 2 * self.error


@dataclass(frozen=True)
class Table:
    """The arms of one group: for each its numbers, and its differences from its controls."""

    setting: str
    group: str
    rows: Mapping[str, tuple[Mapping[str, Spread], Mapping[str, Spread]]]


def percent(found: Mapping[str, Any], name: str = "test accuracy, %") -> dict[str, float]:
    """Return the accuracy of what was tested in %, nothing if that diverged."""
    return {name: 100 * found["test_accuracy"]} if "test_accuracy" in found else {}


def tables(experiment: ModuleType, records: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return a table for each group of arms of each data set and net, in the order of the records."""
    groups: dict[tuple[str, str], dict[str, dict[int, list[Arm]]]] = {}
    for record in records:
        for arm in experiment.compared(record):
            group = groups.setdefault((setting(record["spec"]), arm.group), {})
            group.setdefault(arm.name, {}).setdefault(record["spec"]["seed"], []).append(arm)
    return [Table(*names, dict(_rows(group))) for names, group in groups.items()]


def setting(spec: Mapping[str, Any]) -> str:
    """Return data set and net of a specification, and whether its accuracies are those on held-out images."""
    dense = spec.get("dense", spec)
    names = [dense[key] for key in ("data", "model") if key in dense]
    return ", ".join(names + ["held-out training images"] * bool(spec.get("validation")))


def _rows(
    group: Mapping[str, Mapping[int, list[Arm]]],
) -> Iterator[tuple[str, tuple[dict[str, Spread], dict[str, Spread]]]]:
    means = {name: {seed: _mean(arms) for seed, arms in seeds.items()} for name, seeds in group.items()}
    for name, seeds in group.items():
        found = [numbers for numbers in means[name].values() if numbers]
        controls = dict.fromkeys(each for arms in seeds.values() for arm in arms for each in arm.controls)
        differences = {each: _paired(means[name], means[each]) for each in controls if each in means}
        yield (
            name,
            (
                {key: spread([numbers[key] for numbers in found]) for key in (found[0] if found else ())},
                {each: difference for each, difference in differences.items() if difference},
            ),
        )


def _mean(arms: Sequence[Arm]) -> dict[str, float]:
    found = [arm.numbers for arm in arms if arm.numbers]
    return {key: statistics.mean(numbers[key] for numbers in found) for key in (found[0] if found else ())}


def _paired(ours: Mapping[int, Mapping[str, float]], control: Mapping[int, Mapping[str, float]]) -> Spread | None:
    both = [seed for seed in ours if ours[seed] and control.get(seed)]
    first = next(iter(ours[both[0]])) if both else ""
    return spread([ours[seed][first] - control[seed][first] for seed in both]) if both else None


def spread(values: Sequence[float]) -> Spread:
    """Return the mean of the values and its standard error."""
    n = len(values)
    return Spread(statistics.mean(values), statistics.stdev(values) / n**0.5 if n > 1 else float("nan"), n)
