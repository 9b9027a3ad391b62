"""What the sources print, row by row (`notebooks/results/published.jsonl`): well formed, and as elsewhere here.

One line is one row of a table, one figure, or one claim.  `id` and `key` begin with the source's letter in the ledger,
`where` is the place in it, `columns` are the cells as printed by the head of their column (what stands twice in a head
is told apart in brackets, merged cells are repeated), `says` is a claim in our words, `note` what is wrong with it or
has to be known, `ledger` the rows that put it on trial, `notebook` and `code` where it is treated here.
"""

import importlib
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from referees.li2017 import LI

from pruning import ledger
from pruning.architectures import stage_patterns
from pruning.experiments import EXPERIMENTS, record_file

ROOT = Path(__file__).parents[1]
PATH = ROOT / "notebooks" / "results" / "published.jsonl"
ROWS = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
TEXTS = ("id", "kind", "key", "source", "where", "table", "says", "note", "notebook", "code")
TABLES = {  # as many rows as are printed
    **{"S0-L1": 7, "S0-ThiNet": 6, "S0-regression": 6, "S0-slimming": 11, "S0-SSS": 3, "S0-unstructured": 22},
    **{"S0-T18": 3, "S0-T19": 9, "S0-T20": 9, "S0-T21": 5},
    **{"S1-conv2_1": 2, "S3-T1": 14, "S3-reduced": 6, "S4-T1": 12},
}
ACCURACY = r"\d\d\.\d\d( \(±0\.\d\d\))?"


def of(table, kind="row"):
    return [row for row in ROWS if row["id"].rpartition("-")[0] == table and row["kind"] == kind]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_row_is_whole(row):
    assert list(row) == ["id", "kind", "key", "source", "where", "table", "columns", "says", "note", *list(row)[9:]]
    assert list(row)[9:] == ["ledger", "notebook", "code"]
    assert all(isinstance(row[name], str) and row[name] == row[name].strip() for name in TEXTS)
    assert re.fullmatch(r"S[0-4]", row["key"]) and re.fullmatch(rf"{row['key']}-[\w ]+-\d+", row["id"])
    assert all(row[name] for name in ("source", "where", "table"))
    assert row["kind"] in ("row", "figure", "claim")
    assert all(isinstance(text, str) for pair in row["columns"].items() for text in pair)
    assert bool(row["columns"]) or row["kind"] != "row"
    assert bool(row["says"]) == (row["kind"] != "row")
    assert all(not row[name] or row[name].endswith(".") for name in ("says", "note"))


def test_ids_and_sources_stand_once():
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert sorted({row["key"] for row in ROWS}) == ["S0", "S1", "S2", "S3", "S4"]
    assert len({(row["key"], row["source"]) for row in ROWS}) == 5


def test_every_printed_row_is_there():
    assert Counter(row["id"].rpartition("-")[0] for row in ROWS if row["kind"] == "row") == TABLES
    for table in TABLES:
        heads = {tuple(row["columns"]) for row in of(table)}
        assert len(heads) <= 2  # the two nets of ThiNet and of the regression have their own


KNOWN = {statement.id for statement in ledger.STATEMENTS}


@pytest.mark.parametrize("row", [row for row in ROWS if row["ledger"]], ids=lambda row: row["id"])
def test_the_ledger_has_what_a_row_names(row):
    assert set(row["ledger"]) <= KNOWN


def test_notebooks_and_code_that_rows_name_are_there():
    for number, section in sorted({tuple(row["notebook"].split(", section ")) for row in ROWS} - {("",)}, key=str):
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        assert re.search(rf"^#+ {re.escape(section)}\b", text, re.MULTILINE), (number, section)
    for name in {name for row in ROWS for name in row["code"].split(", ") if name}:
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), name


# ---- the same numbers elsewhere --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "table"), [("S0-T18", "PRERESNET164"), ("S0-T21", "VGG16")])
def test_the_shares_of_tables_18_and_21(name, table):
    ours = getattr(stage_patterns, table)
    for stage, row in enumerate(of(name), 1):
        head, *cells = row["columns"].items()
        assert head == ("", f"Stage {stage}")
        assert cells == [(f"{percent}%", f"{shares[stage]:.3f}") for percent, shares in ours.items()]


@pytest.mark.parametrize(("name", "table"), [("S0-T19", "PRERESNET110"), ("S0-T20", "DENSENET40")])
def test_the_patterns_of_tables_19_and_20(name, table):
    ours = getattr(stage_patterns, table)
    for k, row in enumerate(of(name)):
        stage, i = k // 3 + 1, k % 3
        expected = {f"{p}%, column {j + 1}": f"{P[stage][i, j]:.3f}" for p, P in ours.items() for j in range(3)}
        assert row["columns"] == {"": f"Stage {stage}, row {i + 1}", **expected}


def test_the_cells_of_li_et_al():
    for row, (name, li) in zip(of("S4-T1"), LI.items(), strict=True):
        model, _, *cells = row["columns"].values()
        assert model.replace("-pruned", "") == name
        assert [cell.rstrip("%") for cell in cells] == list(li.printed)


def test_the_rates_of_lenet5_are_25500_over_whole_numbers():
    weights = {"23/18": 1100, "39.23": 650, "34.46": 740, "87.93": 290, "45.54": 560, "231.82": 110}
    rows = [row["columns"] for row in of("S3-T1") if row["columns"]["Method"] == "our LeNet-5"]
    rates = [row[head].strip("*×") for row in rows for head in ("Prune Rate w/o P-RM", "Prune Rate with P-RM")]
    assert rates == list(weights)
    assert all(f"{25_500 / n:.2f}" == rate.replace("/", ".") for rate, n in weights.items())


def test_accuracies_look_like_accuracies_and_differences_have_a_sign():
    for table in ("S0-L1", "S0-slimming", "S0-SSS", "S0-unstructured"):
        for row in of(table):
            trained = [row["columns"][head] for head in ("Unpruned", "Scratch-E", "Scratch-B")]
            assert all(re.fullmatch(ACCURACY, cell) for cell in trained), row["id"]
            assert {"(" in cell for cell in trained} == {row["columns"]["Dataset"] != "ImageNet"}
    for table in ("S0-ThiNet", "S0-regression"):
        for row in of(table):
            _, unpruned, strategy, *cells = row["columns"].values()
            assert re.fullmatch(rf"\S+ {ACCURACY}", unpruned) and strategy in ("Fine-tuned", "Scratch-E", "Scratch-B")
            assert all(re.fullmatch(r"[+-]\d+\.\d\d", cell) for cell in cells)


def test_the_second_block_of_the_slimming_table_is_cifar100():
    blocks = {}
    for row in of("S0-slimming"):
        blocks.setdefault(row["columns"]["Dataset"], []).append(Decimal(row["columns"]["Scratch-B"][:5]))
    assert max(blocks["CIFAR-100"]) < 77 < 93 < min(blocks["CIFAR-10"])
    assert all("CIFAR-100" in row["note"] for row in of("S0-slimming") if row["columns"]["Dataset"] == "CIFAR-100")
    assert all("Han et al. 2015" in row["note"] for row in of("S0-unstructured"))


def test_what_the_note_on_conclusion_2_says_of_the_table():
    rows = [row["columns"] for row in of("S0-unstructured")]
    found = [
        Decimal(row["Fine-tuned"][:5]) - Decimal(row["Scratch-B"][:5])
        for row in rows
        if (row["Dataset"], row["Prune Ratio"]) == ("CIFAR-10", "95%")
    ]
    assert [str(each) for each in found] == ["-0.29", "0.80", "0.75"]
    (claim,) = [row for row in of("S0-conclusions", "claim") if "Conclusion 2" in row["where"]]
    assert "-0.29 (VGG-19), 0.80 (PreResNet-110) and 0.75 points (DenseNet-BC-100)" in claim["note"]


def test_what_was_to_be_covered_has_a_row():
    """Figure 3 and the rates of P-RM; Li et al.'s figures, sensitivity, greedy selection, retraining, first layer."""
    found = {(row["key"], row["where"].partition(",")[0]) for row in ROWS}
    for where in ("Figure 3", "Table 1", "section 1"):
        assert ("S3", where) in found
    for where in ("Figure 2(a)", "Figure 2(b)", "Figure 2(c)", "section 2", "section 3", "Table 1"):
        assert ("S4", where) in found
    tags = {row["id"].rpartition("-")[0] for row in ROWS}
    assert {"S4-sensitivity", "S4-greedy", "S4-retraining", "S4-first layer", "S4-512 maps", "S3-text"} <= tags
    assert {"S0-budget", "S0-conclusions", "S0-efficiency", "S0-types", "S1-approximation", "S1-channels"} <= tags


def test_nobody_takes_it_for_the_records_of_an_experiment():
    assert PATH.stem not in EXPERIMENTS
    with pytest.raises(ValueError, match=r"^line 1 of .*published\.jsonl is no record of an experiment"):
        record_file.read(PATH)
