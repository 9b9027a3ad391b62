"""From a master to what is handed out and what is kept.

A master is a percent script: cells begin with ``# %%``, text cells with ``# %% [markdown]``, the cell of an exercise
with ``# %% exercise="obd.1"``; the solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``.
"""

import re
from dataclasses import dataclass

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


@dataclass(frozen=True)
class Cell:
    """A cell of a master: "markdown" or "code", the id of its exercise or "", and its source."""

    kind: str
    exercise: str
    source: str


def cells(text: str) -> list[Cell]:
    """Return the cells of a percent script in order."""
    found = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        exercise = re.search(r'exercise="([^"]+)"', head)
        markdown, body = "[markdown]" in head, body.strip("\n")
        if markdown:
            body = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in body.split("\n"))
        found.append(Cell("markdown" if markdown else "code", exercise[1] if exercise else "", body))
    return found


def blank(source: str) -> str:
    """Return the source with what stands between the markers taken out.

    Raises
    ------
    ValueError
        If a solution is not closed.
    """
    out, inside = [], False
    for line in source.split("\n"):
        if line.strip() == BEGIN:
            inside = True
            out.append(line[: len(line) - len(line.lstrip())] + "raise NotImplementedError  # your code here")
        elif line.strip() == END:
            inside = False
        elif not inside:
            out.append(line)
    if inside:
        raise ValueError(f"a solution is not closed by {END}")
    return "\n".join(out)


def solved(source: str) -> str:
    """Return the source without the markers."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in (BEGIN, END))
