"""The ledger for people and for programs: a table for the terminal, JSON, and pages for the book."""

import json
import textwrap
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from pruning.ledger.core import VERDICTS, Formula, Outcome


def table(outcomes: Sequence[Outcome], width: int) -> str:
    """Return two or more lines for each statement, none wider than `width`, and the line of summary."""
    return "\n".join([header(width), *(lines(each, width) for each in outcomes), "", summary(outcomes, width)])


def header(width: int) -> str:
    """Return the heads of the columns."""
    title, referee = _columns(width)
    return f"     {'id':8} {'statement':{title}} {'printed is':10} {'referee':{referee}} {'error':>6} {'allowed':>7}"


def lines(outcome: Outcome, width: int) -> str:
    """Return the lines of one statement: its outcome, then every wrong form with the size of its smallest error."""
    title, referee = _columns(width)
    statement, judges = outcome.statement, " + ".join(outcome.referees)
    mark = "PASS" if outcome.ok else "FAIL"
    first = (
        f"{mark} {statement.id:8} {_fitted(statement.title, title)} {statement.verdict:10} {_fitted(judges, referee)}"
        f" {_short(outcome.error):>6} {_short(statement.tolerance):>7}"
    )
    wrong = "; ".join(
        f"{each.name} {_size(each.error)}" + ("" if each.caught else " PASSES, but should not")
        for each in outcome.wrong
    )
    if not outcome.right:
        wrong = f"THE RIGHT FORM DISAGREES WITH ITS REFEREE; {wrong}"
    indent = 14 * " "
    rest = textwrap.wrap(f"wrong: {wrong}", width, initial_indent=indent, subsequent_indent=f"{indent}  ")
    return "\n".join([first, *rest])


def _columns(width: int) -> tuple[int, int]:
    # What id, verdict and errors leave is shared between title and referee.
    free = max(width - 5 - 9 - 11 - 7 - 8 - 2, 18)
    return free * 3 // 5, free - free * 3 // 5


def _fitted(text: str, width: int) -> str:
    return f"{text if len(text) <= width else text[: width - 1] + '…':{width}}"


def _short(number: float) -> str:
    return "0" if number == 0 else f"{number:.0e}"


def _size(number: float) -> str:
    return f"{number:.2g}"


def summary(outcomes: Sequence[Outcome], width: int) -> str:
    """Return what was counted, and what disagreed: every id that failed."""
    wrong = sum(len(each.wrong) for each in outcomes)
    seconds = sum(each.seconds for each in outcomes)
    judges = "NumPy alone" if find_spec("torch") is None else f"NumPy and torch {version('torch')}"
    failed = [each.statement.id for each in outcomes if not each.ok]
    verdict = (
        f"failed: {', '.join(failed)}"
        if failed
        else "every right form agrees with its referees, every wrong form is caught"
    )
    counted = f"{_some(len(outcomes), 'statement')}, {_some(wrong, 'wrong form')}"
    text = f"{counted}, {seconds:.1f} s, referees with {judges}: {verdict}."
    return "\n".join(textwrap.wrap(text, width))


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def as_json(outcomes: Sequence[Outcome], seed: int) -> str:
    """Return all that was measured; the same seed gives the same bytes, the seconds apart, which stand last."""
    rows = [_record(each) for each in outcomes]
    times = {each.statement.id: round(each.seconds, 3) for each in outcomes}
    return json.dumps({"seed": seed, "statements": rows, "seconds": times}, indent=1, ensure_ascii=False) + "\n"


def _record(outcome: Outcome) -> dict[str, Any]:
    statement = outcome.statement
    names = ("id", "title", "printed", "verdict", "remark", "where", "code", "notebook", "tolerance")
    return {
        **{name: getattr(statement, name) for name in names},
        "referees": list(outcome.referees),
        "error": _number(outcome.error),
        "ok": outcome.ok,
        "wrong": [
            {"name": each.name, "error": _number(each.error), "caught": each.caught, "message": each.message}
            for each in outcome.wrong
        ],
    }


def _number(error: float) -> float | str:
    # JSON has no infinity.
    return error if abs(error) < float("inf") else "infinite"


def as_myst(outcomes: Sequence[Outcome]) -> str:
    """Return the ledger as a page in MyST Markdown: tables of all statements, then a section for each, with a label."""
    wrong = sum(len(each.wrong) for each in outcomes)
    out = [
        "# The ledger: every formula on trial\n",
        f"{len(outcomes)} statements and {wrong} wrong forms, measured by `python -m pruning verify` when this page was"
        " made. *Printed is* says what became of the statement as its source prints it:\n",
        *(f"* **{verdict}**: {meaning}" for verdict, meaning in VERDICTS.items()),
        "\n## All statements\n",
        "| id | statement | printed is | referee | error | wrong forms, and by how much they fail |",
        "|---|---|---|---|---|---|",
        *(_myst_row(each) for each in outcomes),
        "\n## From the slide to the section\n",
        "| source | statement | notebook | code |",
        "|---|---|---|---|",
        *(_myst_source(each) for each in outcomes),
        *(_myst_section(each) for each in outcomes),
    ]
    return "\n".join(out) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _myst_row(outcome: Outcome) -> str:
    statement, wrong = outcome.statement, "; ".join(f"{w.name} ({_size(w.error)})" for w in outcome.wrong)
    cells = (statement.title, statement.verdict, " + ".join(outcome.referees), _short(outcome.error), wrong)
    return f"| [{statement.id}](#{statement.id.lower()}) | " + " | ".join(_cell(cell) for cell in cells) + " |"


def _myst_source(outcome: Outcome) -> str:
    statement, code = outcome.statement, _myst_code(outcome)
    return f"| {_cell(statement.where)} | [{statement.id}](#{statement.id.lower()}) | {statement.notebook} | {code} |"


def _myst_code(outcome: Outcome) -> str:
    return ", ".join(f"`{name.strip()}`" for name in outcome.statement.code.split(","))


def _myst_section(outcome: Outcome) -> str:
    statement = outcome.statement
    kind = "formula" if isinstance(statement, Formula) else "claim"
    out = [
        f"\n({statement.id.lower()})=\n## {statement.id}: {statement.title}\n",
        f"$$\n{statement.printed}\n$$\n",
        f"**{statement.verdict.capitalize()}.** {statement.remark}\n",
        f"A {kind}. Source: {statement.where}. Code: {_myst_code(outcome)}. Notebook {statement.notebook}."
        f" Referee: {' + '.join(outcome.referees)}; error {outcome.error:.1e}, allowed {statement.tolerance:.0e}.\n",
        *(f"* Wrong: *{w.name}* is off by {_size(w.error)}. {w.message}".rstrip() for w in outcome.wrong),
    ]
    return "\n".join(out)
