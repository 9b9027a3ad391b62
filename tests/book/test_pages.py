"""The built book as files: links and anchors, pictures, formulas, entries, size."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "book" / "_ext"))
import names  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.book]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What a page links to, what it may be linked by, its pictures and its formulas."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.pictures, self.formulas = [], set(), [], 0
        self.figures, self.captions, self.inside = 0, 0, False
        self.listed, self.marked, self.beside = [], [], 0  # the list of pages, and which of its lines are marked
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found["href"]] if tag == "a" and found.get("href") else []
        self.pictures += [found] if tag == "img" and "_images" in found["src"] else []
        self.figures += tag == "figure"
        self.captions += tag == "figcaption"
        self.inside = self.inside or tag == "article"  # contents in the margin repeat what stands in headings
        if self.beside or "sidebar-tree" in (found.get("class") or ""):
            self.beside += tag not in VOID
            self.marked += [found] if tag == "li" and "current-page" in found.get("class", "") else []
            self.listed += [found["href"]] if tag == "a" else []
        self.formulas += self.inside and "math" in (found.get("class") or "").split() and tag in ("span", "div")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "article"
        self.beside -= self.beside > 0


@pytest.fixture(scope="module")
def pages(book):
    return {path: Page(path.read_text(encoding="utf-8")) for path in book.rglob("*.html")}


def test_every_internal_link_leads_somewhere(book, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            ):
                broken.append((str(path.relative_to(book)), link))
    assert broken == []


def test_the_list_beside_a_page_is_the_same_everywhere_and_marks_this_page(book, pages):
    def listed(path):
        return [path if link == "#" else (path.parent / unquote(link)).resolve() for link in pages[path].listed]

    expected = listed(book / "index.html")
    assert len(expected) > 50 and len(set(expected)) == len(expected)
    for path in pages:
        name = str(path.relative_to(book))
        assert listed(path) == expected, name
        assert len(pages[path].marked) == pages[path].listed.count("#") == (path in expected), name


def test_every_picture_has_a_text_and_every_figure_a_caption(book, pages):
    for path, page in pages.items():
        name = str(path.relative_to(book))
        assert [each.get("src") for each in page.pictures if len((each.get("alt") or "").strip()) < 20] == [], name
        assert page.captions == page.figures, name
    drawn = sum(len(page.pictures) for path, page in pages.items() if path.parent.name == "notebooks")
    images = 0
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        images += sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    assert drawn == images > 0


def test_every_formula_of_a_source_is_one_on_its_page(book, pages, formulas):
    found = {str(path.relative_to(book))[:-5]: page.formulas for path, page in pages.items()}
    assert {name: n for name, n in found.items() if n} == {name: n for name, n in formulas.items() if n}
    assert sum(found.values()) > 3000


def test_every_public_name_has_an_entry_and_every_statement_an_anchor(book, pages):
    from pruning.ledger import STATEMENTS

    ids = {each for path, page in pages.items() if path.parent.name == "api" for each in page.ids}
    assert [name for name in names.documented() if name not in ids] == []
    anchors = pages[book / "_generated" / "ledger.html"].ids
    assert [each.id for each in STATEMENTS if each.id.lower() not in anchors] == []


def test_an_entry_leads_to_its_source_and_its_notebooks(book):
    text = (book / "api" / "nn.linear.html").read_text(encoding="utf-8")
    assert "_modules/nn/linear.html#Linear" in text
    assert re.search(r"Used in notebooks.*?02_optimal_brain_damage", text, re.S)


def test_prose_is_linked(book, pages):
    links = [(path.parent.name, urlsplit(link)) for path, page in pages.items() for link in page.links]
    assert sum(link.fragment.startswith("nb") for _, link in links) > 500
    assert sum("api/" in link.path and "." in link.fragment for folder, link in links if folder != "api") > 500
    assert sum("ledger" in link.path and bool(link.fragment) for _, link in links) > 250


def test_answers_stand_on_pages_of_their_own(book, pages):
    for path in (ROOT / "notebooks" / "answers").glob("*.md"):
        page = book / "notebooks" / "answers" / f"{path.stem}.html"
        notebook = next((book / "notebooks").glob(f"{path.stem}_*.html"))
        assert f"answers/{page.name}" in pages[notebook].links


def test_size(book):
    assert sum(path.stat().st_size for path in book.rglob("*") if path.is_file()) <= 60e6
