"""The pages that scripts write: complete, and drawn from what they claim to show."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "book"))  # scripts may import from each other
import build  # noqa: E402

SCRIPTS = sorted((ROOT / "book" / "pages").glob("*.py"))
KEPT = [path for path in SCRIPTS if "\nSOURCES = " in path.read_text(encoding="utf-8")]


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
    from course import SETS
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


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_a_page_is_kept_by_exists_and_has_all_that_its_script_imports(path):
    code = ast.parse(path.read_text(encoding="utf-8"))  # read, not run: some scripts need the packages of the book
    assigned = {getattr(each.targets[0], "id", ""): each.value for each in code.body if isinstance(each, ast.Assign)}
    sources = [ROOT / each for each in ast.literal_eval(assigned["SOURCES"])]
    assert [each for each in sources if not each.exists()] == []
    for node in ast.walk(code):
        if isinstance(node, ast.Import | ast.ImportFrom):
            owner = getattr(node, "module", None)
            for each in node.names:
                file = imported(f"{owner}.{each.name}" if owner else each.name)
                assert file is None or any(file.is_relative_to(place) for place in sources), file


def imported(name):
    """Return the file of the project that an import reads, or None for a library; the end may be a name in a module."""
    for folder in (ROOT / "book", ROOT):
        for path in (folder / name.replace(".", "/"), folder / name.rpartition(".")[0].replace(".", "/")):
            for file in (path / "__init__.py", path.with_suffix(".py")):
                if path != folder and file.exists():
                    return file
    return None


def test_a_kept_page_is_made_again_when_its_source_changes_and_the_old_one_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "GENERATED", tmp_path / "generated")
    source, made = tmp_path / "source.py", []

    def make():
        made.append(list((tmp_path / "generated").glob("*.md")))
        return f"page {source.read_text()}"

    def broken():
        raise KeyboardInterrupt

    def full(path, text, encoding):
        path.write_bytes(text[:2].encode())
        raise OSError("no space left on device")

    for text, times in (("1", 1), ("1", 1), ("2", 2), ("1", 3)):  # the drawings of the first "1" are gone by now
        source.write_text(text)
        assert build.cached("some", [source], make) == f"page {text}"
        assert len(made) == times and made[-1] == []
    source.write_text("3")
    with pytest.raises(KeyboardInterrupt):
        build.cached("some", [source], broken)
    source.write_text("1")
    assert build.cached("some", [source], make) == "page 1" and len(made) == 4
    source.write_text("4")
    with monkeypatch.context() as disk, pytest.raises(OSError, match="no space"):
        disk.setattr(Path, "write_text", full)
        build.cached("some", [source], make)
    assert build.cached("some", [source], make) == "page 4"
