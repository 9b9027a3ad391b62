"""The house of pruning: which rooms there are, and that imports run one way."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FLOORS = [
    {"schedules", "counts", "channels"},
    {"masks"},
    {"surgery"},
    {"filters"},
    {"sparse", "scores", "penalties", "reconstruction", "dynamic"},
    {"pipeline", "architectures"},
    {"experiments", "ledger"},
    {"__main__", "__init__"},
]
"""The rooms, from the ground up: a room imports from floors below its own only."""

ARROWS = 76
"""At most so many pairs (room, a room that it imports from); the package's own __init__ is a room, too."""


def modules():
    """{dotted name: file} of pruning."""
    files = {}
    for path in (ROOT / "pruning").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def arrows():
    """{(module, a module of pruning that it imports)}, wherever in the file the import stands."""
    files, found = modules(), set()
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports from a dot"
                inside = [f"{node.module}.{each.name}" for each in node.names]
                found |= {(name, each if each in files else node.module) for each in inside}
            elif isinstance(node, ast.Import):
                found |= {(name, each.name) for each in node.names}
    return {(one, other) for one, other in found if other in files and one != other}


def room(module):
    """The entry of pruning/ that holds the module."""
    return [*module.split("."), "__init__"][1]


def between_rooms():
    return {(room(one), room(other)) for one, other in arrows() if room(one) != room(other)}


def test_every_room_has_its_floor_and_few_modules_stand_at_the_top():
    rooms = {room(module) for module in modules()}
    assert rooms == set().union(*FLOORS)
    top = {path.stem for path in (ROOT / "pruning").glob("*.py")} - {"__init__", "__main__"}
    assert top == {"counts", "filters", "masks", "schedules"}


def test_imports_between_rooms_run_one_way():
    floor = {name: height for height, names in enumerate(FLOORS) for name in names}
    pairs = between_rooms()
    assert {(one, other) for one, other in pairs if floor[other] >= floor[one]} == set()
    assert 20 <= len(pairs) <= ARROWS


def test_no_circle_among_modules():
    """Faces aside: a package may import a module that imports from the package's other modules."""
    files = modules()
    left = {(one, other) for one, other in arrows() if "__init__" not in (files[one].stem, files[other].stem)}
    while left:
        ends = {other for _, other in left} - {one for one, _ in left}
        assert ends, f"a circle among {sorted({one for one, _ in left})}"
        left = {(one, other) for one, other in left if other not in ends}


def test_the_packages_import_one_way():
    """textbook imports nn.backend alone of the others, and nn neither of them."""
    allowed = {"textbook": {"textbook", "nn.backend"}, "nn": {"nn"}, "pruning": {"pruning", "nn", "textbook"}}
    for package, names in allowed.items():
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                given = [node.module] if isinstance(node, ast.ImportFrom) else []
                given += [each.name for each in node.names] if isinstance(node, ast.Import) else []
                ours = [name for name in given if name.partition(".")[0] in allowed]
                assert all(any(f"{name}.".startswith(f"{each}.") for each in names) for name in ours), path
