"""Docstrings are plain text with mathematics in ASCII; here they become reStructuredText that shows what they say.

Bars are norms and stars products, an indented paragraph is a formula, `name` in backticks is a link if it names
something of ours, and the numpydoc form "name : words" gives its words to the name and not to a type.
"""

import ast
import copy
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import names
from sphinx.util import logging

HEADS = (
    "Parameters",
    "Other Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Notes",
    "References",
    "Examples",
)
ENTRIES = HEADS[:6]
"""The sections in which indentation belongs to an entry."""
TICKS = re.compile(r"(``[^`]+``|:\w+:`[^`]+`|`[^`\n]+`)")
log = logging.getLogger(__name__)


def mathematics(what: str, name: str, obj: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place, before napoleon reads its sections."""
    out: list[str] = []
    section, k = "", 0
    while k < len(lines):
        line = lines[k]
        if k + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[k + 1]) and line in HEADS:
            section = line
            out += [".. rubric:: Attributes", ""] if line == "Attributes" else [line, lines[k + 1]]
            k += 2
            k = sentences(lines, k, out) if section in ("Returns", "Yields") else k
        elif re.match(r"\s*>>> ", line):
            while k < len(lines) and lines[k].strip():
                out.append(lines[k])
                k += 1
        elif re.fullmatch(r"=+( +=+)+", line):
            k = table(lines, k, out)
        elif section not in ENTRIES and line.startswith("    ") and not (out and out[-1].strip()):
            k = formula(lines, k, out)
        else:
            out += entry(line) if section in ENTRIES else [escaped(line)]
            k += 1
    lines[:] = [link(line, name, obj) for line in out]


def sentences(lines: list[str], k: int, out: list[str]) -> int:
    """Show what is returned as sentences where it is said in sentences; return the line behind.

    Napoleon would show the first line as a type. A field without a name, ":", it leaves without one.
    """
    end = next((j for j in range(k, len(lines)) if re.fullmatch(r"-{3,}", "".join(lines[j + 1 : j + 2]))), len(lines))
    body = lines[k:end]
    if any(line.startswith(" ") or entry(line) != [line] for line in body if line) or " " not in body[0].strip():
        return k
    out += [":", *(f"    {escaped(line)}" if line else "" for line in body)]
    return end


def formula(lines: list[str], k: int, out: list[str]) -> int:
    """Show an indented paragraph as it is written, for its columns mean something; return the line behind it."""
    out += [".. code-block:: none", "    :class: formula", ""]
    while k < len(lines) and (lines[k].startswith("    ") or not lines[k].strip()):
        out.append(aligned(lines[k]))
        k += 1
    out += [""]
    return k


def entry(line: str) -> list[str]:
    """Give "name : words" the form of name and words."""
    found = re.match(r"^(\*{0,2}\w[\w, *]*?) : (.+)$", line)
    return [found[1], f"    {escaped(found[2])}"] if found else [escaped(line) if line.startswith(" ") else line]


def table(lines: list[str], k: int, out: list[str]) -> int:
    """Write a simple table as a list of cells, for links do not fit into its columns; return the line behind it."""
    starts = [found.start() for found in re.finditer("=+", lines[k])]
    rows: list[list[str]] = [[]]
    header = 0
    for k in range(k + 1, len(lines)):  # noqa: B020
        line = lines[k]
        if re.fullmatch(r"=+( +=+)+", line):
            if not lines[k + 1 : k + 2] or not lines[k + 1].strip():
                break
            header = 1
        elif line[: starts[1]].strip() or not rows[-1]:
            rows.append([line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])])
        else:
            rows[-1] = [
                f"{old} {line[a:b].strip()}".strip() for old, a, b in zip(rows[-1], starts, [*starts[1:], None])
            ]
    out += [".. list-table::", *[f"   :header-rows: {header}"] * header, ""]
    for row in rows[1:]:
        out += [f"   {'*' if j == 0 else ' '} - {escaped(cell)}" for j, cell in enumerate(row)]
    out.append("")
    return k + 1


SIGNS = [
    (r"\b([A-Za-z]|sum|max|min)_([aehijklmnoprstuvx\d]{1,3})(?![\w(])", lambda f: f[1] + f[2].translate(BELOW)),
    (r"\bd2E/d(\w+?)_(\w) ?d(\w+?)_(\w)\b", r"∂²E/∂\1_\2 ∂\3_\4"), (r"\bdE/d(?=\()", "∂E/∂"),
    (r"\bd2E/d(\([^)]*\))2", r"∂²E/∂\1²"),
    (r"\bsum(?=[ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀-₉])", "Σ"), (r"\|\|", "‖"), (r"\bd2E/d(\w+?)2\b", r"∂²E/∂\1²"),
    (r"\bdE/d(\w+)", r"∂E/∂\1"), (r"\^-1\b", "⁻¹"), (r"\^T\b", "ᵀ"), (r"\^2\b", "²"), (r"\^3\b", "³"),
    (r"(?<=\s)<=(?=\s)", "≤"), (r"(?<=\s)>=(?=\s)", "≥"), (r"(?<=\s)!=(?=\s)", "≠"),
    (r"(?<=\s)->(?=\s)", "→"), (r"(?<=\s)<-(?=\s)", "←"), (r"\+-(?=[\s\d])", "±"),
]  # fmt: skip
BELOW = str.maketrans("aehijklmnoprstuvx0123456789", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀₁₂₃₄₅₆₇₈₉")


def signs(text: str) -> str:
    """Write ASCII mathematics with the signs that it stands for: h_kk u_k^2 with indices below and a square above."""
    for pattern, sign in SIGNS:
        text = re.sub(pattern, sign, text)
    return text


def aligned(line: str) -> str:
    """Write a line of a formula with its signs; what they save in width goes into its first gap."""
    new = signs(line)
    return re.sub(r"(?<=\S)(\s{2,})", lambda gap: gap[1] + " " * (len(line) - len(new)), new, count=1)


def escaped(line: str) -> str:
    """Escape stars, bars and trailing underscores outside of backticks."""
    pieces = TICKS.split(line)
    for k in range(0, len(pieces), 2):
        piece = re.sub(r"(?<!\\)([|])", r"\\\1", signs(pieces[k]))
        piece = re.sub(r"(?<!\\)\*", r"\\*", piece) if not re.match(r"\s*\* \w", line) else piece
        pieces[k] = re.sub(r"(?<=\w)_(?![A-Za-z0-9])", r"\\_", piece)
    return "".join(pieces)


def link(line: str, name: str, obj: Any) -> str:
    """Link the names in single backticks; what begins with nn, textbook or pruning must exist."""
    return (
        line
        if line.lstrip().startswith(">>>")
        else re.sub(r"(?<![`:\w])`([^`\n]+)`(?!`)", lambda f: found_name(f, name, obj), line)
    )


def found_name(found: re.Match, where: str, obj: Any) -> str:
    """Return the link of one name, or the name as code."""
    text = found[1]
    bare = text.removesuffix("()")
    if not re.fullmatch(r"\w+(\.\w+)*", bare):
        return f"``{text}``"
    for candidate in candidates(bare, where, obj):
        try:
            place = names.target(candidate)
        except LookupError:
            continue
        if place is not None:
            return f":py:obj:`{text} <{place}>`"
    if bare.partition(".")[0] in names.ROOTS and "." in bare and not known(bare):
        log.warning("the docstring of %s names `%s`, which does not exist", where, text, type="lecture")
    return f"``{text}``"


def known(dotted: str) -> bool:
    """Whether a dotted name stands for anything."""
    try:
        names.resolve(dotted)
    except LookupError:
        return False
    return True


def candidates(text: str, where: str, obj: Any) -> list[str]:
    """Return what a name in a docstring may mean: itself, or one of its class, its module or its package."""
    module = (
        obj.__name__
        if inspect.ismodule(obj)
        else getattr(inspect.unwrap(obj) if callable(obj) else obj, "__module__", None)
    )
    owners = [where, where.rpartition(".")[0]]
    while module and "." in str(module):
        owners.append(str(module))
        module = str(module).rpartition(".")[0]
    return ([text] if text.partition(".")[0] in names.ROOTS else []) + [
        f"{owner}.{text}" for owner in [*owners, module] if owner
    ]


def signature(what: str, obj: Any) -> tuple[str, str] | None:
    """Return the signature as the source has it, without self; None where there is no source."""
    function = inspect.unwrap(obj.__init__ if what in ("class", "exception") else getattr(obj, "__func__", obj))
    if not inspect.isfunction(function):
        return None
    node = definitions(function.__code__.co_filename).get(function.__code__.co_firstlineno)
    if node is None or node.name != function.__name__:
        return None
    arguments = node.args
    if what != "function" and arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments = copy.copy(arguments)
        arguments.args = arguments.args[1:]
    back = ast.unparse(node.returns) if node.returns and what in ("function", "method") else ""
    return f"({ast.unparse(arguments)})", back


@functools.cache
def definitions(path: str) -> dict[int, ast.FunctionDef]:
    """Return the functions of a file by the line in which they begin, decorators included."""
    if not Path(path).exists():  # such as the __init__ that dataclass writes
        return {}
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {
        min([node.lineno, *(each.lineno for each in node.decorator_list)]): node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def annotation(text: str, module: str | None) -> str | None:
    """Return where a name in a signature is documented, read as the module of the signature reads it."""
    try:
        return names.target(text)
    except LookupError:
        pass
    if module and "." not in text:
        here = [value for name, value in names.modules().items() if name == module or name.startswith(module + ".")]
        found = {names.places().get(id(getattr(each, text, None))) for each in here} - {None}
        return found.pop() if len(found) == 1 else None
    return None
