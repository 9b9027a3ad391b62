"""All notebooks by part, each with its question and its reading time."""

import json
import re
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
PARTS = {
    "00": "Doubt",
    "01": "What a weight is worth",
    "03": "Convolution",
    "04": "Sparse regression",
    "08": "Second derivatives, and nets pruned by them",
    "11": "Filters, groups and speed",
    "14": "Constraints",
    "16": "Channels: scores, refits, scales",
    "19": "Noise and gates",
    "22": "Small nets, adversaries, decisions",
    "25": "What pruning is worth",
}
"""Every part begins with the notebook of this number."""


def page() -> str:
    """Return a table of the notebooks for each part."""
    rows: dict[str, list[str]] = {}
    minutes, part = 0, ""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        number, first = (
            path.stem.partition("_")[0],
            "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]),
        )
        title = re.search(r"^# \w+ (.*)$", first, re.M)[1]
        said = int(re.search(r"Reading time: about (\d+) minutes", first)[1])
        part, minutes = PARTS.get(number, part), minutes + said
        cells = (
            number,
            f"[{title}](#nb{number})",
            question(first),
            said,
            f"[answers](../notebooks/answers/{number}.md)",
        )
        rows.setdefault(part, []).append(f"| {' | '.join(map(str, cells))} |")
    out = [
        "# The lecture",
        "",
        f"{sum(map(len, rows.values()))} notebooks in {len(rows)} parts. The minutes are those of careful reading at"
        " 150 words a minute and two minutes for each piece of code, exercises apart:"
        f" {minutes / 60:.0f} hours in all. Answers to the exercises stand on pages of their own.",
    ]
    for name, lines in rows.items():
        out += ["", f"## {name}", "", "| | notebook | what it asks | minutes | |", "|---|---|---|---|---|", *lines]
    return "\n".join(out) + "\n"


def question(first: str) -> str:
    """Return the first question of a notebook's opening and the sentence before it, or its first sentence."""
    text = " ".join(" ".join(each.split()) for each in first.split("\n\n")[1:4])
    text = re.sub(r"\*\*The question[.:]\*\* (\w)", lambda found: found[1].upper(), text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z\"$`*])", text)
    last = next((k for k, each in enumerate(sentences) if each.endswith("?")), 0)
    return " ".join(sentences[max(0, last - 1) : last + 1]).replace("|", r"\|")
