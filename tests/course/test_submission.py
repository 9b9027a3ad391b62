"""Which lines of a notebook are run, and what becomes of files that are none."""

import json

import nbformat
import pytest

from course import submission

CELL = """import numpy as np
import os, matplotlib.pyplot as plt
%matplotlib inline
K = 3
start = train()
half = lambda x: x / 2
def f(x):
    import nn
    return eval("x") + K
class Box: pass
print(f(2))
"""


def notebook(*sources, version=4):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    return json.dumps({**json.loads(nbformat.writes(nb)), "nbformat": version})


def test_definitions_are_kept_and_nothing_else():
    kept, flags = submission.definitions(CELL)
    space = {"np": None}
    words = [piece.strip().split("\n")[0] for piece in kept]
    assert words == [
        "import numpy as np",
        "import os, matplotlib.pyplot as plt",
        "K = 3",
        "half = lambda x: x / 2",
        "def f(x):",
        "class Box: pass",
    ]
    exec(kept[2] + "\n" + kept[3], space)
    assert space["half"](4) == 2
    assert flags == ["imports os", "imports nn", "uses eval"]


def test_a_piece_stands_at_its_line_so_that_errors_name_it():
    kept, _ = submission.definitions("x = 1\n\ndef f(a):\n    return 1 / a\n")
    space = {}
    exec(compile(kept[1], "<submission>", "exec"), space)
    with pytest.raises(ZeroDivisionError) as error:
        space["f"](0)
    assert error.traceback[-1].lineno == 3


def test_decorators_stay_with_what_they_decorate():
    (_, piece), _ = submission.definitions("import functools\n@functools.cache\ndef f(x):\n    return x\n")
    assert piece.strip().startswith("@functools.cache")


def test_a_syntax_error_in_a_scratch_cell_costs_that_cell_only(tmp_path):
    (tmp_path / "a.ipynb").write_text(notebook("def f(:", "def g(x):\n    return x"), encoding="utf-8")
    pieces, flags = submission.extract(tmp_path / "a.ipynb")
    assert [piece.split("(")[0] for piece in pieces] == ["def g"]
    assert "SyntaxError" in flags[0]


def test_a_script_of_cells_is_read_like_a_notebook(tmp_path):
    (tmp_path / "a.py").write_text(
        "# %% [markdown]\n# words\n# %%\nK = 1\n# %% exercise\ndef f():\n    pass\n", "utf-8"
    )
    pieces, _ = submission.extract(tmp_path / "a.py")
    assert [piece.strip().split("\n")[0] for piece in pieces] == ["K = 1", "def f():"]


def test_files_are_students_and_so_are_folders_with_one_file(tmp_path):
    (tmp_path / "Zoë Müller.ipynb").write_text(notebook("K = 1"), encoding="utf-8")
    (tmp_path / "b c").mkdir()
    (tmp_path / "b c" / "obd.ipynb").write_text(notebook("K = 1"), encoding="utf-8")
    (tmp_path / "b c" / "check.py").write_text("", encoding="utf-8")
    (tmp_path / ".DS_Store").write_text("", encoding="utf-8")
    found = submission.found(tmp_path)
    assert [(each.student, len(each.pieces), each.refused) for each in found] == [("Zoë Müller", 1, ""), ("b c", 1, "")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pdf", b"%PDF-1.7", r"expected a notebook \(\.ipynb\) or a script \(\.py\), got a\.pdf"),
        ("a.ipynb", b"%PDF-1.7", "holds no JSON"),
        ("a.ipynb", b"\xff\xfe\x00", "no text in UTF-8"),
        ("a.ipynb", notebook(version=3).encode(), "expected a notebook of nbformat 4, got 3"),
        ("a.ipynb", b"[1, 2]", "expected a notebook of nbformat 4, got None"),
        ("a.py", b"x" * (submission.LARGEST + 1), "has 10 MB, at most 10 are read"),
    ],
)
def test_what_is_no_submission_gets_one_sentence_and_a_row(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        submission.extract(tmp_path / name)
    (found,) = submission.found(tmp_path)
    assert found.student == "a" and found.refused and not found.pieces


def test_two_files_of_one_student_are_not_chosen_from(tmp_path):
    for name in ("a.ipynb", "a.py"):
        (tmp_path / name).write_text(notebook(), encoding="utf-8")
    (found,) = submission.found(tmp_path)
    assert found.refused == "there are 2 files of this student: a.ipynb, a.py"


def test_a_folder_that_is_empty_or_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is empty: there is nothing to grade"):
        submission.found(tmp_path)
    with pytest.raises(ValueError, match="expected a folder of submissions"):
        submission.found(tmp_path / "none")
