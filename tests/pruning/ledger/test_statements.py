"""Every statement of the ledger: it holds, its wrong forms are caught, and what it names is there."""

import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest

from pruning import ledger
from pruning.ledger.core import Formula

ROOT = Path(__file__).parents[3]
SLOW: frozenset[str] = frozenset(
    {"D2b", "D113", "D114", "D136", "S0-A2", "S0-A5a", "S0-A5c", "S0-F3", "S0-F5b", "S3-F11a"}
)
"""Rows that take more than a tenth of a second, or make an optimizer of torch, whose first import takes one."""


def rows(statements):
    return [pytest.param(s, id=s.id, marks=[pytest.mark.slow] if s.id in SLOW else []) for s in statements]


@pytest.mark.parametrize("statement", rows(ledger.STATEMENTS))
def test_the_right_form_holds_and_every_wrong_form_is_caught(statement):
    outcome = ledger.run(statement, seed=0)
    assert outcome.right, f"error {outcome.error:.1e}, allowed {statement.tolerance:.0e}"
    assert [each.name for each in outcome.wrong if not each.caught] == []


def test_every_id_stands_once_and_is_one_of_the_sources():
    ids = [statement.id for statement in ledger.STATEMENTS]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"S[0-4]-[FAQ]\d+[a-z]?|[CD]\d+[a-z]?", each) for each in ids)


@cache
def headings(number):
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?)", text, re.MULTILINE))


@pytest.mark.parametrize("statement", ledger.STATEMENTS, ids=lambda s: s.id)
def test_what_a_statement_names_is_there(statement):
    for name in statement.code.split(", "):
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:length]))
                break
            except ModuleNotFoundError:
                continue
        for part in parts[length:]:
            found = getattr(found, part)
    number, section = re.fullmatch(r"(\d\db?), section (\d+(?:\.\d+)?)", statement.notebook).groups()
    assert section in headings(number), f"notebook {number} has no section {section}"


@pytest.mark.parametrize("statement", ledger.STATEMENTS, ids=lambda s: s.id)
def test_a_row_says_all_that_a_reader_wants(statement):
    assert statement.printed and statement.where and statement.title
    assert statement.remark.endswith((".", "!")) and "\n" not in statement.remark
    if isinstance(statement, Formula):
        assert statement.referees[0].needs is None, "one referee needs NumPy only"
        names = [form.name for form in statement.wrong]
        assert len(names) == len(set(names)) and all(form.message for form in statement.wrong)


def mutants():
    names = sorted(path.stem for path in (ROOT / "tests" / "fuzz" / "mutants").glob("*.py"))
    return [each for name in names for each in importlib.import_module(f"mutants.{name}").MUTANTS]


def test_every_row_has_two_mutants_and_each_finds_its_text_once():
    found = [row for row, *_ in mutants()]
    assert {s.id for s in ledger.STATEMENTS if found.count(s.id) < 2} == set()
    assert set(found) <= {s.id for s in ledger.STATEMENTS}
    for _, file, text, other in mutants():
        assert (ROOT / file).read_text(encoding="utf-8").count(text) == 1 and text != other, (file, text)
