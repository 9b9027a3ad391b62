"""The book, built once for all its tests, and the number of formulas in the source of each of its pages."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]
DISPLAY = re.compile(r"(?<!\\)\$\$.+?(?<!\\)\$\$", re.S)
INLINE = re.compile(r"(?<![\\$\w])\$(?=[^\s$])(?:[^$\\]|\\.)*?(?<=[^\s\\])\$(?!\d)", re.S)


@pytest.fixture(scope="session")
def book():
    """Return the folder of the built book; what is up to date is not built again."""
    for module in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(module, reason=f"{module} is not installed (extra book)")
    import build

    out = ROOT / "out" / "book"
    build.build(out)
    return out


@pytest.fixture(scope="session")
def formulas(book):
    """Return {page: the number of formulas in its source}, counted in the text without Sphinx."""
    folder = book.with_name(f".{book.name}") / "source"
    counts = {".md": in_markdown, ".ipynb": in_notebook, ".rst": in_docstrings}
    paths = [path for path in folder.rglob("*") if path.suffix in counts]
    assert len(paths) > 200
    return {
        str(path.relative_to(folder).with_suffix("")): counts[path.suffix](path.read_text(encoding="utf-8"))
        for path in paths
    }


def in_markdown(text):
    """Return the number of formulas in Markdown: displays first, then what is left between dollars."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)
    text = re.sub(r"``[^`]+``|`[^`\n]+`", "", text)
    return len(DISPLAY.findall(text)) + len(INLINE.findall(DISPLAY.sub("", text)))


def in_notebook(text):
    """Return the number of formulas in a notebook: those of its prose, and of what its cells print as Markdown."""
    cells = json.loads(text)["cells"]
    said = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return sum(map(in_markdown, [*said, *("".join(data.get("text/markdown", "")) for data in outputs)]))


def in_docstrings(text):
    """Return the number of formulas on an API page: in its own text, and in the strings of the modules it names."""
    import sources

    names = re.findall(r"^\.\. auto\w+:: ([\w.]+)", text, re.M)
    strings = [sources.strings().get(name, "") for name in names]
    return sum(len(re.findall(r":math:`|^\s*\.\. math::", each, re.M)) for each in [text, *strings])
