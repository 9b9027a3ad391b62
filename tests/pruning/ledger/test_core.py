"""What a trial counts as right, as caught, and as neither."""

import itertools

import numpy as np
import pytest

from pruning import ledger
from pruning.ledger import core
from pruning.ledger.core import Form, relative, run


def test_relative_is_the_error_over_the_size_of_the_second():
    assert relative(np.array([3.0, 4.0]), np.array([3.0, 5.0])) == pytest.approx(1 / np.sqrt(34), rel=1e-15)
    assert relative(np.array([0.25]), np.array([0.0])) == 0.25  # nothing to divide by


def test_relative_takes_the_largest_of_several_outputs():
    good, bad = (np.array([1.0, 2.0]),) * 2, (np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    assert relative(bad, good) == relative(bad[::-1], good) == pytest.approx(1 / np.sqrt(5), rel=1e-15)


def test_relative_refuses_other_shapes_and_numbers_of_outputs():
    with pytest.raises(ValueError, match=r"the shape \(3, 1\), got \(3,\)"):  # which would broadcast
        relative(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="expected 2 outputs, got 1"):
        relative(np.zeros(3), (np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("a", [np.nan, np.inf, -np.inf, 1e300])
def test_relative_is_infinite_where_it_is_no_number(a):
    assert relative(np.array([1.0, a]), np.array([1.0, 1e-300 if a == 1e300 else 1.0])) > 1e299


def test_a_right_form_that_disagrees_fails(formula):
    outcome = run(formula(right=lambda x: 2 * x * (1 + 1e-9)))
    assert not outcome.right and not outcome.ok and outcome.wrong[0].caught
    assert outcome.error == pytest.approx(1e-9, rel=1e-3)


def test_every_referee_is_heard(formula):
    second = Form("another", lambda x: 2 * x + 1e-6)
    outcome = run(formula(referees=(Form("sum", lambda x: x + x), second)))
    assert outcome.referees == ("sum", "another") and not outcome.right


def test_a_wrong_form_that_passes_fails(formula):
    outcome = run(formula(wrong=(Form("the same", lambda x: x + x, "It is not wrong."),)))
    assert outcome.right and not outcome.ok and [each.caught for each in outcome.wrong] == [False]


def test_what_is_not_a_number_is_neither_right_nor_caught(claim, nan):
    for errors in itertools.permutations([0.0, nan, 1e-15]):
        assert not run(claim(*(("right", each) for each in errors), ("wrong", 1.0))).right
    for errors in itertools.permutations([1.0, nan, 2.0]):
        outcome = run(claim(("right", 0.0), *(("wrong", each) for each in errors)))
        assert outcome.right and not outcome.ok and not outcome.margin >= core.MARGIN


def test_the_largest_right_and_the_smallest_wrong_error_count(claim):
    outcome = run(claim(("right", 1e-15), ("right", 1e-14), ("right", 0.0), ("b", 3.0), ("a", 2.0), ("b", 0.5)))
    assert outcome.error == 1e-14 and [(each.name, each.error) for each in outcome.wrong] == [("b", 0.5), ("a", 2.0)]
    assert outcome.margin == pytest.approx(100)


def test_a_claim_without_an_error_of_its_right_form_has_not_been_judged(claim):
    assert not run(claim(("wrong", 1.0))).right


def test_a_tolerance_of_zero_is_equality(claim):
    assert run(claim(("right", 0.0), ("wrong", 1.0), tolerance=0.0)).margin == np.inf
    assert run(claim(("right", 1e-300), ("wrong", 1.0), tolerance=0.0)).margin == 0
    assert run(claim(("right", 0.0), ("wrong", 0.0), tolerance=0.0)).margin == 0


def test_a_form_whose_package_is_missing_is_left_out(formula, monkeypatch):
    def breaks(x):
        raise AssertionError("it was asked")

    statement = formula(referees=(Form("sum", lambda x: x + x), Form("torch", breaks, needs="torch")))
    monkeypatch.setattr(core, "find_spec", lambda name: None)
    assert run(statement).referees == ("sum",) and run(statement).ok
    monkeypatch.setattr(core, "find_spec", lambda name: object())
    with pytest.raises(AssertionError, match="it was asked"):
        run(statement)


def test_the_draws_depend_on_the_seed_and_the_id_alone(formula):
    def errors(id, seed):
        return [each.error for each in run(formula(id=id), seed).wrong]

    alone = errors("S0-F1", 3)
    errors("D1", 3)
    assert errors("S0-F1", 3) == alone
    assert errors("S0-F1", 4) != alone != errors("S0-F3", 3)


def test_a_verdict_is_one_of_six_words(formula):
    with pytest.raises(ValueError, match=r"S0-F1: expected a verdict of right, right if, .*; got 'OK'"):
        formula(verdict="OK")


def test_chosen_keeps_the_order_of_the_ledger_and_names_the_nearest_ids():
    ids = [statement.id for statement in ledger.STATEMENTS]
    assert [s.id for s in ledger.chosen([ids[-1], ids[0]])] == [ids[0], ids[-1]]
    assert ledger.chosen([]) == list(ledger.STATEMENTS)
    with pytest.raises(ValueError, match=r"unknown statement 's0-f66'; the nearest ids are .*S0-F6"):
        ledger.chosen(["s0-f66"])
