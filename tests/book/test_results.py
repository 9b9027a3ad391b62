"""The page of results: every record is in it, its commands make its records, its differences are those of README."""

import json
import shutil

import pytest
import sources
from pages import results

from pruning.experiments import EXPERIMENTS, comparison, record_file

FOLDER = results.FOLDER


@pytest.fixture(scope="module")
def page():
    return results.page()


def tables(name):
    return comparison.tables(EXPERIMENTS[name], record_file.read(FOLDER / f"{name}.jsonl"))


@pytest.mark.slow
def test_every_experiment_has_its_section_and_its_tables(page):
    for name in EXPERIMENTS:
        assert f"(results-{name.replace('_', '-')})=\n## {name}: " in page
        for table in tables(name):
            assert results.shown(table) in page
    assert " nan" not in page and "-0.00 " not in page


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_arm_is_without_a_number_and_every_control_is_there(name):
    for record in record_file.read(FOLDER / f"{name}.jsonl"):
        arms = list(EXPERIMENTS[name].compared(record))
        assert arms and all(arm.numbers or "diverged" in json.dumps(record) for arm in arms)
    for table in tables(name):
        for row, (numbers, _) in table.rows.items():
            assert numbers, row


@pytest.mark.parametrize(
    ("name", "group", "arm", "expected"),
    [
        ("admm_lenet5", "conv 650", "admm", {"at once": "-0.01 ± 0.07"}),
        ("lenet_record", "conv 36, with a teacher", "admm", {"at once": "+0.16 ± 0.11"}),
        (
            "adversarial",
            "",
            "ANP",
            {"adversarial training": "-1.30 ± 0.61", "ANP's widths from scratch": "+0.00 ± 1.73"},
        ),
        ("from_scratch", "40% of the multiply-accumulates", "gates", {"uniform": "+0.61 ± 0.52"}),
        ("self_adaptive", "", "self-adaptive", {"small": "+0.00 ± 0.84"}),
        ("transformable", "distilled", "search", {"uniform": "+0.06 ± 0.16"}),
        ("variational_dropout", "", "variational, fitted", {"small dense": "+4.80 ± 0.36"}),
    ],
)
def test_paired_differences_are_those_that_readme_computes_for_itself(name, group, arm, expected):
    found = [table.rows[arm][1] for table in tables(name) if table.group == group and arm in table.rows]
    for control, text in expected.items():
        assert text in [results.written(each[control], "+.2f") for each in found if control in each]


def test_the_commands_name_data_net_and_seeds():
    def commands(name):
        return results.commands(name, record_file.read(FOLDER / f"{name}.jsonl"))

    assert commands("l0") == [
        "python -m pruning run l0 --data digits --seed 0 1 2 3 4 --out notebooks/results",
        "python -m pruning run l0 --data mnist --seed 0 1 2 --out notebooks/results",
        "python -m pruning run l0 --data mnist --model lenet5 --seed 0 1 2 --out notebooks/results",
    ]
    assert any("--validation" in each for each in commands("train"))


def test_a_record_that_no_command_makes_is_refused():
    (record, *_) = record_file.read(FOLDER / "l0.jsonl")
    with pytest.raises(ValueError, match=r"^l0.jsonl has a record that no command makes today: digits, mlp64, seed 0;"):
        results.commands("l0", [{**record, "spec": {**record["spec"], "epochs": 61}}])


def test_a_missing_file_of_records_is_one_clear_sentence(tmp_path):
    for path in FOLDER.glob("*.jsonl"):
        if path.stem != "accelerators":
            shutil.copy(path, tmp_path)
    with pytest.raises(
        ValueError, match=r"^the page of results has no records in accelerators.jsonl; python -m pruning run acc"
    ):
        results.page(tmp_path)


@pytest.mark.parametrize(
    ("values", "form", "text"),
    [
        ([1.0, 2.0], "+.2f", "+1.50 ± 0.50"),
        ([-0.001, -0.1], "+.2f", "-0.05 ± 0.05"),
        ([-0.3, 0.299], "+.2f", "+0.00 ± 0.30"),
        ([1e-5, 3e-5], "+.2f", "+2.0e-05 ± 1e-05"),
        ([1.3511, 1.3519], ",.3f", "1.3515 ± 0.0004"),
        ([-0.421, -0.423], "+.2f", "-0.422 ± 0.001"),
        ([2.0], "+.2f", "+2.00"),
        ([1.0, 1 - 2**-53], ",.3f", "1.000"),
        ([1234.0, 1234.0], ",.0f", "1,234"),
    ],
)
def test_numbers_are_written_with_the_digits_that_they_have(values, form, text):
    assert results.written(comparison.spread(values), form) == text


def test_equal_nets_are_called_equal():
    assert results.difference("obs 10%", comparison.spread([0.0, 0.0])) == "0 on every seed (obs 10%)"


@pytest.mark.parametrize(
    ("name", "kept", "nets"),
    [
        ("obd_mlp", "rows", lambda rows: len(rows)),
        ("obs_mlp", "rows", lambda rows: len(rows)),
        ("sparse_speed", "layers", lambda layers: sum(2 * len(each["rows"]) for each in layers)),
        ("obd_lenet1990", "loop", lambda rows: len(rows)),
        ("obd_lenet1990", "at_once", lambda rows: len(rows)),
    ],
)
def test_no_net_of_a_long_record_is_left_out(name, kept, nets):
    for record in record_file.read(FOLDER / f"{name}.jsonl"):
        arms = list(EXPERIMENTS[name].compared(record))
        assert len({(arm.group, arm.name) for arm in arms}) == len(arms) >= nets(record[kept])


def test_the_sources_of_the_page_are_in_the_repository():
    assert FOLDER == sources.ROOT / "notebooks" / "results"
