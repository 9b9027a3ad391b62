"""Means over seeds, standard errors and paired differences, by hand; and that every experiment compares its records."""

from types import SimpleNamespace

import pytest

from pruning.experiments import EXPERIMENTS, comparison
from pruning.experiments.comparison import Arm


def record(seed, ours, theirs, **spec):
    return {"spec": {"data": "digits", "seed": seed, **spec}, "ours": ours, "theirs": theirs}


def experiment(controls=("control",)):
    def compared(found):
        ours = {} if found["ours"] is None else {"loss": found["ours"], "weights": 7}
        yield Arm("ours", ours, controls)
        yield from (Arm("control", {"loss": each, "weights": 9}) for each in found["theirs"])

    return SimpleNamespace(compared=compared)


def rows(records, **kwargs):
    (table,) = comparison.tables(experiment(**kwargs), records)
    return table.rows


def test_means_and_standard_errors_by_hand():
    numbers, _ = rows([record(0, 1.0, [5.0]), record(1, 2.0, [5.0]), record(2, 6.0, [5.0])])["ours"]
    assert numbers["loss"].mean == 3 and numbers["loss"].seeds == 3
    assert numbers["loss"].error == pytest.approx((7 / 3) ** 0.5)  # variance (4 + 1 + 9)/2 = 7, over three seeds
    assert numbers["weights"].mean == 7 and numbers["weights"].error == 0


def test_differences_are_paired_by_seed_and_not_by_order():
    """Each net is 1 worse than its own control, while the nets themselves spread by ten."""
    records = [record(0, 11.0, [10.0]), record(1, 1.0, [0.0]), record(2, 22.5, [20.5])]
    _, differences = rows(records[::-1])["ours"]
    assert differences["control"].mean == pytest.approx(4 / 3)
    assert differences["control"].error == pytest.approx(1 / 3)  # of 1, 1 and 2
    assert differences["control"].resolved


def test_a_difference_below_two_standard_errors_is_unresolved():
    assert not comparison.spread([1.0, 1.0, -1.0]).resolved
    assert not comparison.spread([1.0]).resolved  # one net is one net
    assert comparison.spread([-1.0, -1.1]).resolved


def test_several_of_one_name_are_averaged_first():
    records = [record(0, 4.0, [1.0, 3.0]), record(1, 6.0, [2.0, 2.0])]
    found = rows(records)
    assert found["control"][0]["loss"].mean == 2 and found["control"][0]["loss"].error == 0
    assert found["ours"][1]["control"].mean == 3


def test_what_diverged_is_left_out_of_means_and_pairs():
    found = rows([record(0, None, [1.0]), record(1, 4.0, [1.0]), record(2, 5.0, [9.0])])["ours"]
    assert found[0]["loss"].seeds == 2 and found[1]["control"].mean == (3 - 4) / 2
    assert rows([record(0, None, [1.0])])["ours"] == ({}, {})


def test_data_sets_and_held_out_images_are_kept_apart():
    records = [record(0, 1.0, [1.0]), record(0, 2.0, [1.0], validation=True), record(0, 3.0, [1.0], model="conv3")]
    names = [table.setting for table in comparison.tables(experiment(), records)]
    assert names == ["digits", "digits, held-out training images", "digits, conv3"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_is_compared_with_what(name):
    assert callable(EXPERIMENTS[name].compared)
