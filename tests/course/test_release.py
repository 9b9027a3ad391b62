"""From a master to the files of students: blanks, numbers, and the check that goes with them."""

import json

import numpy as np
import pytest

from course import release, selftest
from course.spec import Energy

MASTER = '''# %% [markdown]
# # Title
#
# text

# %%
import numpy as np

# %% exercise="toy.1"
def f(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
'''


def test_cells_have_a_kind_an_exercise_and_a_source():
    first, second, third = release.cells(MASTER)
    assert (first.kind, first.exercise, first.source) == ("markdown", "", "# Title\n\ntext")
    assert (second.kind, second.source) == ("code", "import numpy as np")
    assert (third.kind, third.exercise) == ("code", "toy.1") and third.source.startswith("def f(x):")


def test_a_blank_has_the_signature_and_a_solution_no_markers():
    source = release.cells(MASTER)[2].source
    space = {}
    exec(release.solved(source), space)
    assert space["f"](3) == 6 and "###" not in release.solved(source)
    exec(release.blank(source), space)
    with pytest.raises(NotImplementedError):
        space["f"](3)
    assert "2 * x" not in release.blank(source) and "Return twice x" in release.blank(source)
    with pytest.raises(ValueError, match="a solution is not closed by ### END SOLUTION"):
        release.blank(source.replace("    ### END SOLUTION", ""))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('exercise="obd.1"', 'exercise="obd.7"', "the master has obd.7, obd.2"),
        ("def boundary_hessian(", "def other(", "obd.1 should define boundary_hessian, its cell defines other"),
        ("(4 points, 20 minutes)", "(5 points, 20 minutes)", r"does not say \(4 points, 20 minutes\) for obd.1"),
    ],
)
def test_a_master_that_disagrees_with_its_set_is_refused_before_anything_is_written(tmp_path, old, new, words):
    text = selftest.master("obd")
    assert old in text
    with pytest.raises(ValueError, match=words):
        release.release(selftest.problem_set("obd"), text.replace(old, new), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_solution_that_would_slip_through_is_refused(tmp_path):
    text = selftest.master("obd")
    line = release.solution_lines(release.cells(text))[0]
    with pytest.raises(ValueError, match="would hold a line of the solution"):
        release.release(selftest.problem_set("obd"), text + f"\n# %% [markdown]\n# {line}\n", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def check_of(tmp_path, cases):
    (tmp_path / "check.py").write_text(release.CHECK, encoding="utf-8")
    (tmp_path / "public.json").write_text(json.dumps(cases), encoding="utf-8")
    space = {"__file__": str(tmp_path / "check.py"), "__name__": "check"}
    exec(release.CHECK, space)
    return space["check"]


def test_the_check_says_right_or_what_is_not_and_never_raises(tmp_path, capsys):
    x = np.array([[1.0, 2.0, 4.0]])
    expected = [["y", release.plain(2 * x)], ["parts", [release.plain(x), release.plain(x)]]]
    case = {"name": "shown", "tolerance": 1e-6, "lines": ["a hint"], "inputs": {"x": release.plain(x), "k": 2}}
    check = check_of(tmp_path, {"toy.1": [{**case, "expected": expected}]})

    def missing(x, k):
        raise NotImplementedError

    answers = {
        "right (off by 0e+00; up to 1e-06 is taken for rounding)": lambda x, k: (k * x, [x, x]),
        "not written yet": missing,
        "ZeroDivisionError: division by zero": lambda x, k: 1 / 0,
        "1 value(s) returned, expected y, parts": lambda x, k: x,
        "y has the shape (3,), expected (1, 3)": lambda x, k: (x[0], [x, x]),
        "y is off by 5.0e-01 of its norm; number 0 is 1, expected 2": lambda x, k: (x, [x, x]),
        "parts should be a list of 2 arrays": lambda x, k: (k * x, [x]),
        "y is a list, expected an array": lambda x, k: ((k * x).tolist(), [x, x]),
        "y is no array of numbers": lambda x, k: ("text", [x, x]),
    }
    for words, function in answers.items():
        check("toy.1", function)
        assert capsys.readouterr().out == f"toy.1, shown: {words}\n   a hint\n"


def test_what_lies_in_public_json_is_restored(tmp_path):
    check_of(tmp_path, {})
    space = {"__file__": str(tmp_path / "check.py"), "__name__": "check"}
    exec(release.CHECK, space)
    E = Energy(np.array([[1.0, 2.0]]), np.array([3.0]), "sin")
    values = [np.zeros((0, 3)), np.arange(3), [np.array([1]), np.array([2, 3])], 2, None, "max", True]
    for value in values:
        stored = json.loads(json.dumps(release.plain(value)))
        back = space["restored"](stored)
        if isinstance(value, np.ndarray):
            assert back.dtype == value.dtype and back.shape == value.shape and np.array_equal(back, value)
        elif isinstance(value, list):
            assert [each.tolist() for each in back] == [each.tolist() for each in value]
        else:
            assert back == value and type(back) is type(value)
    assert space["restored"](json.loads(json.dumps(release.plain(E))))(np.array([1.0, 1.0])) == E(np.array([1.0, 1.0]))
