"""Who cites what: the list book/references.md, and the places of the project that name its entries.

A text cites an entry by its number (DOI or arXiv), or by the first author and the year: "LeCun, Denker, Solla 1990".
"""

import ast
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from pruning import ledger

ROOT = Path(__file__).resolve().parent.parent
LECTURE = {"S0": "quintero-2019", "S1": "yu-2024", "S2": "guide-2019", "S3": "ma-2019", "S4": "li-2017"}
"""The sources of the ledger's ids."""
NUMBER = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})|\b(10\.\d{4,5}/[A-Za-z0-9./()_-]*[A-Za-z0-9])")
ENTRY = re.compile(r"^\(ref-([\w-]+)\)=\n\*\*(.+?) (\d{4})\.\*\* \*(.+?)\*(.*?)\*\*(\w+)\*\*$", re.M | re.S)
YEAR = r"(?:(?!\b(?:19|20)\d\d\b|\n\s*\n).){0,300}?"
"""What may stand between an author and the year: no other year, no end of a paragraph."""


@dataclass(frozen=True)
class Reference:
    """An entry of the list: what it is called in running text, its numbers, and what was read of it."""

    key: str
    authors: tuple[str, ...]
    year: str
    title: str
    numbers: tuple[str, ...]
    mark: str

    @property
    def short(self) -> str:
        """Return "LeCun et al. 1990", or what two authors are called."""
        names = self.authors[0] if len(self.authors) == 1 else " and ".join(self.authors)
        return f"{names if len(self.authors) < 3 else f'{self.authors[0]} et al.'} {self.year}"


@functools.cache
def references() -> dict[str, Reference]:
    """Return the entries of the list by their keys.

    Raises
    ------
    ValueError
        If an entry is not of the form that the others have, or two have one key.
    """
    text = (ROOT / "book" / "references.md").read_text(encoding="utf-8")
    found = {}
    for key, people, year, title, rest, mark in ENTRY.findall(text):
        authors = tuple(surname(each) for each in people.split(", "))
        found[key] = Reference(key, authors, year, title.rstrip("."), numbers(rest), mark)
    if len(found) != len(re.findall(r"^\(ref-", text, re.M)):
        raise ValueError(
            "book/references.md has an entry of another form than '**A. Author, B. Author 1990.** *Title.* ...'"
        )
    return found


def surname(name: str) -> str:
    """Return an author without initials."""
    return " ".join(part for part in name.removeprefix("The ").split() if not part.endswith("."))


def numbers(text: str) -> tuple[str, ...]:
    """Return the DOIs and arXiv numbers that a text names, each once."""
    return tuple(dict.fromkeys(arxiv or doi for arxiv, doi in NUMBER.findall(text)))


def cited(text: str) -> list[str]:
    """Return the keys of the entries that a text cites, in the order of the list."""
    named = set(numbers(text))
    found = []
    for each in references().values():
        likely = each.authors[0] in text and each.year in text  # the expression is slow
        if named & set(each.numbers) or (likely and pattern(each).search(text)):
            found.append(each.key)
    return found


@functools.cache
def pattern(entry: Reference) -> re.Pattern[str]:
    """Return the expression for an entry in running text: first author and year, and whom else twins need."""
    first, *others = entry.authors
    twins = [e for e in references().values() if (e.authors[0], e.year) == (first, entry.year) and e is not entry]
    behind = rf"(?:,? and|,)\s+{re.escape(others[0])}\b" if twins else r"(?:,| et\s+al\b| and\b|'s\b| \(?\d{4})"
    return re.compile(rf"(?<![a-z], )(?<!and )\b{re.escape(first)}(?={behind}){YEAR}\b{entry.year}\b", re.S)


@functools.cache
def strings() -> dict[str, str]:
    """Return what every module of the three packages says: its docstrings and its other strings, as one text."""
    found = {}
    for path in sorted(path for name in ("nn", "textbook", "pruning") for path in (ROOT / name).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found[".".join(parts).removesuffix(".__init__")] = "\n\n".join(texts)
    return found


@functools.cache
def notebooks() -> dict[str, list[dict]]:
    """Return the cells of every notebook by its number, "02b"."""
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return {path.stem.partition("_")[0]: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths}


@functools.cache
def prose() -> dict[str, str]:
    """Return the Markdown of every notebook, with its answers, by its number."""
    found = {}
    for number, cells in notebooks().items():
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        answers = ROOT / "notebooks" / "answers" / f"{number}.md"
        found[number] = "\n\n".join(texts + ([answers.read_text(encoding="utf-8")] if answers.exists() else []))
    return found


@functools.cache
def rows() -> dict[str, list[str]]:
    """Return for every row of the ledger the keys of its sources: the lecture's by its id, others by what it names."""
    found = {}
    for each in ledger.STATEMENTS:
        lecture = [LECTURE[each.id[:2]]] if each.id[:2] in LECTURE else []
        found[each.id] = list(dict.fromkeys([*lecture, *cited(f"{each.where}\n\n{each.remark}")]))
    return found
