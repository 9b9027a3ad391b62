"""The experiment `rethinking`: which arms there are, how long each trains, and what each begins with."""

import json

import numpy as np
import pytest

import nn
from pruning import masks, surgery
from pruning.experiments import rethinking, runner, setup


def tiny(seed=0, validation=False, **changes):
    (spec,) = rethinking.specs("digits", [seed], "cpu", validation=validation)
    dense = {**spec["dense"], "epochs": 2, "milestones": [1], "images": 300}
    return {**spec, "dense": dense, "fine_tuning": 1, **changes}


@pytest.fixture(scope="module")
def record():
    return runner.run_one("rethinking", tiny())


def arms(record, kind, share=0.5):
    return {
        (row["arm"], round(row["learning_rate"], 9)): row
        for row in record["rows"]
        if (row["target"]["kind"], row["target"]["share"]) == (kind, share)
    }


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("rethinking", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_every_target_has_its_arms(record):
    fine = {("fine-tuned", rate) for rate in (0.005, 0.01)}  # a tenth of .05 in the last epoch; a fifth
    scratch = {(f"scratch-{name}", 0.05) for name in "EB"}
    assert set(arms(record, "predefined")) == fine | scratch
    assert set(arms(record, "automatic")) == fine | scratch | {(f"uniform scratch-{name}", 0.05) for name in "EB"}
    masked = {(f"scratch-{name}{scaled}", 0.05) for name in "EB" for scaled in ("", ", scaled")}
    chance = {(f"random mask scratch-E{scaled}", 0.05) for scaled in ("", ", scaled")}
    for share in (0.8, 0.95):
        assert set(arms(record, "unstructured", share)) == fine | masked | chance
    assert [row["learning_rate"] for row in record["trained_on"]] == pytest.approx([0.005, 0.01])


def test_the_epochs_are_those_of_the_dense_net_or_its_multiply_accumulates(record):
    for kind in ("predefined", "automatic"):
        for (arm, _), row in arms(record, kind).items():
            whole = record["dense"]["macs"] / row["macs"]
            expected = 1 if arm == "fine-tuned" else round(2 * whole) if arm.endswith("B") else 2
            assert row["epochs"] == expected
    for share in (0.8, 0.95):
        for (arm, _), row in arms(record, "unstructured", share).items():
            assert row["epochs"] == (1 if arm == "fine-tuned" else 4 if "-B" in arm else 2)  # at most twice


def test_all_arms_of_a_target_have_one_architecture_or_as_many_weights(record):
    for kind, share in (("predefined", 0.5), ("unstructured", 0.8), ("unstructured", 0.95)):
        rows = arms(record, kind, share).values()
        assert len({(row["conv_macs"], row["left"]) for row in rows}) == 1
    rows = arms(record, "automatic")
    dense = record["dense"]["conv_macs"]
    assert all(row["conv_macs"] <= 0.5 * dense for row in rows.values())
    assert len({row["conv_macs"] for (arm, _), row in rows.items() if not arm.startswith("uniform")}) == 1
    assert (
        round(0.2 * masks.counts(setup.three_convolutions((12, 16, 16), np.random.default_rng(0)))[1])
        == (next(iter(arms(record, "unstructured", 0.8).values()))["left"])
    )


def test_new_weights_know_nothing_and_both_fine_tunings_begin_alike(record):
    for row in record["rows"]:
        if "scratch" in row["arm"]:
            assert row["start"] < 0.3
        else:
            assert row["start"] == next(r["start"] for r in record["rows"] if r["target"] == row["target"])


def test_every_arm_is_trained_with_the_optimizer_of_the_dense_net_and_its_own_rate(monkeypatch):
    seen, sgd = [], nn.SGD

    def noted(parameters, *args, **keywords):
        seen.append((args, keywords))
        return sgd(parameters, *args, **keywords)

    monkeypatch.setattr(nn, "SGD", noted)
    rethinking.run_cell(tiny(targets=[rethinking.PREDEFINED]))
    assert {(args[1], *sorted(keywords.items())) for args, keywords in seen} == {
        (0.9, ("nesterov", True), ("weight_decay", 1e-3))
    }
    assert [args[0] for args, _ in seen] == pytest.approx([0.05, 0.005, 0.01, 0.05, 0.05, 0.005, 0.01])


def test_a_mask_stays_through_the_training_of_new_weights():
    spec = tiny()
    net = setup.three_convolutions((12, 16, 16), np.random.default_rng(0), np.float32)
    target = {"kind": "unstructured", "share": 0.8}
    for arm, start, budget in rethinking.unstructured(net, spec, target):
        trained = surgery.duplicate(start)
        plan = {"target": target, "arm": arm, **budget, "epochs": 1, "milestones": [1]}
        optimizer = nn.SGD(trained.parameters(), budget["learning_rate"], 0.9)
        setup.fit(trained, optimizer, {**spec["dense"], **plan}, np.random.default_rng(0))
        for (name, before), (_, after) in zip(masks.prunable(start).items(), masks.prunable(trained).items()):
            assert np.array_equal(before.mask, after.mask) and not np.any(after.data[before.mask == 0]), name


def test_the_figure_is_drawn(record, tmp_path):
    (path,) = rethinking.draw([{"spec": tiny(), **record}], tmp_path)
    assert path.exists() and "scratch-B" in rethinking.table({"spec": tiny(), **record})


def test_an_unknown_model_and_a_negative_seed_are_refused():
    with pytest.raises(ValueError, match="expected one of --data digits --model conv3"):
        rethinking.specs("digits", [0], "cpu", "lenet5")
    with pytest.raises(ValueError, match="seed"):
        rethinking.specs("digits", [-1], "cpu")
