"""The channel to a student's process: what comes back is opened without trust."""

import io
import zipfile

import numpy as np
import pytest

from course import sandbox
from course.sandbox import Failed, Student, TimedOut
from course.worker import frame


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(sandbox, "caged", lambda: False)


def test_a_function_is_called_with_what_it_gets_and_its_results_come_back():
    source = "import numpy as np\ndef f(x, k, names, E):\n    return k * x, [E(x), np.zeros(2)]\ndef g(): return 7\n"
    with Student([source]) as student:
        inputs = {"x": np.arange(3.0), "k": 2, "names": None}
        y, parts = student.call("f", {**inputs, "E": sandbox.worker.Energy(np.eye(3), np.ones(3), "square")})
        assert y.tolist() == [0, 2, 4] and [p.tolist() for p in parts] == [5.0, [0, 0]]
        assert student.call("g", {}).tolist() == 7 and student.problems == ""


def test_a_process_that_ended_is_started_again():
    with Student(["import os\ndef f(): os._exit(3)\ndef g(): return 1.0\n"]) as student:
        with pytest.raises(Failed, match=r"ended without an answer \(exit 3\)"):
            student.call("f", {})
        assert student.call("g", {}) == 1


def test_a_loop_is_ended_in_time():
    with Student(["def f():\n    while True: pass\ndef g(): return 1.0\n"], seconds=1) as student:
        with pytest.raises(TimedOut, match="no answer after 1 s"):
            student.call("f", {})
        with pytest.raises(TimedOut, match=r"no answer after 0\.5 s"):
            student.call("f", {}, 0.5)
        assert student.call("g", {}) == 1


def test_errors_name_the_line_of_the_cell_and_definitions_that_fail_are_named():
    with Student(["\n\ndef f(x):\n    return 1 / x\n", "K = missing\n", "def g(): return 1.0"]) as student:
        with pytest.raises(Failed, match=r"ZeroDivisionError: division by zero \(line 4 of its cell\)"):
            student.call("f", {"x": 0})
        assert student.problems == "NameError: name 'missing' is not defined (in: K = missing)"
        assert student.call("g", {}) == 1
        with pytest.raises(Failed, match="there is no function h"):
            student.call("h", {})


def test_more_numbers_than_can_be_meant_are_refused():
    with Student(["import numpy as np\ndef f(): return np.zeros(10**6 + 1)\n"]) as student:
        with pytest.raises(Failed, match="f returns more than 1000000 numbers"):
            student.call("f", {})


def bomb():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * (sandbox.LARGEST_REPLY + 1))
    return buffer.getvalue()


def pickled():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"no zip", "BadZipFile"), (pickled(), "ValueError"), (bomb(), "the answer is too large")],
    ids=["no zip", "pickle", "bomb"],
)
def test_forged_answers_are_no_answers(data, words):
    with pytest.raises(Failed, match=words):
        sandbox._opened(data)
    assert sandbox._opened(frame({"x": np.ones(2)})[8:])["x"].tolist() == [1, 1]
