"""The API pages: one for each module, with an entry for each of its public names and the notebooks that use it."""

import ast
import inspect
import json
import re
from collections import defaultdict
from pathlib import Path

import docstrings
import names
from usual import unsaid, unsaid_errors


def pages(notebooks: Path) -> dict[str, str]:
    """Return the text of every API page by its name."""
    used = uses(notebooks)
    return {f"api/{name}": page(name, used) for name in names.modules()}


def page(name: str, used: dict[str, list[str]]) -> str:
    """Return the page of a module."""
    module = names.modules()[name]
    # A tree of all modules on the side of every page would be most of the book.
    out = [":orphan:", ""] if "." in name else []
    out += [name, "=" * len(name), "", f".. automodule:: {name}", ""]
    entries = {} if names.is_command(name) else names.own(module)
    faces = [each for each in getattr(module, "__all__", ()) if not inspect.ismodule(getattr(module, each))]
    elsewhere = [
        names.places()[id(getattr(module, each))]
        for each in faces
        if each not in entries and id(getattr(module, each)) in names.places()
    ]
    if elsewhere:
        out += [
            "",
            ".. rubric:: Names",
            "",
            *(f"* :py:obj:`{each}`: {first_sentence(names.documented()[each])}" for each in elsewhere),
        ]
    for value in sorted(entries.values(), key=line):
        place = names.places()[id(value)]
        kind = (
            "autoexception"
            if inspect.isclass(value) and issubclass(value, Exception)
            else "autoclass"
            if inspect.isclass(value)
            else "autofunction"
        )
        out += ["", f".. {kind}:: {place}"]
        out += ["   :members:", "   :show-inheritance:"] if kind != "autofunction" else []
        out += ["", *beyond(value), f"   {sentence(used.get(place, []))}", ""]
    below = [each for each in names.modules() if each.rpartition(".")[0] == name]
    if below:
        out += ["", ".. rubric:: Modules", ""]
        out += [f"* :doc:`{each} <{each}>`: {first_sentence(names.modules()[each])}" for each in below]
    if "." in name:
        out += ["", f"Part of :doc:`{name.rpartition('.')[0]}`.", ""]
    return "\n".join(out) + "\n"


def beyond(value) -> list[str]:
    """Say what the docstring leaves out because it is the same everywhere, and which errors the code raises."""
    usual = [f"   * ``{each}``: {docstrings.escaped(meaning)}." for each, meaning in unsaid(value).items()]
    errors = [f"   * ``{each}``: {docstrings.escaped(text)}." for each, text in unsaid_errors(value).items()]
    out = ["   As everywhere:", "", *usual, ""] if usual else []
    return out + (["   Errors:", "", *errors, ""] if errors else [])


def first_sentence(value) -> str:
    """Return the first sentence of a docstring."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return docstrings.escaped(re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", re.split(r"(?<=[.:]) ", text)[0]))


def line(value) -> int:
    """Return where an object begins in its file."""
    try:
        return inspect.getsourcelines(value)[1]
    except (OSError, TypeError):
        return 0


def sentence(numbers: list[str]) -> str:
    """Say which notebooks use a name."""
    if not numbers:
        return "No notebook uses it by name."
    links = ", ".join(f":ref:`{number} <nb{number}>`" for number in numbers)
    return f"Used in notebook{'s' * (len(numbers) > 1)} {links}."


def uses(folder: Path) -> dict[str, list[str]]:
    """Return for each public name the numbers of the notebooks whose code names it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        for place in sorted(named(ast.parse(code))):
            found[place].append(path.stem.partition("_")[0])
    return found


def named(tree: ast.AST) -> set[str]:
    """Return the public names that a piece of code uses."""
    nodes = list(ast.walk(tree))
    known: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            known |= {
                (each.asname or each.name.partition(".")[0]): (
                    each.name if each.asname else each.name.partition(".")[0]
                )
                for each in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    known = {short: full for short, full in known.items() if full.partition(".")[0] in names.ROOTS}
    out = set()
    for node in nodes:
        path = dotted(node)
        if path is None or path.partition(".")[0] not in known:
            continue
        first, _, rest = path.partition(".")
        full = known[first] + (f".{rest}" if rest else "")
        while "." in full:
            try:
                place = names.places().get(id(names.resolve(full)))
            except LookupError:
                place = None
            if place:
                out.add(place)
                break
            full = full.rpartition(".")[0]
    return out


def dotted(node: ast.AST) -> str | None:
    """Return the dotted path that an expression is, if it is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else None
    return None
