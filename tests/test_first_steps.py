"""The examples of the book's first steps, and of a formula of one's own, run as printed and print what is said."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from pruning.__main__ import main

ROOT = Path(__file__).parent.parent
STEPS = (ROOT / "book" / "start.md").read_text(encoding="utf-8")
FORMULA = (ROOT / "book" / "formula.md").read_text(encoding="utf-8")


def printed_by(code):
    """Return what a piece of code prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue()


@pytest.mark.parametrize(
    ("score", "shown"), [("obd", r"```\n\nPrints `([^`]+)`"), ("magnitude", r"in its place, (\d\d\.\d) %")]
)
def test_the_example_prints_what_is_printed(score, shown):
    code = re.search(r"```python\n(import numpy.*?)```", STEPS, re.DOTALL)[1]
    if score == "magnitude":
        code = re.sub(r"obd\.saliency\(.*?\) ", "magnitude.saliency(net) ", code)
        assert "= magnitude.saliency(net)" in code
    numbers = re.findall(r"[\d.]+", printed_by(code))
    printed = re.findall(r"[\d.]+", re.search(shown, STEPS)[1])
    assert score == "magnitude" or numbers[:2] == printed[:2]
    assert abs(float(numbers[-1]) - float(printed[-1])) < 2  # other BLAS kernels round differently on the way


def test_the_example_of_surgery_prints_what_is_printed():
    code = re.search(r"```python\n(import numpy[^`]*surgery.*?)```\n\nPrints `([^`]+)` and `([^`]+)`", STEPS, re.DOTALL)
    for line, shown in zip(printed_by(code[1]).splitlines(), (code[2], code[3]), strict=True):
        numbers, printed = (re.findall(r"[\d.]+", text) for text in (line, shown))
        assert numbers[:2] == printed[:2]
        assert abs(float(numbers[2]) - float(printed[2])) < 2


def test_the_preview_of_a_cut_is_the_one_that_is_printed():
    code, text = re.search(
        r"```python\n(import nn\n[^`]*surgery\.preview.*?)```\n\n```\n(.*?)```", STEPS, re.DOTALL
    ).groups()
    assert printed_by(code) == text


def section_on_formulas():
    """The code, what it prints, and what the command prints, of the page on formulas of one's own."""
    code, printed, command = re.findall(r"```(?:python)?\n(.*?)```", FORMULA, re.DOTALL)
    return code, printed, command


def test_the_formula_of_ones_own_is_judged_as_printed():
    code, printed, _ = section_on_formulas()
    mended = code.replace("return -a * a * np", "return (a * a - 1) * np")
    assert mended != code
    for text, expected in ((code, printed), (mended, "")):
        assert printed_by(text) == expected


def comparable(text):
    """What the command prints, without what depends on the machine: seconds, torch, line breaks, rounding errors."""
    text = re.sub(r"\d+\.\d s, referees with .*?:(?=\s)", "", " ".join(text.split()))
    return re.sub(r"\d[.\d]*e-1[4-7]\b", "rounding", text)


def test_the_command_prints_the_table_that_is_printed(capsys, monkeypatch):
    *_, printed = section_on_formulas()
    (ids,) = re.findall(r"`python -m pruning verify (S0-F6 [^`]+)`", FORMULA)
    monkeypatch.setenv("COLUMNS", "110")
    assert main(["verify", *ids.split()]) == 0
    assert comparable(capsys.readouterr().out) == comparable(printed)


def test_the_layer_it_shows_is_the_layer():
    code = (ROOT / "nn/linear.py").read_text(encoding="utf-8")
    for line in ("return self.W.data.T @ ga", "self.W.hess_diag = ha @ (self.x * self.x).T",
                 "return self.W.data.T @ ga, (self.W.data * self.W.data).T @ ha"):  # fmt: skip
        assert line in STEPS and line in code
