"""The methods: what each is, its module, the notebooks' sections, the source, the ledger's rows."""

import itertools
import re

import rooms
import sources
from pages import pictures


def page() -> str:
    """Return the page; every link is made from what the modules, the notebooks and the ledger say."""
    methods = rooms.methods()
    rest = [each for each in rooms.modules().values() if each.module not in methods]
    out = [
        "(methods)=\n# Methods\n",
        f"Every method is one file, and lies in one of {len(rooms.rooms())} folders, which we call rooms. The"
        f" {len(methods)} methods here come from a paper or a lecture. Each entry names the module, whose page has the"
        " formulas, the shapes and the errors that it raises; the sections of notebooks where the method is derived or"
        " used; the source; and the rows of the ledger that put it on trial. The way back, from a source to what uses"
        " it, is [a page of its own](cited.md).\n",
        "| method | source | notebooks | rows of the ledger |",
        "|---|---|---|---|",
        *(line(each) for each in methods.values()),
    ]
    for room, says in rooms.rooms().items():
        inside = [each for each in methods.values() if each.module.startswith(f"pruning.{room}.")]
        out += [f"\n## {room.capitalize()}: {escaped(says)}\n", f"The room is `pruning.{room}`.\n", *map(entry, inside)]
    out += [
        "\n## What they stand on\n",
        "Files of the same rooms that are no methods of a source, but parts that the methods share.\n",
        *(f"* `{each.module}`: {escaped(each.claim[0].lower() + each.claim[1:])}" for each in rest),
    ]
    return "\n".join(out) + "\n"


def line(each: rooms.Method) -> str:
    """Return the row of a method in the table."""
    papers = ", ".join(sources.references()[key].short for key in each.sources)
    books = ", ".join(f"[{number}](#nb{number})" for number, _ in itertools.groupby(place[0] for place in each.places))
    return f"| [{escaped(each.title)}](#{each.label}) | {papers} | {books} | {len(each.rows)} |"


def entry(each: rooms.Method) -> str:
    """Return the section of a method."""
    papers = ", ".join(f"[{sources.references()[key].short}](#ref-{key})" for key in each.sources)
    rows = ", ".join(f"[{row}](#{row.lower()})" for row in each.rows)
    drawn = each.module.removeprefix("pruning.") in pictures.PANELS
    picture = f"\n* [In a picture](#picture-{each.label.removeprefix('method-')})" if drawn else ""
    return "\n".join(
        [
            f"\n({each.label})=\n### {escaped(each.title)}\n",
            f"{escaped(each.claim)}\n",
            f"* Module: `{each.module}`",
            f"* Notebooks: {sections(each.places)}",
            f"* Source: {papers}{picture}",
            f"* Ledger: {rows}\n",
        ]
    )


def sections(places: tuple[tuple[str, str], ...]) -> str:
    """Return the notebooks and their sections as links."""
    out = []
    for number, found in itertools.groupby(places, lambda place: place[0]):
        links = [f"[{s}](#nb{number}-s{s.replace('.', '-')})" for _, s in found if s]
        out.append(f"notebook {number}" + (f", section{'s' * (len(links) > 1)} {', '.join(links)}" if links else ""))
    return "; ".join(out)


def escaped(text: str) -> str:
    """Return plain text as Markdown."""
    return re.sub(r"([*_<$|\[\]])", r"\\\1", text)
