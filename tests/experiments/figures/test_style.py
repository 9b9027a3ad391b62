"""What the figures of all experiments share."""

import ast
from pathlib import Path

import numpy as np
import pytest

from pruning.experiments import figures
from pruning.experiments.figures import style

FILES = sorted(Path(figures.__file__).parent.glob("*.py"))


@pytest.fixture
def axis():
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots()
    yield axis
    plt.close(figure)


def test_a_line_is_the_median_and_a_band_reaches_from_the_lowest_to_the_highest_seed(axis):
    values = np.array([[1.0, 5.0], [2.0, 1.0], [9.0, 3.0]])
    style.median_line(axis, [10, 20], values, style.BLUE, "three seeds", "o", linestyle="--")
    (line,), (band,) = axis.lines, axis.collections
    assert line.get_ydata().tolist() == [2, 3] and line.get_linestyle() == "--" and line.get_marker() == "o"
    corners = band.get_paths()[0].vertices
    assert {tuple(corner) for corner in corners.tolist()} >= {(10, 1), (10, 9), (20, 1), (20, 5)}
    style.median_line(axis, [10, 20], values[:1], style.BLUE, "one seed")
    assert len(axis.lines) == 2 and len(axis.collections) == 1


def test_titles_name_the_seeds_in_order():
    records = [{"spec": {"seed": seed, "data": "digits", "activation": "relu", "hidden": [4, 3]}} for seed in (2, 0)]
    assert style.seed_list(records) == "seeds 0, 2" and style.seed_list(records[:1]) == "seed 2"
    assert style.perceptron_title(records) == "digits, relu net with 4-3 hidden units, seeds 0, 2"


def test_every_label_has_one_entry_in_the_legend(axis):
    for label in ("a", "b", "a"):
        axis.plot([0, 1], [0, 1], label=label)
    style.legend_without_doubles(axis)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]


def test_axes(axis):
    axis.plot([1, 2], [1, 30])
    style.logarithmic(axis)
    assert axis.get_yscale() == "log" and axis.yaxis.get_major_locator()._subs.tolist() == [1, 2, 5]
    style.change_of_E(axis)
    assert axis.get_yscale() == "symlog" and len(axis.lines) == 2


def test_a_figure_is_saved_whole_or_not_at_all(tmp_path, axis):
    path = style.save(axis.figure, tmp_path / "new" / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG") and list(path.parent.iterdir()) == [path]
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        axis.figure.savefig = lambda *a, **k: 1 / 0
        style.save(axis.figure, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_colours_have_one_place_and_matplotlib_is_imported_where_something_is_drawn():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert path.name == "style.py" or not {
            colour for name, colour in vars(style).items() if name.isupper() and str(colour).startswith("#")
        } & set(text.split('"')), path.name
        top = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not any("matplotlib" in ast.unparse(node) for node in top)
