"""The gallery: every method in a picture, whose words say what it shows with numbers that were computed."""

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]
pytest.importorskip("sphinx", reason="sphinx is not installed (extra book)")
import rooms  # noqa: E402
import sources  # noqa: E402
from pages import methods, pictures  # noqa: E402
from panels import drawing, nets  # noqa: E402

NAMES = list(pictures.PANELS)


def test_every_method_has_a_picture_and_links_to_it():
    assert {f"pruning.{name}" for name in NAMES} == set(rooms.methods())
    for name in NAMES:
        method = rooms.methods()[f"pruning.{name}"]
        slug = method.label.removeprefix("method-")
        assert f"[In a picture](#picture-{slug})" in methods.entry(method)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_of_its_words_is_typed(name):
    words = str(pictures.PANELS[name].__doc__)
    caption, seen, alt = words.partition("\n\n    Seen: ")
    assert seen and len(caption.split()) >= 12 and len(alt.split()) >= 8
    assert caption.strip()[-1] in ".?" and alt.strip()[-1] == "."
    typed = re.findall(r"(?<![A-Za-z])\d[\d.,]*", re.sub(r"\{[^{}]*\}", "", words))
    assert typed == [], f"{typed} should be computed and stand in braces"


def texts(figure):
    """Yield the titles, the names of the axes and the legends of a figure with the boxes that they fill."""
    figure.canvas.draw()
    for axis in figure.axes:
        legend = axis.get_legend()
        parts = [axis.title, axis.xaxis.label, axis.yaxis.label, *(legend.get_texts() if legend else ())]
        for text in parts:
            if text.get_visible() and text.get_text():
                yield text.get_text(), text.get_window_extent()


def cut_off_or_overprinted(figure):
    """The texts of a figure that leave it, and the pairs of them that meet, by more than a pixel."""
    found, (width, height) = list(texts(figure)), figure.bbox.size
    out = [a for a, box in found if min(box.x0, box.y0) < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    pairs = [
        (a, b)
        for k, (a, one) in enumerate(found)
        for b, other in found[k + 1 :]
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]
    return out + pairs


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_with_its_words_and_nothing_else(name, tmp_path):
    numbers, unreadable = {}, []

    def drawn():
        figure, found = pictures.PANELS[name]()
        numbers.update(found)
        unreadable.extend(cut_off_or_overprinted(figure))
        return figure, found

    drawn.__doc__ = pictures.PANELS[name].__doc__
    text = pictures.entry(name, drawn, tmp_path)
    assert unreadable == []
    (path,) = tmp_path.glob("*.png")
    slug = rooms.modules()[f"pruning.{name}"].label.removeprefix("method-")
    assert path.stem == slug and path.stat().st_size < 100_000
    assert f"{{figure}} pictures/{slug}.png\n:name: picture-{slug}\n:alt: " in text
    assert f"[The method](#method-{slug})" in text and not re.search(r"[{}]", text.replace("{figure}", ""))
    plain = [value for value in numbers.values() if not isinstance(value, str)]
    assert all(np.isfinite(float(value)) for value in plain), "a number of its words is none"


def test_what_goes_is_gray_and_what_stays_keeps_its_place():
    W = np.array([[1.0, 0.0], [0.0, -2.0]])
    assert np.array_equal(np.isnan(drawing.without(W)), W == 0)
    assert np.array_equal(np.isnan(drawing.without(W, np.abs(W) < 2)), np.abs(W) < 2)
    rows = np.arange(1.0, 13.0).reshape(3, 4)
    grid = drawing.tiles(rows, 2, 2)
    assert grid.shape == (7, 7)
    assert [grid[1:3, 1:3].tolist(), grid[1:3, 4:6].tolist(), grid[4:6, 1:3].tolist()] == rows.reshape(3, 2, 2).tolist()
    assert np.isnan(grid[4:6, 4:6]).all() and np.count_nonzero(~np.isnan(grid)) == rows.size


@pytest.fixture(autouse=True, scope="module")
def read_once():
    """Fill what is kept of the repository before a test puts another folder in its place."""
    rooms.methods()


def recorded():
    """Return {name of a record: pictures that read it}, as their code says."""
    found = {}
    for name, draw in pictures.PANELS.items():
        for call in ast.walk(ast.parse(inspect.getsource(draw))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("record", "records"):
                found.setdefault(ast.literal_eval(call.args[0]), []).append(name)
    return found


@pytest.mark.parametrize("record", sorted(recorded()))
@pytest.mark.parametrize("content", [None, "", "{", "{}"], ids=["missing", "empty", "broken", "other"])
def test_a_record_that_is_missing_or_broken_is_named(record, content, tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "results"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / f"{record}.jsonl").write_text(content, encoding="utf-8")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    name = recorded()[record][0]
    with pytest.raises(ValueError) as error:
        pictures.entry(name, pictures.PANELS[name], tmp_path)
    said = str(error.value)
    expected = f"the picture of pruning.{name} finds no" if content == "{}" else f"notebooks/results/{record}.jsonl is"
    assert said.startswith(expected) and "\n" not in said


def test_a_net_without_the_layer_that_is_drawn_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(nets, "FIRST", "no.W")
    with pytest.raises(ValueError, match=r"^the picture of pruning.scores.magnitude finds no 'no.W' in"):
        pictures.entry("scores.magnitude", lambda: nets.array(nets.perceptron(), nets.FIRST), tmp_path)


def test_a_record_is_the_first_line_of_its_file(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "results"
    folder.mkdir(parents=True)
    (folder / "some.jsonl").write_text("\n".join(json.dumps({"seed": k}) for k in range(3)), encoding="utf-8")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    assert nets.record("some") == {"seed": 0} and len(nets.records("some")) == 3
