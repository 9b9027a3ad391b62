"""The rows that wait for notebook 26: they hold, their wrong forms are caught, and their mutants find their texts."""

import importlib
import re
from pathlib import Path

import pytest

from pruning import ledger
from pruning.ledger import core, rethinking

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("statement", rethinking.STATEMENTS, ids=lambda s: s.id)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_right_form_holds_and_every_wrong_form_is_caught(statement, seed):
    outcome = core.run(statement, seed)
    assert outcome.right, f"error {outcome.error:.1e}, allowed {statement.tolerance:.0e}"
    assert [each.name for each in outcome.wrong if not each.caught] == []
    assert outcome.margin >= core.MARGIN


def test_the_rows_wait_outside_the_ledger_and_have_mutants():
    ids = {statement.id for statement in rethinking.STATEMENTS}
    assert all(re.fullmatch(r"D18[0-4]", each) for each in ids)
    assert not ids & {statement.id for statement in ledger.STATEMENTS}
    waiting = importlib.import_module("mutants.rethinking").WAITING
    assert {row for row, *_ in waiting} == ids
    assert all([row for row, *_ in waiting].count(each) >= 2 for each in ids)
    for _, file, text, other in waiting:
        assert (ROOT / file).read_text(encoding="utf-8").count(text) == 1 and text != other, (file, text)
