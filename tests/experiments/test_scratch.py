"""The option --scratch: which nets are trained from new weights, for how long, and what becomes of the records."""

import json
from fractions import Fraction

import numpy as np
import pytest

import nn
from pruning import __main__ as command
from pruning import surgery
from pruning.experiments import EXPERIMENTS, record_file, runner, scaling_factors, scratch, setup

REMOVED = ["5", "9"]
SPECS = scaling_factors.specs


def tiny(seed=0):
    """A specification of a record of blocks, of which only what --scratch reads is there."""
    (spec,) = SPECS("digits", [seed], "cpu")
    return {**spec, "dense": {**spec["dense"], "epochs": 2, "milestones": [1], "images": 200}}


def record(seed=0):
    accuracy = {"test_accuracy": 0.5, "hits": ""}
    rows = [{"method": method, "removed": REMOVED, "retrained": accuracy} for method in ("SSS", "same blocks")]
    rows.append({"method": "chance", "removed": ["3", "5"], "retrained": accuracy})
    return {"spec": tiny(seed), "dense": {}, "selected": {}, "rows": rows}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    record_file.write(tmp_path / "scaling_factors.jsonl", [record(seed) for seed in (0, 1)])
    monkeypatch.setattr(scaling_factors, "specs", lambda data, seeds, *_: [tiny(seed) for seed in seeds])
    return tmp_path


def run(folder, *options):
    return command.main(["run", "scaling_factors", "--scratch", "--out", str(folder), *options])


def without_times(path):
    return sorted(json.dumps({**each, "time": None}, sort_keys=True) for each in record_file.read(path))


def test_rows_of_one_architecture_share_one_training_and_have_both_budgets(folder):
    before = (folder / "scaling_factors.jsonl").read_bytes()
    assert run(folder) == 0
    (added,) = record_file.read(folder / "scaling_factors-scratch.jsonl")
    assert added["spec"]["record"] == setup.digest(tiny()) and added["experiment"] == "scaling_factors-scratch"
    assert [(row["arm"], row["of"]) for row in added["rows"]] == [
        (f"scratch-{arm}", ["SSS", "same blocks"]) for arm in "EB"
    ]
    e, b = added["rows"]
    net = nn.models.resnet_cifar(14, np.random.default_rng(0), channels=1)
    whole, small = (setup.costs(each, "digits")["macs"] for each in (net, surgery.remove_blocks(net, REMOVED)))
    r = Fraction(whole, small)
    assert e["macs"] == b["macs"] == small
    assert (e["epochs"], e["milestones"]) == (2, [1])
    assert (b["epochs"], b["milestones"]) == (round(2 * r), [round(r)]) == (3, [2])
    assert e["start"] == b["start"] < 0.35 and e["learning_rate"] == b["learning_rate"] == 0.05
    assert (folder / "scaling_factors.jsonl").read_bytes() == before


def test_a_run_goes_on_where_it_stopped_and_processes_make_the_same_records(folder, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("processes")
    (other / "scaling_factors.jsonl").write_bytes((folder / "scaling_factors.jsonl").read_bytes())
    assert run(folder) == 0
    first = (folder / "scaling_factors-scratch.jsonl").read_bytes()
    assert run(folder, "--seed", "0", "1") == 0
    both = folder / "scaling_factors-scratch.jsonl"
    assert both.read_bytes().startswith(first) and len(record_file.read(both)) == 2
    out = capsys.readouterr().out
    assert "2 records are in" in out and "same blocks     2" in out and "+-" in out
    cells = scratch.specs(scaling_factors, [record(0), record(1)])
    runner.run("scaling_factors-scratch", cells, other / "scaling_factors-scratch.jsonl", jobs=2)
    assert without_times(other / "scaling_factors-scratch.jsonl") == without_times(both)


def test_a_missing_record_and_experiments_without_small_nets_are_refused(folder, capsys):
    assert run(folder, "--seed", "0", "7") == 2
    assert "expected a record of scaling_factors, seed 7" in capsys.readouterr().err
    assert not (folder / "scaling_factors-scratch.jsonl").exists()
    for name in scratch.NEW_ALREADY:
        with pytest.raises(ValueError, match=f"{name} trains its nets from new weights already"):
            scratch.pruned(EXPERIMENTS[name], [], folder / "x.jsonl")
    with pytest.raises(ValueError, match="sparse_speed has no small nets"):
        scratch.pruned(EXPERIMENTS["sparse_speed"], [], folder / "x.jsonl")


def test_paired_differences_are_those_of_the_same_seed():
    old = [record(0), record(1)]
    old[1]["rows"][0]["retrained"] = {"test_accuracy": 0.7}
    gains = {0: {"E": 0.01, "B": 0.05}, 1: {"E": 0.03, "B": 0.09}}

    def added(seed):
        was = old[seed]["rows"][0]["retrained"]["test_accuracy"]
        rows = [
            {"of": ["SSS", "same blocks"], "arm": f"scratch-{arm}", "trained": {"test_accuracy": was + gain}}
            for arm, gain in gains[seed].items()
        ]
        return {"spec": {"record": setup.digest(tiny(seed))}, "rows": rows}

    lines = scratch.table(scaling_factors, old, [added(0), added(1)]).splitlines()
    assert lines[1].split() == ("SSS 2 60.00 +- 10.00 62.00 +- 11.00 67.00 +- 12.00 2.00 +- 1.00 7.00 +- 2.00".split())
