"""Words of prose that become links: notebooks and their sections, names of the packages, rows of the ledger."""

import json
import re
from pathlib import Path

import names

API = re.compile(r"`((?:nn|textbook|pruning)(?:\.\w+)*)(\(\))?`")
KEEP = re.compile(
    r"(\$\$.*?\$\$|\$(?:[^$\\]|\\.)+\$|^```.*?^```|^\#{1,6} [^\n]*$|``[^`]+``|`[^`\n]+`"
    r"|!?\[[^\]]*\]\([^)]*\)|<[^>\n]+>)",
    re.S | re.M,
)
"""What is no prose: formulas, code, headings, links."""
DISPLAY = re.compile(r"^( *)(\$\$(?:[^$\\]|\\.)+\$\$)[ ]*$", re.M)
"""A display formula on lines of its own, which MyST sees as one only between empty lines."""
NOTEBOOK = re.compile(
    r"\b([Nn]otebooks?|[Pp]arts?)(\s)(\d\d[a-z]?(?:(?:,\s|\sand\s|,\sand\s|\sor\s|\sto\s)\d\d[a-z]?)*)\b"
    r"(?:(,\s+(?:the\s+)?sections?\s|'s\s+section\s)(\d+(?:\.\d+)?))?"
)
SECTION = re.compile(r"\b([Ss]ections?) (\d+(?:\.\d+)?)\b")
ROW = re.compile(r"\b(S\d-[A-Z]\d+[a-z]?|(?<=ledger )D\d+[a-z]?|(?<=ledger \()D\d+[a-z]?)\b")


def headings(folder: Path) -> dict[str, dict[str, str]]:
    """Return the numbered sections of every notebook, {"02": {"4": "4. Where the recursion ...", ...}}."""
    found = {}
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        sections = re.findall(r"^#{2,3} ((\d+(?:\.\d+)?)\.? .*)$", text, re.M)
        found[path.stem.partition("_")[0]] = {number: title for title, number in sections}
    return found


def label(notebook: str, section: str) -> str:
    """Return the label of a section, nb02-s4-1."""
    return f"nb{notebook}-s{section.replace('.', '-')}"


class Links:
    """What may be linked: the sections of all notebooks, and the rows of the ledger."""

    def __init__(self, sections: dict[str, dict[str, str]], rows: frozenset[str]):
        self.sections, self.rows = sections, rows

    def page(self, text: str, here: str | None = None, rows: bool = True) -> str:
        """Return MyST Markdown with links; `here` is the notebook that "section 4" means."""
        text = DISPLAY.sub(r"\n\1\2\n", text)
        text = KEEP.sub(lambda found: self.api(found) if found[0].startswith("`") else found[0], text)
        pieces = KEEP.split(text)
        return "".join(piece if k % 2 else self.prose(piece, here, rows) for k, piece in enumerate(pieces))

    def api(self, found: re.Match) -> str:
        """Link `nn.Linear` to its entry; a name that nothing bears, or that has no entry, stays code."""
        name = API.fullmatch(found[0])
        if name is None:
            return found[0]
        try:
            place = names.target(name[1])
        except LookupError:
            return found[0]
        if place is None:
            return found[0]
        return f"{{py:obj}}`{name[1]}{name[2] or ''} <{place}>`"

    def prose(self, text: str, here: str | None, rows: bool) -> str:
        """Link the notebooks, sections and rows that a piece of prose names."""
        text = NOTEBOOK.sub(self.notebook, text)
        pieces = KEEP.split(text)
        for k in range(0, len(pieces), 2):
            if here is not None:
                pieces[k] = SECTION.sub(lambda found: self.section(found, here), pieces[k])
            if rows:
                pieces[k] = ROW.sub(self.row, pieces[k])
        return "".join(pieces)

    def notebook(self, found: re.Match) -> str:
        """Link "notebook 02, section 4" to the section, and "notebooks 02 and 08" to the notebooks."""
        word, space, numbers, between, section = found.groups()
        if section in self.sections.get(numbers, {}):
            return f"[{word}{space}{numbers}{between}{section}](#{label(numbers, section)})"
        links = re.sub(r"\d\d[a-z]?", self.number, numbers)
        return f"{word}{space}{links}{(between or '') + (section or '')}"

    def number(self, found: re.Match) -> str:
        """Link the number of a notebook."""
        if found[0] not in self.sections:
            return found[0]
        return f"[{found[0]}](#nb{found[0]})"

    def section(self, found: re.Match, here: str) -> str:
        """Link "section 4" within its notebook."""
        if found[2] not in self.sections[here]:
            return found[0]
        return f"[{found[0]}](#{label(here, found[2])})"

    def row(self, found: re.Match) -> str:
        """Link S0-F6 to its row of the ledger."""
        if found[1] not in self.rows:
            return found[0]
        return f"[{found[1]}](#{found[1].lower()})"
