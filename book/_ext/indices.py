"""ASCII mathematics in running text: x_g and 2^n get a real index and a real exponent, sum_g a sign.

Docstrings and the ledger are plain text; code, formulas in dollars and signatures are left as they are.
"""

import re

import docstrings
from docutils import nodes
from sphinx import addnodes

BRACKETS = r"\{[^{}]*\}|\([^()\s]{1,9}\)"
MARK = re.compile(
    r"(?P<base>\b(?:[A-Za-z]|sum|max|min|lam|lambda|beta|gamma|norm|factor|shift|step|du|KL|nu|dW)(?=_)|[\])‖∂}ₐ-ₜ](?=_)|(?<=∂)[a-zA-Z](?=_))"
    rf"_(?P<below>{BRACKETS}|[A-Za-z0-9]{{1,3}}(?![A-Za-z0-9_(]|\.\w))"
    rf"|\^(?P<above>{BRACKETS}|-?[A-Za-z]+(?![A-Za-z0-9_(])|-?\d+(?:/\d+)?)"
)
LEFT = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.reference, nodes.strong)
CODE = (*LEFT, addnodes.desc_signature, addnodes.pending_xref, addnodes.literal_strong, nodes.title)


def indexed(document: nodes.document) -> None:
    """Give the running text of a page its signs, indices and exponents."""
    for text in list(document.findall(nodes.Text)):
        if not inside(text, CODE):
            found = pieces(docstrings.signs(text.astext()))
            if len(found) > 1 or found[0].astext() != text.astext():
                text.parent.replace(text, found)


def pieces(text: str) -> list[nodes.Node]:
    """Return a text as nodes: what stands below or above the line, and the rest."""
    out: list[nodes.Node] = []
    end = 0
    for found in MARK.finditer(text):
        base = "Σ" if found["base"] == "sum" else found["base"] or ""
        kind, what = (nodes.subscript, found["below"]) if found["below"] else (nodes.superscript, found["above"])
        out += [nodes.Text(text[end : found.start()] + base), kind("", what.strip("{}"))]
        end = found.end()
    return [*out, nodes.Text(text[end:])]


def inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    """Whether a node stands in one of these."""
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False


FIGURES = r"\d(?:[\d.,e+-]*\d)?"
SIZE = re.compile(rf"[+-]?\d[\d.,]*e[+-]\d+(?: ± {FIGURES})?|[+-]?{FIGURES} ± {FIGURES}|(?<![\w-])-{FIGURES}")
"""A number that a browser would break at its sign."""


def tables(document: nodes.document) -> None:
    """Keep the numbers of tables in one piece, and give cells with sentences in them a width to be read at."""
    for cell in document.findall(nodes.entry):
        if len(cell.astext()) > 100:
            cell["classes"].append("long")
        for text in list(cell.findall(nodes.Text)):
            if SIZE.search(text) and not inside(text, (nodes.math, nodes.literal_block)):
                whole(text)


def whole(text: nodes.Text) -> None:
    """Put the numbers of a text into spans."""
    out: list[nodes.Node] = []
    end = 0
    for found in SIZE.finditer(text):
        out += [nodes.Text(text[end : found.start()]), nodes.inline("", found[0], classes=["number"])]
        end = found.end()
    text.parent.replace(text, [*out, nodes.Text(text[end:])])
