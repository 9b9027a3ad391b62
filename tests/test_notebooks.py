"""Every notebook, from a clean kernel, as ``make notebooks`` runs it: they end in assertions."""

import ast
import inspect
import json
import re
import tempfile
import textwrap
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture
def kernel():
    """How a kernel is spoken to: through files in a folder of its own, gone with it.

    Jupyter's way is five TCP ports, which the client finds free and the kernel opens a second later.  Where something
    else took one of them in between, as happened once beside other tests, the kernel never answers.  The folder's name
    is short, since the path of a socket has 104 characters at most.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield {"AsyncKernelManager": {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}}


@pytest.mark.notebook
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_a_clean_kernel(path, kernel):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    config = pytest.importorskip("traitlets.config").Config(kernel)
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder, config=config).execute()
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


READING, CELL = 150, 2
"""Words of prose a minute, and minutes for a code cell that is not scaffolding."""


def prose(cells):
    """The number of words in the Markdown cells; a formula, a piece of code or a table is one."""
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    text = re.sub(r"^\|.*$", " table ", text, flags=re.M)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", " formula ", text, flags=re.S)
    return len(re.findall(r"[A-Za-z][\w'-]*", text))


def lecture(cells):
    """The code cells that are to be read."""
    return [c for c in cells if c["cell_type"] == "code" and "scaffold" not in c["metadata"].get("tags", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_can_be_read(path):
    """Short cells, pictures with a caption and a text, a length that is said, answers that stand elsewhere."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in lecture(cells):
        assert len("".join(cell["source"]).split("\n")) <= 30, "".join(cell["source"])[:200]
    for cell in cells:
        outputs = cell.get("outputs", [])
        for output, below in zip(outputs, [*outputs[1:], {}]):
            if "image/png" in output.get("data", {}):
                assert len(output["metadata"].get("image/png", {}).get("alt", "")) >= 20, "".join(cell["source"])[:200]
                assert "".join(below.get("data", {}).get("text/markdown", "")).startswith("*"), "no caption"
    words = prose(cells)
    assert words <= 3500
    said = re.search(r"Reading time: about (\d+) minutes", "".join(cells[0]["source"]))
    assert abs(int(said[1]) - words / READING - CELL * len(lecture(cells))) <= 5
    answers = path.parent / "answers" / f"{path.stem.partition('_')[0]}.md"
    assert answers.read_text(encoding="utf-8").startswith("# Answers")
