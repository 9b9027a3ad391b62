"""The pages made of what the project knows: methods, where sources are used, pictures; and the list of references."""

import importlib
import re

import pytest

pytest.importorskip("sphinx", reason="Sphinx is not installed (extra book)")

import names
import rooms
import sources
from pages import cited, methods, verification

from pruning import ledger

MUTANTS = sources.ROOT / "tests" / "fuzz" / "mutants"


@pytest.fixture(scope="module")
def page():
    return methods.page()


@pytest.fixture(scope="module")
def back():
    return cited.page()


@pytest.mark.slow
def test_every_module_of_the_rooms_is_on_the_page_once(page):
    files = [f"pruning.{room}.{path.stem}" for room in rooms.ROOMS
             for path in (sources.ROOT / "pruning" / room).glob("*.py") if path.stem != "__init__"]  # fmt: skip
    assert sorted(files) == sorted(rooms.modules())
    for name in files:
        entry = page.count(f"\n* Module: `{name}`\n") + page.count(f"\n* `{name}`: ")
        assert entry == 1, name


@pytest.mark.slow
def test_every_method_has_source_notebook_and_rows_and_all_of_them_exist(page):
    known = {statement.id for statement in ledger.STATEMENTS}
    sections = {
        number: set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\b", text, re.MULTILINE))
        for number, text in sources.prose().items()
    }
    for name, method in rooms.methods().items():
        assert names.resolve(name).__name__ == name
        assert method.sources and set(method.sources) <= set(sources.references())
        assert method.rows and set(method.rows) <= known, name
        assert any(section for _, section in method.places), name
        for number, section in method.places:
            assert section in sections[number] or section == "", (name, number, section)
    assert "none" not in re.findall(r"\| (\w+) \|$", page, re.MULTILINE) and "none yet" not in page


@pytest.mark.slow
def test_every_link_goes_both_ways(page, back):
    for method in rooms.methods().values():
        for key in method.sources:
            block = back[back.index(f"(cited-{key})=") :].partition("\n(cited-")[0]
            assert f"](#{method.label})" in block
        for row in method.rows:
            assert method.module in rooms.of_rows()[row]
    labels = set(re.findall(r"^\(([\w-]+)\)=$", page + back, re.MULTILINE))
    text = (sources.ROOT / "book" / "references.md").read_text(encoding="utf-8")
    labels |= set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    linked = set(re.findall(r"\]\(#((?:method|cited|ref)-[\w-]+)\)", page + back + text))
    assert linked <= labels


def test_every_row_that_names_a_module_of_the_rooms_is_on_its_entry():
    for statement in ledger.STATEMENTS:
        for name in statement.code.split(", "):
            module = rooms.home(name)
            if module in rooms.modules():
                assert statement.id in rooms.of_rows() and module in rooms.of_rows()[statement.id]


# ---- references ------------------------------------------------------------------------------------------------------
def test_every_number_that_is_cited_is_in_the_list():
    known = {number for entry in sources.references().values() for number in entry.numbers}
    for texts in (sources.strings(), sources.prose()):
        for place, text in texts.items():
            assert set(sources.numbers(text)) <= known, place


@pytest.mark.slow
def test_nothing_is_in_the_list_that_nobody_cites():
    texts = [*sources.strings().values(), *sources.prose().values()]
    found = {key for text in texts for key in sources.cited(text)}
    found |= {key for keys in sources.rows().values() for key in keys}
    assert set(sources.references()) - found == set()


def test_the_list_is_whole():
    entries = sources.references()
    assert len({entry.title for entry in entries.values()}) == len(entries)
    numbers = [number for entry in entries.values() for number in entry.numbers]
    assert len(numbers) == len(set(numbers))
    assert {entry.mark for entry in entries.values()} == {"read", "code", "abstract", "quoted"}
    assert {key for key, entry in entries.items() if entry.mark == "read"} == set(sources.LECTURE.values())


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("LeCun, Denker and Solla 1990", ["lecun-1990"]),
        ("Kingma and Ba 2015 in PyTorch's form", ["kingma-ba-2015"]),
        ("Kingma, Salimans, Welling 2015", ["kingma-2015"]),
        ("Wang, Zhang, Xie, Hu 2020, Pruning from scratch", ["wang-2020"]),  # and not a Zhang of 2020
        ("Luo, Wu and Lin 2017 (arXiv 1707.06342)", ["luo-2017"]),  # and not a Lin of 2017
        ("as He says. In 2017 nobody", []),
        ("doi:10.1007/BF00992698.", ["watkins-1992"]),
    ],
)
def test_citations_are_told_from_other_words(text, keys):
    assert sources.cited(text) == keys


def test_an_entry_of_another_form_is_refused(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "references.md").write_text("(ref-x-2000)=\nX 2000. A title.\n", encoding="utf-8")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"^book/references.md has an entry of another form than"):
        sources.references.__wrapped__()


# ---- verification ----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_counts_of_verification_are_those_of_the_house():
    page = verification.page()
    assert f"**{len(ledger.STATEMENTS)} statements**" in page
    names = [path.stem for path in MUTANTS.glob("*.py")]
    found = [each for name in names for each in importlib.import_module(f"mutants.{name}").MUTANTS]
    assert f"**{len(found)} mutants**" in page
    functions, files = verification.tests()
    assert functions > 2000 and files > 150 and f"**{functions:,} test functions** in {files} files" in page
