"""What the project knows of its methods: every module of their rooms with its title, sources, rows and sections."""

import ast
import functools
import inspect
import pkgutil
import re
from dataclasses import dataclass

import api
import names
import sources

import pruning
from pruning import ledger

ROOMS = ("scores", "pipeline", "penalties", "reconstruction", "architectures", "dynamic", "surgery", "sparse")
"""The rooms that have a file a method."""


@dataclass(frozen=True)
class Method:
    """A module: its name and its claim, the keys of its sources, its rows, and where notebooks use it.

    A place is (number of the notebook, number of its section, "" before the first).
    """

    module: str
    title: str
    claim: str
    sources: tuple[str, ...]
    rows: tuple[str, ...]
    places: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """Return the label of its entry."""
        return f"method-{self.module.removeprefix('pruning.').replace('.', '-').replace('_', '-')}"


@functools.cache
def rooms() -> dict[str, str]:
    """Return what the table of pruning's docstring says of each room."""
    table = dict(re.findall(r"^`pruning\.(\w+)`\s+(.*)$", str(pruning.__doc__), re.M))
    return {room: table[room] for room in ROOMS}


@functools.cache
def modules() -> dict[str, Method]:
    """Return every module of the rooms, by its name, room by room as the package's docstring lists them."""
    out = {}
    for room in rooms():
        package = names.modules()[f"pruning.{room}"]
        for each in pkgutil.iter_modules(package.__path__, f"pruning.{room}."):
            out[each.name] = described(each.name)
    return out


def methods() -> dict[str, Method]:
    """Return the modules that have a source; the others are what these stand on."""
    return {name: each for name, each in modules().items() if each.sources}


def described(module: str) -> Method:
    """Return what is known of a module."""
    first = " ".join(str(names.modules()[module].__doc__).split("\n\n")[0].split())
    title, colon, claim = first.partition(": ")
    if not colon:
        title, claim = module.rpartition(".")[2].replace("_", " ").capitalize(), first
    rows = tuple(row for row, where in of_rows().items() if module in where)
    keys = [*sources.cited(sources.strings()[module]), *(key for row in rows for key in sources.rows()[row])]
    known = [key for key in sources.references() if key in keys]
    return Method(module, title, claim[0].upper() + claim[1:], tuple(known), rows, tuple(uses().get(module, ())))


@functools.cache
def of_rows() -> dict[str, set[str]]:
    """Return for every row of the ledger the modules that define what it calls its code."""
    return {each.id: {home(name) for name in each.code.split(", ")} for each in ledger.STATEMENTS}


def home(dotted: str) -> str:
    """Return the module that defines what a dotted name stands for."""
    value = names.resolve(dotted)
    if inspect.ismodule(value):
        return value.__name__
    return getattr(inspect.unwrap(value) if callable(value) else value, "__module__", None) or dotted.rpartition(".")[0]


@functools.cache
def uses() -> dict[str, list[tuple[str, str]]]:
    """Return for every module the sections of notebooks that name it, in code or in prose, or that its rows name."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for number, cells in sources.notebooks().items():
        section, imports = "", ""
        for cell in cells:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                for heading in re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\b", text, re.M):
                    section = heading
                places = re.findall(r"`((?:nn|textbook|pruning)\.[\w.]+)", text)
            else:
                tree = ast.parse(text)
                imports += "".join(
                    f"{ast.unparse(n)}\n" for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)
                )
                rest = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
                places = api.named(ast.parse(imports + ast.unparse(ast.Module(rest, []))))
            for place in places:
                try:
                    found.setdefault(home(place.rstrip(".")), {})[number, section] = None
                except LookupError:  # a notebook may name what nobody may import
                    continue
    for each in ledger.STATEMENTS:
        number, _, section = each.notebook.partition(", section ")
        for module in of_rows()[each.id]:
            found.setdefault(module, {})[number, section] = None
    return {module: sorted(places, key=order) for module, places in found.items()}


def order(place: tuple[str, str]) -> tuple[str, list[int]]:
    """Sort sections as numbers."""
    return place[0], [int(each) for each in place[1].split(".") if each]
