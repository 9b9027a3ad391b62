"""The ledger as a table, as JSON and as a page; and the command."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

import pruning.__main__ as command
from pruning import ledger
from pruning.ledger import core, report
from pruning.ledger.core import Form, run


@pytest.fixture
def bad(formula):
    return formula(id="S0-F3", right=lambda x: 3 * x)


@pytest.fixture
def outcomes(formula, claim, bad, nan):
    failing = claim(("right", 0.0), ("passes", 0.0), ("no number", nan), ("explodes", float("inf")), id="D1")
    return [run(formula()), run(bad), run(failing)]


@pytest.mark.parametrize("width", range(60, 201))
def test_the_table_fits_the_terminal(outcomes, width):
    text = report.table(outcomes, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "PASS S0-F1" in text and "FAIL S0-F3" in text and "FAIL D1" in text
    flat = " ".join(text.split())
    assert "THE RIGHT FORM DISAGREES WITH ITS REFEREE" in flat and "passes 0 PASSES, but should not" in flat
    assert "failed: S0-F3, D1." in flat


def test_the_summary_of_what_holds(formula):
    text = report.summary([run(formula())], 200)
    assert "1 statement, 1 wrong form," in text and text.endswith("every wrong form is caught.")


def test_json_has_no_tokens_of_its_own_and_the_same_bytes_apart_from_the_seconds(outcomes, formula, claim):
    def refuse(token):
        raise AssertionError(token)

    text = report.as_json(outcomes, 0)
    found = json.loads(text, parse_constant=refuse)
    assert [each["ok"] for each in found["statements"]] == [True, False, False]
    assert list(found)[-1] == "seconds" and list(found["seconds"]) == ["S0-F1", "S0-F3", "D1"]
    again = report.as_json([run(each.statement) for each in outcomes], 0)
    assert text.split('"seconds"')[0] == again.split('"seconds"')[0]


def test_json_takes_what_numpy_calls_a_number(claim, nan):
    text = report.as_json([run(claim(("right", nan * 0), ("wrong", nan)))], 0)
    assert json.loads(text)["statements"][0]["ok"] is False


def test_the_page_has_a_label_and_a_section_for_every_id(outcomes):
    page = report.as_myst(outcomes)
    for each in outcomes:
        id = each.statement.id
        assert page.count(f"({id.lower()})=\n## {id}: ") == 1
        assert page.count(f"[{id}](#{id.lower()})") == 2  # once in each table
        assert f"$$\n{each.statement.printed}\n$$" in page


def test_the_rows_of_a_table_have_as_many_cells_as_its_head(outcomes):
    tables = re.findall(r"(?:^\|.*\n)+", report.as_myst(outcomes), re.MULTILINE)
    assert [len(table.splitlines()) for table in tables] == [5, 5]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert r"twice a number \| doubled" in tables[0] and r"x \| squared" in tables[0] and r"S0, a \| b" in tables[1]


def verify(monkeypatch, statements, *arguments):
    monkeypatch.setattr(ledger, "STATEMENTS", tuple(statements))
    return command.main(["verify", *map(str, arguments)])


def test_the_command_is_0_where_all_holds_and_1_where_not(monkeypatch, capsys, formula, bad, claim):
    passing = formula(id="S0-F4", wrong=(Form("the same", lambda x: x + x, "It is not wrong."),))
    assert verify(monkeypatch, [formula()]) == 0
    assert "every right form agrees" in " ".join(capsys.readouterr().out.split())
    for statements, failed in (([formula(), bad], "S0-F3"), ([passing, formula()], "S0-F4")):
        assert verify(monkeypatch, statements) == 1
        assert f"failed: {failed}." in " ".join(capsys.readouterr().out.split())
    assert verify(monkeypatch, [formula(), bad], "S0-F1") == 0  # only what was asked for


def test_the_command_writes_what_it_measured(monkeypatch, tmp_path, formula, bad):
    paths = [tmp_path / "new" / "ledger.json", tmp_path / "ledger.md"]
    assert verify(monkeypatch, [formula(), bad], "--seed", 5, "--json", paths[0], "--myst", paths[1]) == 1
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    assert found["seed"] == 5 and [each["id"] for each in found["statements"]] == ["S0-F1", "S0-F3"]
    assert paths[1].read_text(encoding="utf-8").startswith("# The ledger")


def refused(capsys):
    """Return the one line of error; no row has been run."""
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_the_command_refuses_an_unknown_id_and_a_negative_seed(monkeypatch, capsys, formula):
    assert verify(monkeypatch, [formula(), formula(id="D14")], "S0-F11") == 2
    assert "S0-F1" in refused(capsys)
    assert verify(monkeypatch, [formula()], "--seed", -1) == 2
    assert "-1" in refused(capsys)


@pytest.mark.parametrize("option", ["--json", "--myst"])
def test_the_command_refuses_a_file_that_cannot_be_written_before_it_starts(
    monkeypatch, capsys, tmp_path, formula, option
):
    (tmp_path / "file").write_text("as it was", encoding="utf-8")
    for path in (tmp_path, tmp_path / "file" / "below"):
        assert verify(monkeypatch, [formula()], option, path) == 2
        assert str(tmp_path) in refused(capsys)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "as it was"


def test_the_command_refuses_one_file_for_both_pages(monkeypatch, capsys, tmp_path, formula):
    (tmp_path / "folder").mkdir()
    twice = tmp_path / "ledger", tmp_path / "folder" / ".." / "ledger"
    assert verify(monkeypatch, [formula()], "--json", twice[0], "--myst", twice[1]) == 2
    assert "expected two files for --json and --myst" in refused(capsys)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("option", ["--json", "--myst"])
def test_the_command_leaves_alone_what_is_no_file(monkeypatch, capsys, tmp_path, formula, option):
    os.mkfifo(tmp_path / "pipe")  # as /dev/null, which root could rename a file over
    assert verify(monkeypatch, [formula()], option, tmp_path / "pipe") == 2
    assert f"got {tmp_path / 'pipe'}, which is a folder or a device" in refused(capsys)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("option", ["--json", "--myst"])
def test_an_error_names_the_option_whose_folder_cannot_be_made(monkeypatch, capsys, tmp_path, formula, option):
    (tmp_path / "file").write_text("as it was", encoding="utf-8")
    assert verify(monkeypatch, [formula()], option, tmp_path / "file" / "folder" / "ledger") == 2
    assert f"as {option}, got {tmp_path}" in refused(capsys)


@pytest.mark.parametrize("error", [KeyError("W"), ValueError("two\nlines"), AssertionError()])
def test_a_row_whose_code_fails_is_named_in_one_sentence(monkeypatch, capsys, formula, error):
    def fails(x):
        raise error

    assert verify(monkeypatch, [formula(), formula(id="D1", right=fails)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: D1 could not be judged, for its code failed with {type(error).__name__}")


def test_a_wide_terminal_does_not_pull_the_columns_apart(monkeypatch, capsys, formula):
    monkeypatch.setenv("COLUMNS", "300")
    assert verify(monkeypatch, [formula()]) == 0
    assert 120 < max(len(line) for line in capsys.readouterr().out.splitlines()) <= command.WIDEST


def started():
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pruning", "verify"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_ctrl_c_says_interrupted_and_nothing_of_runs():
    with started() as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1].splitlines()[-1] == "interrupted"
    assert process.returncode == 130


def test_a_reader_that_has_gone_is_no_error():
    with started() as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def test_without_torch_the_rows_and_the_verdicts_are_the_same(monkeypatch, formula, bad):
    needy = formula(id="D2", referees=(Form("sum", lambda x: x + x), Form("torch", lambda x: 2.0 * x, needs="torch")))
    statements = (needy, bad, *ledger.STATEMENTS[:3])
    monkeypatch.setattr(core, "find_spec", lambda name: object())
    there = [run(each) for each in statements]
    for module in (core, report):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    without = [run(each) for each in statements]
    assert [(e.statement.id, e.right, e.ok, e.wrong) for e in there] == [
        (e.statement.id, e.right, e.ok, e.wrong) for e in without
    ]
    assert there[0].referees == ("sum", "torch") and without[0].referees == ("sum",)
    assert "referees with NumPy alone" in report.summary(without, 400)
