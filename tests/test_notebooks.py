"""Every notebook, from a clean kernel, as ``make notebooks`` runs it: they end in assertions."""

import ast
import inspect
import json
import textwrap
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.notebook
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_a_clean_kernel(path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_executed_in_order_and_ends_in_assertions(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert any("assert " in "".join(cell["source"]) for cell in code[-3:])
    images = [
        "".join(data) for cell in code for output in cell["outputs"] for kind, data in output.get("data", {}).items()
        if kind.startswith("image/")
    ]  # fmt: skip
    assert images
    assert max(map(len, images)) < 100_000 * 4 / 3  # base64 of 100 KB


def shown(code):
    """Yield (source, stored output) of every function of ours that a notebook shows by `show(...)`."""
    names = {}
    for cell in code:
        tree = ast.parse("".join(cell["source"]))
        output = "".join("".join(each["text"]) for each in cell["outputs"] if each.get("name") == "stdout")
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                if {module.partition(".")[0] for module in modules} <= {"nn", "pruning", "textbook"}:
                    exec(ast.unparse(node), names)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "show":
                for argument in node.args:
                    yield textwrap.dedent(inspect.getsource(eval(ast.unparse(argument), names))), output


def without_docstring(source):
    """The lines of a function with three dots in the place of its docstring."""
    lines, docstring = source.splitlines(keepends=True), ast.parse(source).body[0].body[0]
    return "".join([*lines[: docstring.lineno - 1], "    ...\n", *lines[docstring.end_lineno :]])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_source_that_it_shows_is_todays(path):
    code = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    pairs = list(shown(code))
    assert pairs
    old = [source for source, output in pairs if source not in output and without_docstring(source) not in output]
    assert old == [], f"{path.name} shows older code than this: execute it again"
