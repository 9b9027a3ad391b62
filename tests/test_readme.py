"""The README's example runs as printed, and prints what the README says."""

import contextlib
import io
import re
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
