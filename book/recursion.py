"""Draw the picture of README: the recursion, the four lines that are it, and the errors that the ledger measures.

``python book/recursion.py`` writes book/_static/recursion.svg.  The lines are read from the two layers, the errors from
the ledger, and all of the text stands in the picture's description: a test holds it equal to today's.
"""

import inspect
import re
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import nn  # noqa: E402
from pruning import ledger  # noqa: E402

PICTURE = HERE / "_static" / "recursion.svg"
RECURSION = (
    r"$\frac{\partial^2 E}{\partial a_i^2}\;\approx\;f\,'(a_i)^2\,\sum_l w_{li}^2\,\frac{\partial^2 E}{\partial a_l^2}"
    r"\;+\;f\,''(a_i)\,\frac{\partial E}{\partial x_i}$"
)
STEPS = (
    (
        nn.Linear,
        r"$\frac{\partial^2 E}{\partial x_i^2}\;\approx\;\sum_l w_{li}^2\,\frac{\partial^2 E}{\partial a_l^2}$",
    ),
    (
        nn.Activation,
        r"$\frac{\partial^2 E}{\partial a_i^2}\;=\;f\,'(a_i)^2\,\frac{\partial^2 E}{\partial x_i^2}"
        r"\;+\;f\,''(a_i)\,\frac{\partial E}{\partial x_i}$",
    ),
)


def lines(layer: type) -> list[str]:
    """Return the two lines of a layer's ``backward_hessian``, without docstring and check."""
    source = inspect.getsource(layer.backward_hessian)
    body = re.sub(r'""".*?"""', "", source[source.index(":\n") + 1 :], flags=re.S)
    return [line for line in textwrap.dedent(body).splitlines() if line and not line.startswith("check_")]


def errors() -> list[str]:
    """Return what the ledger measures: one step, its usual mistakes, and whole nets."""
    step, nets = (ledger.run(each) for each in ledger.chosen(["S0-F5a", "S0-F5b"]))
    nearest, farthest = (f([each.error for each in step.wrong]) for f in (min, max))
    small, large = (f([each.error for each in nets.wrong]) for f in (min, max))
    return [
        f"one step, against the complex step of backward: error {step.error:.0e};"
        f" {len(step.wrong)} usual mistakes are off by {nearest:.2g} to {farthest:.2g}",
        "whole nets: exact in the last two layers of weights (under a softmax in the last alone);"
        f" further back it is off by {small:.2g} to {large:.2g}",
    ]


def text(measured: list[str]) -> str:
    """Return all that the picture says in words, and its lines of code."""
    return "\n".join([*(line for layer, _ in STEPS for line in lines(layer)), *measured])


def draw(path: Path) -> None:
    """Draw the formulas beside their lines, and the errors below."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "recursion", "mathtext.fontset": "cm"})
    import matplotlib.pyplot as plt

    measured = errors()
    figure = plt.figure(figsize=(9.2, 3.3), facecolor="white")
    figure.text(0.5, 0.84, RECURSION, fontsize=22, ha="center", va="center")
    for k, (layer, formula) in enumerate(STEPS):
        y = 0.54 - 0.25 * k
        figure.text(0.02, y, formula, fontsize=16, va="center", color="#1f4e79")
        figure.text(0.39, y + 0.085, f"{layer.__name__}.backward_hessian", fontsize=9, va="center", color="#666666")
        figure.text(0.39, y - 0.02, "\n".join(lines(layer)), fontsize=10, va="center", family="monospace",
                    linespacing=1.5)  # fmt: skip
    figure.text(0.02, 0.08, "\n".join(measured), fontsize=10, va="center", color="#7a2e0e", linespacing=1.5)
    figure.savefig(path, metadata={"Date": None, "Description": text(measured)})
    plt.close(figure)


if __name__ == "__main__":
    draw(PICTURE)
    print(text(errors()))
