"""What a student hands in: a notebook or a script, of which the definitions are run and nothing else.

Definitions are imports, functions, classes and literal constants of all cells, in order.  There is no scratch training,
no stale kernel, and a syntax error in a scratch cell costs nothing.
"""

import ast
import json
import re
import unicodedata
import warnings
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 10 * 2**20
"""Bytes of a submission."""
MOST_CODE = 2**20
"""Characters of its code; pictures and outputs of a notebook are not counted."""
MOST_FLAGS = 20
ALLOWED = {
    *("numpy", "scipy", "math", "cmath", "itertools", "functools", "collections", "typing", "dataclasses", "operator")
}
DROPPED = {"matplotlib", "check", "pylab", "IPython", "time", "warnings", "__future__"}
"""Modules that a notebook may import and a graded function cannot use: their imports are not run."""
CURIOUS = {
    *("exec", "eval", "compile", "open", "__import__", "globals", "getattr", "setattr", "input", "breakpoint", "vars")
}


@dataclass(frozen=True)
class Submission:
    """What one student handed in: the pieces of source that are run, what a lecturer may want to look at, a refusal.

    With a `refused` sentence there is nothing to run.
    """

    student: str
    path: Path
    pieces: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    refused: str = ""


def found(folder: Path) -> list[Submission]:
    """Return the submissions in a folder, in the order of the students' names.

    A file (``.ipynb`` or ``.py``) is a student called like it; a folder is one, too, with one such file in it.  What
    cannot be read is returned as well, with a sentence that says why.

    Raises
    ------
    ValueError
        If there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of submissions, got {folder}")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not entries:
        raise ValueError(f"the folder {folder} is empty: there is nothing to grade")
    by_student: dict[str, list[Path]] = {}
    for entry in entries:
        name = unicodedata.normalize("NFC", entry.name if entry.is_dir() else entry.stem)
        by_student.setdefault(_readable(name), []).extend(_files(entry) or [entry])
    return [_of(student, paths) for student, paths in sorted(by_student.items())]


def _files(entry: Path) -> list[Path]:
    if not entry.is_dir() or entry.is_symlink():
        return [entry]
    try:
        return [path for path in sorted(entry.iterdir()) if _counts(path)]
    except OSError:  # a folder that is closed to us is a row, not the end of the others
        return []


def _readable(name: str) -> str:
    # Names that are no UTF-8 cannot be written to a table; two of them must not become one.
    return name.encode(errors="backslashreplace").decode()


def _counts(path: Path) -> bool:
    return path.suffix in (".ipynb", ".py") and path.name != "check.py" and not path.name.startswith(".")


def _of(student: str, paths: list[Path]) -> Submission:
    if len(paths) > 1:
        names = ", ".join(_readable(path.name) for path in paths[:9])
        return Submission(student, paths[0], refused=f"there are {len(paths)} files of this student: {names}")
    try:
        pieces, flags = extract(paths[0])
    except (ValueError, OSError) as error:
        return Submission(student, paths[0], refused=_readable(str(error))[:500])
    except (RecursionError, MemoryError) as error:
        return Submission(
            student, paths[0], refused=f"{_readable(paths[0].name)} cannot be read: {type(error).__name__}"
        )
    return Submission(student, paths[0], pieces, flags)


def extract(path: Path) -> tuple[list[str], list[str]]:
    """Return all definitions of a file in order, each a piece of source, and the flags.

    Raises
    ------
    ValueError
        In one sentence, if this is no notebook of nbformat 4 and no script, or too large.
    """
    pieces, flags = [], []
    sources = cells(path)
    if sum(map(len, sources)) > MOST_CODE:
        raise ValueError(f"{path.name} has {sum(map(len, sources))} characters of code, at most {MOST_CODE} are read")
    for cell in sources:
        kept, curious = definitions(cell)
        pieces += kept
        flags += curious
    if sum(map(len, pieces)) > LARGEST:
        raise ValueError(f"{path.name} has too many definitions in one cell")
    return pieces, sorted(set(flags))[:MOST_FLAGS]


def cells(path: Path) -> list[str]:
    """Return the code cells of a notebook, or the cells of a percent script; refusals are those of `extract`."""
    if path.is_symlink():
        raise ValueError(f"expected a file, got {path.name}, a link to another")
    if not path.is_file() or path.suffix not in (".ipynb", ".py"):
        raise ValueError(f"expected a notebook (.ipynb) or a script (.py), got {path.name}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} has {path.stat().st_size / 2**20:.0f} MB, at most {LARGEST >> 20} are read")
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text in UTF-8") from None
    if path.suffix == ".py":
        return re.split(r"^# %%.*$", source, flags=re.MULTILINE)
    try:
        notebook = json.loads(source)
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is no notebook: it holds no JSON") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        version = notebook.get("nbformat") if isinstance(notebook, dict) else None
        raise ValueError(
            f"expected a notebook of nbformat 4, got {version!r} in {path.name}; save it anew with Jupyter"
        )
    sources = [cell.get("source", "") for cell in notebook["cells"] if _is_code(cell)]
    return ["".join(map(str, source)) if isinstance(source, list) else str(source) for source in sources]


def _is_code(cell: object) -> bool:
    return isinstance(cell, dict) and cell.get("cell_type") == "code"


def definitions(source: str) -> tuple[list[str], list[str]]:
    """Return imports, functions, classes and literal constants of one cell, and what is curious about them."""
    # Lines as Python counts them: others may stand in a string.  A line of Jupyter's is taken out where there is one
    # only: "% b" goes on with the expression of the line before it.
    lines = re.split(r"\r\n|\r|\n", source)
    try:
        tree = _parsed(lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = ["" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines]
        try:
            tree = _parsed(lines)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return [], [_readable(f"a cell cannot be read: {type(error).__name__}: {error}")[:200]]
    kept: list[tuple[ast.stmt, str]] = []
    flags: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = _modules(node)
            if not modules <= DROPPED:
                kept.append((node, _own(node, lines)))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) or _constant(node):
            kept.append((node, _own(node, lines)))
        if len(kept) * len(lines) > LARGEST:  # each piece begins with the empty lines before it
            return [], ["a cell cannot be read: it has too many definitions"]
    for node, _ in kept:
        flags += _curious(node)
    return [piece for _, piece in kept], list(dict.fromkeys(flags))


def _parsed(lines: list[str]) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the student's code, such as an invalid escape
        return ast.parse("\n".join(lines))


def _own(node: ast.stmt, lines: list[str]) -> str:
    # The student's lines at their own numbers, so that an error message says the right line of the cell.
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return "\n" * (first - 1) + "\n".join(lines[first - 1 : node.end_lineno])


def _modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
    return {name.partition(".")[0] for name in names}


def _constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    names = node.targets if isinstance(node, ast.Assign) else [node.target]
    if not all(isinstance(each, ast.Name) for name in names for each in getattr(name, "elts", [name])):
        return False  # a number put into an array of a scratch cell
    literal = (ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List, ast.Dict, ast.operator, ast.unaryop, ast.Load)
    return isinstance(node.value, ast.Lambda) or all(isinstance(part, literal) for part in ast.walk(node.value))


def _curious(node: ast.stmt) -> list[str]:
    flags = []
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in CURIOUS:
            flags.append(f"uses {part.id}")
        if isinstance(part, ast.Import | ast.ImportFrom):
            flags += [f"imports {module}" for module in sorted(_modules(part) - ALLOWED - DROPPED)]
        if isinstance(part, ast.Attribute) and part.attr.startswith("__") and part.attr != "__init__":
            flags.append(f"uses {part.attr}")
    return flags
