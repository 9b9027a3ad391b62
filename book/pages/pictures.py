"""Pruning in pictures: which weights, filters, channels and blocks go, method by method, on nets trained in seconds.

book/panels/ has a file a room, and in it a function a picture.  It returns the figure and the numbers of its words; its
docstring is these words: the caption and, behind "Seen:", what somebody is told who does not see it.
"""

import re
from collections.abc import Callable
from pathlib import Path

import rooms
from panels import architectures, dynamic, penalties, pipeline, random_gates, reconstruction, scores, sparse, surgery
from panels.drawing import Drawn
from panels.nets import SIZES

SOURCES = ("nn", "textbook", "pruning", "book/panels", "book/rooms.py", "book/sources.py", "notebooks/results")
FOLDER = Path(__file__).resolve().parent.parent / "_generated" / "pictures"
PANELS: dict[str, Callable[[], Drawn]] = {
    name: draw
    for room in (
        *(scores, pipeline, penalties, random_gates, reconstruction),
        *(architectures, dynamic, surgery, sparse),
    )
    for name, draw in room.PANELS.items()
}
"""The pictures, in the order of the page, by the module below pruning."""


def page(folder: Path = FOLDER) -> str:
    """Draw all pictures into a folder beside the page, and return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    out = [
        "(pictures)=\n# Pruning in pictures\n",
        f"One picture for each of {len(PANELS)} methods: what goes, on a net before and after. They are drawn when the"
        " book is built, by `book/panels/`, on nets that it trains in seconds on the digits (a perceptron"
        f" {'-'.join(map(str, SIZES))} and three convolutions), or from the records. In matrices red is positive and"
        " blue negative, and the stronger the color, the larger the number; even gray is gone. One net is one net: what"
        " a method is worth stands in the [results](results.md). Accuracies are those on the test images.\n",
    ]
    room = ""
    for name, draw in PANELS.items():
        if name.partition(".")[0] != room:
            room = name.partition(".")[0]
            out.append(f"\n## {room.capitalize()}\n")
        out.append(entry(name, draw, folder))
    return "\n".join(out) + "\n"


def entry(name: str, draw: Callable[[], Drawn], folder: Path) -> str:
    """Draw a picture, and return its section; a ValueError names the picture whose net or record lacks something."""
    import matplotlib.pyplot as plt

    method = rooms.modules()[f"pruning.{name}"]
    slug = method.label.removeprefix("method-")
    with plt.rc_context({"font.size": 12, "axes.titlesize": 12, "savefig.dpi": 110}):  # to be read on a telephone, too
        try:
            figure, numbers = draw()
            caption, alt = words(draw, numbers)
        except (LookupError, StopIteration) as error:
            raise ValueError(f"the picture of pruning.{name} finds no {error} in what it is drawn from") from error
        figure.savefig(folder / f"{slug}.png", metadata={"Software": None})
    plt.close(figure)
    return "\n".join(
        [
            f"\n### {method.title}\n",
            f"```{{figure}} pictures/{slug}.png\n:name: picture-{slug}\n:alt: {alt}\n",
            f"{caption} [The method](#{method.label}).\n```\n",
        ]
    )


def words(draw: Callable[[], Drawn], numbers: dict[str, object]) -> tuple[str, str]:
    """Return the caption and the alternative text of a picture, with its numbers in their places."""
    text = re.sub(r"(?<=\d)%", " %", str(draw.__doc__).format(**numbers))
    caption, _, alt = text.partition("\n\n    Seen: ")
    return " ".join(caption.split()), " ".join(alt.split())
