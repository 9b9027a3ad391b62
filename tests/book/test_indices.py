"""ASCII mathematics of running text as HTML shows it, and numbers in one piece."""

import pytest

pytest.importorskip("sphinx", reason="Sphinx is not installed (extra book)")
import indices
from docutils import nodes


def shown(text):
    """Return a text with its indices between < and >, its exponents between { and }."""
    marks = {nodes.subscript: "<{}>", nodes.superscript: "{{{}}}"}
    return "".join(marks.get(type(each), "{}").format(each.astext()) for each in indices.pieces(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lam sum_g w_g ‖beta_g‖.", "lam Σ<g> w<g> ‖beta<g>‖."),
        ("‖x‖_p and [H]_qq", "‖x‖<p> and [H]<qq>"),
        ("2^n, (i / rounds)^(1/p), R^{-T} s, A^1/2", "2{n}, (i / rounds){(1/p)}, R{-T} s, A{1/2}"),
        ("x_{k-1} and X_gᵀ", "x<k-1> and X<g>ᵀ"),
        ("W^(g) is a block", "W{(g)} is a block"),
        ("learning_rate, n_pixels, x_i.py, he_normal", "learning_rate, n_pixels, x_i.py, he_normal"),
    ],
)
def test_indices_and_exponents(text, expected):
    assert shown(text) == expected


def cell(text):
    entry = nodes.entry("", nodes.paragraph("", text))
    document = nodes.section("", entry)
    indices.tables(document)
    return entry


@pytest.mark.parametrize("text", ["3e-05", "-1.30 ± 0.61", "+2.0e-05 ± 1e-05", "-0.5", "4.1 ± 0.2"])
def test_a_number_stays_in_one_piece(text):
    assert [each.astext() for each in cell(f"off by {text}; more").findall(nodes.inline)] == [text]


def test_words_with_a_hyphen_may_break_and_long_cells_are_wide():
    assert list(cell("LeNet-5 of im2col-1").findall(nodes.inline)) == []
    assert cell("word " * 21)["classes"] == ["long"] and cell("word")["classes"] == []
