"""Slide by slide: which statements of the ledger a slide has, where they are derived, computed and exercised."""

import importlib
import re
from collections import defaultdict

from course import SETS
from pruning.ledger import STATEMENTS

TITLES = {
    "S0": 'Slides "Network Pruning": Optimal Brain Damage, and rethinking the value of pruning',
    "S1": 'Slides "Model 01: Pruning": sparse regression, structured sparsity, channel pruning',
    "S2": "A guide to the literature of 2019",
    "S3": "Ma et al. 2019: ADMM, purification, unused paths",
    "S4": "Li et al. 2017: pruning filters",
    "": "Papers that the slides name, and what is derived here",
}


def page() -> str:
    """Return a table for each source."""
    exercises = defaultdict(list)
    for name in SETS:
        for each in importlib.import_module(f"course.{name}.exercises").SET.exercises:
            for row in each.ledger if isinstance(each.ledger, tuple) else re.split(r",\s*", each.ledger):
                exercises[row].append(each.id)
    tables = defaultdict(list)
    for each in STATEMENTS:
        found = re.match(r"(S\d)(?:, |$)(.*)", each.where)
        source, slide = (found[1], found[2]) if found else ("", each.where)
        code = ", ".join(f"`{name.strip()}`" for name in each.code.split(","))
        cells = (slide, f"[{each.title}](#{each.id.lower()})", each.verdict, f"notebook {each.notebook}", code)
        row = [cell.replace("|", r"\|") for cell in cells] + [", ".join(exercises[each.id])]
        tables[source].append("| " + " | ".join(row) + " |")
    out = [
        "# Slide by slide",
        "",
        "A slide in the hand, and the question where it is derived: each row is a statement of the [ledger](ledger.md),"
        " with what became of it, the section of a notebook, the code and the exercises of the"
        " [problem sets](../course.md).",
    ]
    for source, title in TITLES.items():
        if tables[source]:
            out += ["", f"## {title}", "", "| slide or section | statement | printed is | read | code | exercises |"]
            out += ["|---|---|---|---|---|---|", *tables[source]]
    return "\n".join(out) + "\n"
