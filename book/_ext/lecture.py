"""The extension that makes a book of plain notebooks, plain docstrings and plain Markdown.

`words` links what prose names, `notebooks` folds and captions, `docstrings` shows ASCII mathematics as it is meant,
`names` knows where every public name is documented, `api` writes the API pages.
"""

from pathlib import Path

import docstrings
import notebooks
import words
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from pruning import ledger


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite a page while it is read."""
    links: words.Links = app.links
    if docname.startswith("notebooks/") and "/answers/" not in docname:
        here = Path(docname).name.partition("_")[0]
        app.alternatives[docname] = notebooks.texts(source[0])
        source[0] = notebooks.chapter(source[0], here, links)
    elif not docname.startswith("api/"):
        here = Path(docname).name if "/answers/" in docname else None
        source[0] = links.page(source[0], here, rows=docname != "_generated/ledger")


def pictured(app: Sphinx, document) -> None:
    """Give the pictures of a notebook their texts and captions."""
    alternatives = app.alternatives.pop(app.env.docname, None)
    if alternatives is not None:
        notebooks.figures(document, alternatives)


def docstring(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Rewrite a docstring, before napoleon does."""
    docstrings.mathematics(what, name, obj, lines)


def signature(app: Sphinx, what: str, name: str, obj, options, text: str | None, back: str | None):
    """Show a signature as its source has it: Array, not what Array stands for."""
    return docstrings.signature(what, obj) or (text, back)


def annotated(app: Sphinx, document) -> None:
    """Link the names in signatures as the module means them, which has imported them; others are plain text."""
    for reference in list(document.findall(addnodes.pending_xref)):
        if reference.get("refspecific") and any(isinstance(each, addnodes.desc_signature) for each in parents(reference)):
            place = docstrings.annotation(reference["reftarget"], reference.get("py:module"))
            if place is None:
                reference.replace_self(reference.children)
            else:
                reference["reftarget"], reference["refspecific"] = place, False


def parents(node: nodes.Node) -> list[nodes.Node]:
    """Return all that a node stands in."""
    out = []
    while node.parent is not None:
        node = node.parent
        out.append(node)
    return out


def begin(app: Sphinx) -> None:
    """Read what may be linked."""
    rows = frozenset(each.id for each in ledger.chosen([]))
    app.links = words.Links(words.headings(Path(app.srcdir, "notebooks")), rows)
    app.alternatives = {}


def end(app: Sphinx, exception: Exception | None) -> None:
    """Say how many links there are."""
    if exception is None:
        Path(app.outdir, ".links").write_text(" ".join(f"{k}={v}" for k, v in app.links.counts.items()), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Connect all this."""
    app.connect("builder-inited", begin)
    app.connect("source-read", read)
    app.connect("doctree-read", pictured)
    app.connect("doctree-read", annotated)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    app.connect("build-finished", end)
    return {"parallel_read_safe": False}
