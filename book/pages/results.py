"""The results: every table of records, with its command, the spread over seeds and the paired differences."""

import importlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import sources

from pruning.experiments import EXPERIMENTS, comparison, record_file
from pruning.experiments.comparison import Spread, Table

FOLDER = sources.ROOT / "notebooks" / "results"
SCRATCH = "-scratch"
"""Behind an experiment's name: its small nets once more, from new weights."""
LONG = 16
"""A table of more rows is folded."""


def page(folder: Path = FOLDER) -> str:
    """Return the page.

    Raises
    ------
    ValueError
        If an experiment has no records, or there are records that no command of today makes.
    """
    out = [
        "(results)=\n# Results\n",
        "Every table here is made from the records in `notebooks/results` when the book is built; the command above it"
        " makes those records. Numbers are means over the seeds, ± their standard errors. The last column has the"
        " difference from each control in the first number, paired by seed: both nets of a pair began alike."
        " **A difference below two of its standard errors is called unresolved**: these seeds do not tell the two"
        " apart. With three seeds even three standard errors come about by chance once in ten. A table of more than"
        f" {LONG} rows is folded; a click opens it.\n",
    ]
    for name in EXPERIMENTS:
        out += section(name, folder)
    return "\n".join(out) + "\n"


def section(name: str, folder: Path) -> Iterator[str]:
    """Yield the blocks of an experiment."""
    experiment, records = EXPERIMENTS[name], read(folder / f"{name}.jsonl")
    title, _, rest = " ".join(str(experiment.__doc__).split("\n\n")[0].split()).partition(": ")
    yield f"\n(results-{name.replace('_', '-')})=\n## {name}: {plain(title.rstrip('.'))}\n"
    if rest:
        yield f"{plain(rest[0].upper() + rest[1:])}\n"
    yield f"`pruning.experiments.{name}`{seen(name)}. The records are made by\n"
    yield "```text\n" + "\n".join(commands(name, records)) + "\n```\n"
    yield f"{made(records)}\n"
    yield f"{columns_of(experiment)}\n"
    for table in comparison.tables(experiment, records):
        yield shown(table)
    added = folder / f"{name}{SCRATCH}.jsonl"
    if added.exists():
        yield from from_scratch(experiment, records, read(added))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of an experiment; there must be some."""
    found = record_file.read(path)
    if not found:
        command = f"python -m pruning run {path.stem.removesuffix(SCRATCH)} --out {path.parent}"
        raise ValueError(f"the page of results has no records in {path.name}; {command} makes some")
    return found


def seen(name: str) -> str:
    """Return which notebooks speak of an experiment, as words."""
    named = re.compile(rf"\brun {name}\b|experiments\.{name}\b")
    numbers = [number for number, text in sources.prose().items() if named.search(text)]
    links = ", ".join(f"[{number}](#nb{number})" for number in numbers)
    return f", read in notebook{'s' * (len(numbers) > 1)} {links}" if numbers else ""


def commands(name: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the commands that make these records; the program itself is asked which specifications they stand for."""
    experiment, left = EXPERIMENTS[name], {key(record["spec"]): record["spec"] for record in records}
    out = []
    while left:
        spec = next(iter(left.values()))
        dense = spec.get("dense", spec)
        data, validation = dense.get("data"), bool(spec.get("validation"))
        seeds = sorted({each["seed"] for each in left.values() if comparison.setting(each) == comparison.setting(spec)})
        for model in (None, dense.get("model")):
            made = specifications(experiment, data, seeds, model, validation)
            if key(spec) in made:
                break
        else:
            what = f"{comparison.setting(spec)}, seed {spec['seed']}"
            raise ValueError(f"{name}.jsonl has a record that no command makes today: {what}; make it again")
        words = [f"--data {data}"] * (data is not None) + [f"--model {model}"] * (model is not None)
        words += [f"--seed {' '.join(map(str, seeds))}"] + ["--validation"] * validation
        out.append(f"python -m pruning run {name} {' '.join(words)} --out notebooks/results")
        left = {each: spec for each, spec in left.items() if each not in made}
    return out


def key(spec: Mapping[str, Any]) -> str:
    """Return what decides what a cell computes, as one string: not the machine that its times are of."""
    return record_file.key({name: value for name, value in spec.items() if name != "machine"})


def specifications(
    experiment: ModuleType, data: str | None, seeds: list[int], model: str | None, validation: bool
) -> set[str]:
    """Return the keys of what a command would run; nothing where the experiment refuses."""
    try:
        found = experiment.specs(data or "digits", seeds, "cpu", model, validation)
    except ValueError:
        return set()
    return {key(each) for each in found}


def made(records: Sequence[Mapping[str, Any]]) -> str:
    """Return when the records were made, how long it took, and where."""
    days = sorted({record["time"]["started"][:10] for record in records})
    minutes = sum(record["time"]["seconds"] for record in records) / 60
    kernels = sorted({record["versions"]["blas"] for record in records})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{len(records)} records, {when}, {minutes:,.0f} minutes of one core in all, {', '.join(kernels)}."


def columns_of(experiment: ModuleType) -> str:
    """Return what the rows of its tables are, in the words of the function that chooses them."""
    said = " ".join(str(experiment.compared.__doc__).split("\n\n")[0].split())
    return f"In the tables: {plain(said.removeprefix('Yield '))}"


def shown(table: Table) -> str:
    """Return a table of arms as Markdown, folded if it is long."""
    heads = list(dict.fromkeys(key for numbers, _ in table.rows.values() for key in numbers))
    title = ": ".join(part for part in (table.setting, table.group) if part)
    controlled = any(differences for _, differences in table.rows.values())
    columns = ["", "seeds", *heads, *["less its control"] * controlled]
    folded = len(table.rows) > LONG
    lines = [f":::{{dropdown}} {title or 'The table'} ({len(table.rows)} rows)\n"] if folded else []
    lines += [f"**{plain(title)}**\n"] if title and not folded else []
    lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, (numbers, differences) in table.rows.items():
        seeds = str(next(iter(numbers.values())).seeds) if numbers else "diverged"
        cells = [plain(name), seeds, *(number(numbers[key], key) if key in numbers else "" for key in heads)]
        cells += ["<br>".join(difference(each, key) for each, key in differences.items())] * controlled
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines + [":::"] * folded) + "\n"


def number(spread: Spread, key: str) -> str:
    """Return a mean and its standard error, as many digits as the unit deserves."""
    whole = spread.mean == round(spread.mean) and not spread.error > 0
    digits = 2 if key.endswith("%") else 0 if whole or abs(spread.mean) >= 100 else 3
    return written(spread, f",.{digits}f")


def difference(control: str, spread: Spread) -> str:
    """Return a paired difference in words, with its control."""
    if spread.mean == spread.error == 0:
        return f"0 on every seed ({plain(control)})"
    doubt = "; one seed" if spread.seeds == 1 else "" if spread.resolved else "; unresolved"
    return f"{written(spread, '+.2f')} ({plain(control)}{doubt})"


def written(spread: Spread, form: str) -> str:
    """Return mean ± standard error; small ones as powers of ten."""
    mean = spread.mean
    error = spread.error if spread.error > 1e-9 * abs(mean) else 0.0  # below that it is rounding
    sign = "+" * (form[0] == "+")
    if 0 < error < (0.005 if form == "+.2f" else 0.0005):
        digits = -math.floor(math.log10(error))  # the error's first digit
        return (
            f"{mean:{sign},.{digits}f} ± {error:.{digits}f}" if abs(mean) >= 0.1 else f"{mean:{sign}.1e} ± {error:.0e}"
        )
    mean = 0.0 if float(f"{mean:{form}}".replace(",", "")) == 0 else mean  # no -0.00
    return f"{mean:{form}}" + (f" ± {error:{form.removeprefix('+')}}" if error > 0 else "")


def from_scratch(experiment: ModuleType, records: Sequence[Any], added: Sequence[Any]) -> Iterator[str]:
    """Yield the small nets once more, from new weights, as the program prints them, one table a data set and net."""
    scratch = importlib.import_module("pruning.experiments.scratch")
    name = experiment.__name__.rpartition(".")[2]
    yield f"**Its small nets from new weights** (`python -m pruning run {name} ... --scratch`), accuracies in %:\n"
    for setting in dict.fromkeys(comparison.setting(each["spec"]) for each in added):
        new = [each for each in added if comparison.setting(each["spec"]) == setting]
        old = [each for each in records if comparison.setting(each["spec"]) == setting]
        known = {each["spec"]["record"] for each in new}
        old = [each for each in old if scratch.setup.digest(each["spec"]) in known]
        yield f"{setting}\n\n```text\n{scratch.table(scratch.compared(experiment, old, new))}\n```\n"


def plain(text: str) -> str:
    """Return plain text as Markdown."""
    return re.sub(r"([*_<$|\[\]])", r"\\\1", text)
