"""The pages that scripts write: complete, and drawn from what they claim to show."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "book"))  # scripts may import from each other


def script(name):
    spec = importlib.util.spec_from_file_location(f"page_{name}", ROOT / "book" / "pages" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lecture_lists_every_notebook_with_its_minutes():
    text = script("lecture").page()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(#nb{path.stem.partition('_')[0]})" in text
    rows = [line for line in text.splitlines() if line[:3] in ("| 0", "| 1", "| 2")]
    assert len(rows) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert all(10 <= int(line.split("|")[-3]) <= 150 for line in rows)


def test_the_slides_have_every_statement_and_every_exercise():
    from course.__main__ import SETS
    from pruning.ledger import STATEMENTS

    text = script("slides").page()
    for each in STATEMENTS:
        assert f"(#{each.id.lower()})" in text, each.id
    listed = script("exercises").page()
    for name in SETS:
        for each in importlib.import_module(f"course.{name}.exercises").SET.exercises:
            assert f"| {each.id} |" in listed
            assert not each.ledger or each.id in text, f"{each.id} names rows that the ledger has not: {each.ledger}"


def test_in_the_house_every_line_leads_down():
    house = script("house")
    arrows = house.imports()
    floors = house.levels(arrows)
    assert {"nn", "nn.curvature", "textbook", "pruning.surgery", "pruning.scores", "notebooks", "tests"} <= set(floors)
    assert [(box, each) for box in arrows for each in arrows[box] if floors[each] >= floors[box]] == []
    assert all(f">{box.rpartition('.')[2]}<" in house.page() for box in floors)
