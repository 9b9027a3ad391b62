"""A notebook becomes a chapter while it is read: labels, links, folds, captions.  The file stays as it is."""

import json
import re

import words
from docutils import nodes


def chapter(source: str, here: str, links: words.Links) -> str:
    """Return the text of a notebook with links in its prose and folded scaffolding; `here` is its number."""
    notebook = json.loads(source)
    exercises = False
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            found = re.findall(r"^#{1,2} (.*)$", text, re.M)
            exercises = "Exercises" in found[-1] if found else exercises
            cell["source"] = labelled(links.page(text, here), here)
        elif exercises:
            fold(cell, "hide-cell", "The code behind the answers")
        elif "scaffold" in cell["metadata"].get("tags", []):
            fold(cell, "hide-input", "Imports, checks and drawing")
    return json.dumps(notebook)


def labelled(text: str, here: str) -> str:
    """Put a label before the title and before every numbered section."""
    text = re.sub(
        r"^(#{2,3} (\d+(?:\.\d+)?)\.? )",
        lambda found: f"({words.label(here, found[2])})=\n{found[1]}",
        text,
        flags=re.M,
    )
    return re.sub(r"^# ", f"(nb{here})=\n# ", text, count=1, flags=re.M)


def fold(cell: dict, tag: str, prompt: str) -> None:
    """Fold a code cell; the prompt says what is behind it."""
    cell["metadata"] = {**cell["metadata"], "tags": [tag], "mystnb": {"code_prompt_show": prompt}}


def texts(source: str) -> list[str]:
    """Return the alternative texts of a notebook's pictures, in order."""
    return [
        output["metadata"].get("image/png", {}).get("alt", "")
        for cell in json.loads(source)["cells"]
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]


def figures(document: nodes.document, alternatives: list[str]) -> None:
    """Give every picture its alternative text, and make the paragraph of the output behind it its caption."""
    pictures = [
        image
        for output in document.findall(
            lambda node: isinstance(node, nodes.container) and "cell_output" in node["classes"]
        )
        for image in output.findall(nodes.image)
    ]
    if len(pictures) != len(alternatives):
        raise ValueError(f"{document['source']}: {len(alternatives)} pictures, {len(pictures)} of them on the page")
    for k, (picture, text) in enumerate(zip(pictures, alternatives), 1):
        picture["alt"] = text
        below = following(picture)
        figure = nodes.figure("", picture.deepcopy(), ids=[f"picture-{k}"])
        if below is not None:
            figure += nodes.caption("", "", *[child.deepcopy() for child in below.children[0].children])
            below.parent.remove(below)
        picture.replace_self(figure)


def following(picture: nodes.image) -> nodes.paragraph | None:
    """Return the paragraph in italics of the output behind a picture's, if there is one."""
    output: nodes.Node = picture
    while output.parent is not None and "cell_output" not in output.parent.get("classes", []):
        output = output.parent
    if output.parent is None:
        return None
    outputs = output.parent.children
    for paragraph in [p for each in outputs[outputs.index(output) + 1 :][:1] for p in each.findall(nodes.paragraph)]:
        if len(paragraph.children) == 1 and isinstance(paragraph.children[0], nodes.emphasis):
            return paragraph
    return None
