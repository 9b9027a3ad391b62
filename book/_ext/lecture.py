"""The extension that makes a book of plain notebooks, plain docstrings and plain Markdown.

`words` links what prose names, `notebooks` folds and captions, `docstrings` shows ASCII mathematics as it is meant,
`indices` does so for indices and exponents, `names` knows where every public name is documented, `api` writes the API
pages.
"""

import re
from pathlib import Path

import docstrings
import indices
import names
import words
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import notebooks
from pruning import ledger

MATHEMATICS = ("_generated/ledger", "_generated/slides", "_generated/verification")
"""Pages whose plain text has formulas, beside the API's."""


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrite a page while it is read."""
    links: words.Links = app.links
    if docname.startswith("notebooks/") and "/answers/" not in docname:
        here = Path(docname).name.partition("_")[0]
        app.alternatives[docname] = notebooks.texts(source[0])
        source[0] = notebooks.chapter(source[0], here, links)
    elif not docname.startswith("api/"):
        here = Path(docname).name if "/answers/" in docname else None
        text = links.page(source[0], here, rows=docname != "_generated/ledger")
        source[0] = f"---\norphan: true\n---\n{text}" if here else text


def pictured(app: Sphinx, document) -> None:
    """Give the pictures of a notebook their texts and captions."""
    alternatives = app.alternatives.pop(app.env.docname, None)
    if alternatives is not None:
        notebooks.figures(document, alternatives)


def read_as_mathematics(app: Sphinx, document) -> None:
    """Show the ASCII mathematics of docstrings and of the ledger as mathematics, and keep numbers in one piece."""
    if app.env.docname.startswith(("api/", *MATHEMATICS)):
        indices.indexed(document)
    indices.tables(document)


def docstring(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Rewrite a docstring, before napoleon does."""
    docstrings.mathematics(what, name, obj, lines)


def signature(app: Sphinx, what: str, name: str, obj, options, text: str | None, back: str | None):
    """Show a signature as its source has it: Array, not what Array stands for."""
    return docstrings.signature(what, obj) or (text, back)


def annotated(app: Sphinx, document) -> None:
    """Link the names in signatures as the module means them, which has imported them; others are plain text."""
    for reference in list(document.findall(addnodes.pending_xref)):
        if reference.hasattr("refspecific") and any(
            isinstance(each, addnodes.desc_signature) for each in parents(reference)
        ):
            place = docstrings.annotation(reference["reftarget"], reference.get("py:module"))
            if place is None:
                reference.replace_self(reference.children)
            else:
                reference["reftarget"] = place
                del reference["refspecific"]  # Sphinx takes any value of it for "search"


def parents(node: nodes.Node) -> list[nodes.Node]:
    """Return all that a node stands in."""
    out = []
    while node.parent is not None:
        node = node.parent
        out.append(node)
    return out


def back(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Lead from a page of source to the entries, which stand under their public paths."""
    if not pagename.startswith("_modules/") or "body" not in context:
        return
    module = pagename.removeprefix("_modules/").replace("/", ".")

    def entry(found: re.Match) -> str:
        try:
            place = names.target(f"{module}.{found[2]}")
        except LookupError:  # an attribute that only instances have
            place = None
        return f"{found[1]}{place}{found[3]}" if place else found[0]

    pattern = r'(<div class="viewcode-block" id="([^"]+)">\s*<a class="viewcode-back" href="[^"#]*#)[^"]*(")'
    context["body"] = re.sub(pattern, entry, context["body"])


def sidebar(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Make the list of pages once for all pages of a folder that are not in it: none of its lines is marked there.

    The theme asks for the whole list on every page, and most pages (source, modules, answers) are not in it.
    """
    if "toctree" not in context or any(pagename in pages for pages in app.env.toctree_includes.values()):
        return
    whole, made = context["toctree"], app.sidebars
    folder = pagename.rpartition("/")[0]  # links are relative

    def kept(**asked) -> str:
        key = (folder, *sorted(asked.items()))
        if key not in made:
            made[key] = whole(**asked)
        return made[key]

    context["toctree"] = kept


def begin(app: Sphinx) -> None:
    """Read what may be linked."""
    rows = frozenset(each.id for each in ledger.chosen([]))
    app.links = words.Links(app.config.lecture_headings, rows)
    app.alternatives = {}
    app.sidebars = {}
    app.config.html_static_path.append(str(Path(app.srcdir, "_static")))  # MathJax, which is not committed


def setup(app: Sphinx) -> dict:
    """Connect all this."""
    app.add_config_value("lecture_headings", {}, "env")
    app.connect("builder-inited", begin)
    app.connect("html-page-context", back)
    app.connect("html-page-context", sidebar, priority=400)  # before the theme
    app.connect("source-read", read)
    app.connect("doctree-read", pictured)
    app.connect("doctree-read", annotated)
    app.connect("doctree-read", read_as_mathematics)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": False}
