"""The proofs of a set notice what is wrong with it."""

import dataclasses

import pytest

from course import selftest
from course.spec import Wrong


def changed(**changes):
    problems = selftest.problem_set("obd")
    first = dataclasses.replace(problems.exercises[0], **changes)
    target = dataclasses.replace(problems.target, blank={})
    return dataclasses.replace(problems, exercises=(first,), target=target)


FIRST = selftest.problem_set("obd").exercises[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"referee": lambda **inputs: 2 * FIRST.referee(**inputs)}, "the solution gets 0 of 4 points"),
        ({"tolerance": 1e-15}, "the solution is off by"),
        ({"wrong": (Wrong("right", FIRST.referee, "m"),)}, "'right' gets all points under a key"),
        (
            {"wrong": (Wrong("near", lambda **i: (1 + 3e-6) * FIRST.referee(**i), "m"),)},
            "'near' is off by 3.0e-06 only, the tolerance is 1e-06",
        ),
    ],
)
def test_what_is_wrong_with_an_exercise_is_said(changes, words):
    found = selftest.complaints(changed(**changes), ["a", "b"])
    assert any(words in each for each in found), found


@pytest.mark.slow
def test_a_set_as_it_is_has_no_complaints_and_a_target_that_is_too_easy_has():
    assert selftest.complaints(changed(), ["a"]) == []
    problems = changed()
    easy = dataclasses.replace(problems.target, measure=lambda *_: (True, "x"), blank={"nothing": lambda **_: None})
    found = selftest.complaints(dataclasses.replace(problems, target=easy), ["a"])
    assert found == ["obd.target, a: nothing reaches the goal: x"]
