"""The house on one picture: rooms as boxes, floors as rows, imports as lines, all read from the code."""

import ast
import json
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OPEN = ("nn", "textbook", "pruning")
"""Packages whose rooms are shown; what else imports them is one box each."""
ABOVE = ("course", "notebooks", "tests", "book")
COLORS = {"nn": "#d9e8f5", "textbook": "#dff0d8", "pruning": "#fbe9cf"}
WIDTH, HEIGHT, GAP, ROW = 112, 34, 14, 86


def page() -> str:
    """Return the picture, and in words what it shows."""
    arrows = imports()
    floors = levels(arrows)
    svg = picture(floors, reduced(arrows))
    return f"""# The house

Imports run one way. A box is a package, or a room of one: blue boxes are `nn` and its rooms, green ones `textbook`,
orange ones the rooms of `pruning`, and the grey ones use all of these. A box imports from lower floors only. A line
says that the upper box imports from the lower one; where a chain of other lines says so already, there is none.

The picture is drawn from the imports when the book is built (`book/pages/house.py`), and `tests/pruning/test_house.py`
refuses an import that climbs.

```{{raw}} html
<figure class="house wide">{svg}
<figcaption>{len(floors)} boxes on {max(floors.values()) + 1} floors, {sum(map(len, arrows.values()))} pairs of a box
and one that it imports from. At the bottom is what imports nothing else, at the top what uses everything.
</figcaption></figure>
```

How to add a layer, a method, an experiment, a notebook or an exercise is said in the [conventions](../conventions.md).
"""


def room(module: str) -> str | None:
    """Return the box of a module: nn (layers and what they stand on), nn.curvature, pruning.scores, course."""
    parts = module.split(".")
    if parts[0] in ABOVE:
        return parts[0]
    if parts[0] not in OPEN:
        return None
    folder = ROOT / parts[0] / parts[1] if len(parts) > 1 else None
    inside = folder is not None and (folder.is_dir() or (parts[0] == "pruning" and folder.with_suffix(".py").exists()))
    return f"{parts[0]}.{parts[1]}" if inside and parts[1][0] != "_" else parts[0]


def imports() -> dict[str, set[str]]:
    """Return for every box those that it imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    for top in (*OPEN, *ABOVE):
        for path in sorted([*(ROOT / top).rglob("*.py"), *(ROOT / top).glob("*.ipynb")]):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] in ("__init__", "__main__") and len(parts) == 2:
                continue  # the face of a package names all its rooms
            here = room(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            found[here] |= {each for each in named(code(path)) if each not in (here, None)}
    return {box: {each for each in below if each in found} for box, below in found.items()}


def code(path: Path) -> str:
    """Return the code of a file or of a notebook's cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def named(text: str) -> set[str | None]:
    """Return the boxes that code imports from."""
    out: set[str | None] = set()
    for statement in re.findall(r"^[ \t]*((?:from [\w.]+ )?import (?:\([\w\s,.#]*?\)|[\w, .]+))", text, re.M):
        try:
            node = ast.parse(statement).body[0]
        except SyntaxError:  # a sentence that begins like an import
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            out |= {room(f"{node.module}.{each.name}") for each in node.names}
        elif isinstance(node, ast.Import):
            out |= {room(each.name) for each in node.names}
    return out


def levels(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each box: one above the highest that it imports from; a ring, if there is one, is cut."""
    floor: dict[str, int] = {}

    def climb(box: str, way: tuple[str, ...]) -> int:
        if box not in floor:
            floor[box] = 1 + max(
                (climb(each, (*way, box)) for each in arrows[box] if each not in (*way, box)), default=-1
            )
        return floor[box]

    for box in sorted(arrows):
        climb(box, ())
    return floor


def reduced(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out the lines that follow from others."""

    def below(box: str, seen: set[str]) -> set[str]:
        for each in arrows[box] - seen:
            seen.add(each)
            below(each, seen)
        return seen

    return {
        box: {each for each in direct if not any(each in below(other, set()) for other in direct - {each})}
        for box, direct in arrows.items()
    }


def picture(floors: dict[str, int], arrows: dict[str, set[str]]) -> str:
    """Return the boxes and lines as SVG, the ground floor at the bottom."""
    rows = [sorted(box for box in floors if floors[box] == k) for k in range(max(floors.values()) + 1)]
    width = max(map(len, rows)) * (WIDTH + GAP) + GAP
    height = len(rows) * ROW + GAP
    place = {
        box: (width / 2 + (j - (len(row) - 1) / 2) * (WIDTH + GAP), height - ROW * (k + 0.5))
        for k, row in enumerate(rows)
        for j, box in enumerate(row)
    }
    label = "Boxes of packages, each above those it imports from"
    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">']
    for box, below in arrows.items():
        for each in below:
            (x1, y1), (x2, y2) = place[box], place[each]
            ends = (y1 + HEIGHT / 2, y2 - HEIGHT / 2) if y2 > y1 else (y1, y2)
            out.append(f'<path d="M{x1:.0f} {ends[0]:.0f} L{x2:.0f} {ends[1]:.0f}" stroke="#888" fill="none"/>')
    for box, (x, y) in place.items():
        package, _, name = box.partition(".")
        color = COLORS.get(package, "#eee")
        corner = f'x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}"'
        out.append(f'<rect {corner} width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{color}" stroke="#555"/>')
        words = f'text-anchor="middle" font-size="12" fill="#111">{name or package}'
        out.append(f'<text x="{x:.0f}" y="{y + 4:.0f}" {words}</text>')
    return "".join([*out, "</svg>"])
