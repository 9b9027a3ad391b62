"""The README's example runs as printed, and prints what the README says."""

import contextlib
import io
import json
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_is_printed():
    code = re.search(r"```python\n(import numpy.*?)```\n\n(?:It p|P)rints `([^`]+)`", README, re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code[1], {})
    numbers, printed = (re.findall(r"[\d.]+", text) for text in (output.getvalue(), code[2]))
    assert numbers[:2] == printed[:2]
    assert abs(float(numbers[2]) - float(printed[2])) < 2  # other BLAS kernels round differently on the way


def test_the_example_of_surgery_prints_what_is_printed():
    code = re.search(
        r"```python\n(import numpy[^`]*surgery.*?)```\n\nPrints `([^`]+)` and `([^`]+)`", README, re.DOTALL
    )
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code[1], {})
    for line, shown in zip(output.getvalue().splitlines(), (code[2], code[3]), strict=True):
        numbers, printed = (re.findall(r"[\d.]+", text) for text in (line, shown))
        assert numbers[:2] == printed[:2]
        assert abs(float(numbers[2]) - float(printed[2])) < 2


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README


def test_the_files_it_links_to_exist():
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(targets) >= 3
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_layer_it_shows_is_the_layer():
    code = (ROOT / "nn/linear.py").read_text(encoding="utf-8")
    for line in ("return self.W.data.T @ ga", "self.W.hess_diag = ha @ (self.x * self.x).T",
                 "return self.W.data.T @ ga, (self.W.data * self.W.data).T @ ha"):  # fmt: skip
        assert line in README and line in code


def records(name):
    lines = (ROOT / "notebooks/results" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_accuracies_of_pruned_nets_are_those_of_the_records():
    found = defaultdict(dict)
    for name in ("admm", "lenet-record"):
        for record in records(name):
            spec = record["spec"]
            found[name, spec["row"], spec["method"]][spec["seed"]] = record["small"]["test_accuracy"]
    for record in records("ssl"):
        key = ("ssl", record["spec"]["dense"]["model"], record["spec"]["structure"])
        found[key][record["spec"]["seed"]] = record["retrained"]["test_accuracy"]
    for record in records("filters"):
        for row in record["rows"]:
            key = ("filters", record["spec"]["dense"]["model"], row["method"])
            found[key][record["spec"]["seed"]] = row["test_accuracy"][-1]
    known = {", ".join(f"{100 * runs[seed]:.2f}" for seed in sorted(runs)) for runs in found.values()}
    rows = [line for line in README.splitlines() if re.match(r"\|.*\| (labels|teacher) \|", line)]
    printed = [re.search(r"\| (\d\d\.\d\d(?:, \d\d\.\d\d)*) \|", row)[1] for row in rows]
    assert len(printed) >= 16
    assert [row for row, numbers in zip(rows, printed) if numbers not in known] == []
