"""What an exercise is: names of results, errors, messages of wrong forms, numbers from the key."""

import numpy as np
import pytest

from course.spec import (
    Case,
    Energy,
    Exercise,
    Wrong,
    copied,
    diagnose,
    difference,
    equal,
    error,
    generator,
    inputs_of,
)


def draw(rng):
    return {"x": rng.standard_normal(3), "k": 2, "groups": [np.array([0, 1]), np.array([2])], "kind": "max"}


def right(x, k, groups, kind):
    return k * x, [x[g] for g in groups]


EXERCISE = Exercise(
    "toy.1",
    "f",
    ("y", "parts"),
    "y = k x",
    "a slide",
    "S0-F6",
    "notebook 02, section 2",
    5,
    right,
    (Case("shown", 1, draw, public=True), Case("hidden", 2, draw, draws=2)),
    (
        Wrong("no factor", lambda x, k, groups, kind: (x, [x[g] for g in groups]), "This is x."),
        Wrong("divides by zero", lambda x, k, groups, kind: (x / 0, [x[g] for g in groups]), "This is x / 0."),
        Wrong("raises", lambda x, k, groups, kind: x[99], "Never said."),
    ),
)


def test_results_have_names_and_those_of_a_list_have_numbers():
    named = EXERCISE.named(right(**draw(np.random.default_rng(0))))
    assert list(named) == ["y", "parts[0]", "parts[1]"] and all(a.dtype == np.float64 for a in named.values())
    with pytest.raises(ValueError, match=r"3 value\(s\) returned, expected y, parts"):
        EXERCISE.named((1, 2, 3))
    with pytest.raises(ValueError, match="y is no array of numbers, but str"):
        EXERCISE.named(("x", []))
    assert EXERCISE.points == 3


def test_what_is_wrong_is_said_in_the_order_number_shape_size():
    inputs = draw(np.random.default_rng(0))
    expected = EXERCISE.named(right(**inputs))
    assert difference(EXERCISE, expected, expected) == "" and error(expected, expected) == 0
    fewer = {name: value for name, value in expected.items() if name != "parts[1]"}
    assert difference(EXERCISE, fewer, expected) == "got y, parts[0], expected y, parts[0], parts[1]"
    assert error(fewer, expected) == np.inf
    other = {**expected, "y": expected["y"][:2]}
    assert difference(EXERCISE, other, expected) == "y has the shape (2,), expected (3,)"
    assert difference(EXERCISE, {**expected, "y": expected["y"] * np.nan}, expected) == "y holds nan or inf"
    off = {**expected, "y": expected["y"] * (1 + 1e-5)}
    assert difference(EXERCISE, off, expected) == "y is off by 1.0e-05 of its norm (at most 1e-06 is allowed)"
    assert error(off, expected) == pytest.approx(1e-5)
    close = {**expected, "y": (expected["y"]).astype(np.float32).astype(np.float64)}
    assert difference(EXERCISE, close, expected) == ""


def test_an_answer_that_equals_a_wrong_form_gets_its_message_and_a_right_one_none():
    inputs = draw(np.random.default_rng(0))
    expected = EXERCISE.named(right(**inputs))
    for wrong, words in (("no factor", "This is x."), ("divides by zero", "This is x / 0.")):
        form = next(w for w in EXERCISE.wrong if w.name == wrong)
        with np.errstate(all="ignore"):
            given = EXERCISE.named(form.function(**inputs))
        assert diagnose(EXERCISE, inputs, given, expected) == words
    assert diagnose(EXERCISE, inputs, expected, expected) == ""
    assert diagnose(EXERCISE, inputs, {**expected, "y": expected["y"] + 7}, expected) == ""
    inputs["k"] = 1  # there no form but the second is wrong
    assert diagnose(EXERCISE, inputs, EXERCISE.named(right(**inputs)), EXERCISE.named(right(**inputs))) == ""


def test_infinities_are_equal_to_themselves_only():
    one = {"y": np.array([np.inf, 1.0, np.nan])}
    assert equal(EXERCISE, one, {"y": np.array([np.inf, 1.0 + 1e-9, np.nan])})
    assert not equal(EXERCISE, one, {"y": np.array([-np.inf, 1.0, np.nan])})
    assert not equal(EXERCISE, one, {"y": np.array([np.inf, 1.1, np.nan])})


def test_numbers_come_from_key_exercise_case_and_draw():
    base = generator("key", "a", "b", 0).random()
    assert generator("key", "a", "b", 0).random() == base
    for other in (("other", "a", "b", 0), ("key", "c", "b", 0), ("key", "a", "c", 0), ("key", "a", "b", 1)):
        assert generator(*other).random() != base
    assert generator("key", "a", "b", 0, public=True).random() == generator("x", "a", "b", 0, public=True).random()
    assert generator("public", "a", "b", 0).random() != generator("", "a", "b", 0, public=True).random()


def test_public_numbers_have_one_decimal_and_integers_stay():
    public, hidden = (inputs_of(EXERCISE, case, "key", 0) for case in EXERCISE.cases)
    assert np.array_equal(public["x"], np.round(public["x"], 1)) and not np.array_equal(
        hidden["x"], np.round(hidden["x"], 1)
    )
    assert public["groups"][0].dtype == np.int64
    case = Case("E", 1, lambda rng: {"E": Energy(rng.random((2, 2)), rng.random(2), "sin")}, public=True)
    E = inputs_of(EXERCISE, case, "key", 0)["E"]
    assert np.array_equal(E.A, np.round(E.A, 1)) and E.kind == "sin"


def test_copies_are_of_arrays_in_lists_too():
    inputs = draw(np.random.default_rng(0))
    other = copied(inputs)
    other["x"] += 1
    other["groups"][0] += 1
    assert inputs["groups"][0].tolist() == [0, 1] and other["groups"][0].tolist() == [1, 2]
    assert not np.array_equal(inputs["x"], other["x"])
