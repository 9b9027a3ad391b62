"""The problem sets of the course: what each exercise asks, and where it stands in the lecture."""

import importlib

from course import SETS


def page() -> str:
    """Return a table for each problem set."""
    sets = [importlib.import_module(f"course.{name}.exercises").SET for name in SETS]
    out = [
        "# The problem sets",
        "",
        f"{len(sets)} sets, {sum(len(each.exercises) for each in sets)} exercises. A row says what the student writes,"
        " the formula (as feedback prints it), where to read, and how many wrong forms are told apart. How to hand a"
        " set out and grade it is said [for the lecturer](../course.md).",
    ]
    for each in sets:
        out += [
            "",
            f"## {each.name}: {each.title}",
            "",
            "| exercise | function | formula | read | minutes | wrong forms |",
        ]
        out += ["|---|---|---|---|---|---|"]
        for one in each.exercises:
            formula = one.formula.replace("|", r"\|")
            cells = (one.id, f"`{one.function}`", f"``{formula}``", one.section, str(one.minutes), str(len(one.wrong)))
            out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"
