"""What a docstring has to say, so that its API page has a summary, parameters, shapes, errors and a source."""

import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "book" / "_ext"))
pytest.importorskip("sphinx", reason="Sphinx is not installed (extra book)")
import docstrings  # noqa: E402
import names  # noqa: E402
from usual import arguments, unsaid, unsaid_errors  # noqa: E402

SHAPE = re.compile(
    r"\((?:[^()\s]+,\s?)+[^()]*\)|\(\w+,\)|[Aa]ny shape|same shape|of the shape|of shape|[Ss]hapes?\b|"
    r"\{name: |\ba number\b|numbers?\b|indices|matri|vector|0-d|one a |label|entry|entries|flat"
)
SOURCE = re.compile(r"\b(?:18|19|20)\d\d\b|\bslides?\b|\bledger\b|[Dd]erived here|arXiv|doi")
METHODS = (
    "textbook",
    "pruning.scores",
    "pruning.penalties",
    "pruning.reconstruction",
    "pruning.architectures",
    "pruning.dynamic",
)
"""The rooms in which a module has its source in the literature."""


def lacks(path, value):
    """Return what the docstring of a public name does not say."""
    doc = inspect.getdoc(value) if inspect.isclass(value) or value.__doc__ else ""
    own = (value.__doc__ or "") + (
        getattr(value.__dict__.get("__init__"), "__doc__", None) or "" if inspect.isclass(value) else ""
    )
    module = inspect.getdoc(sys.modules[value.__module__]) or ""
    package = (
        inspect.getdoc(sys.modules[value.__module__.rpartition(".")[0]] if "." in value.__module__ else None) or ""
    )
    found = set()
    if not doc or not re.search(r"[.:?]$", doc.split("\n\n")[0].strip()):
        found.add("summary")
    if not isinstance(value, type) or "__dataclass_fields__" not in value.__dict__:
        unnamed = [each.name for each in arguments(value) if not re.search(rf"\b{re.escape(each.name)}\b", own)]
        elsewhere = re.search(r"[Aa]rguments[^.]*(?:as for|in) `", own)
        found |= {f"parameter {name}" for name in unnamed if name not in unsaid(value) and not elsewhere}
        arrays = [each for each in arguments(value) if "rray" in str(each.annotation)]
        if arrays and not SHAPE.search(own + module + " ".join(unsaid(value).values())):
            found.add("shapes")
    found |= {f"words for {name}" for name, words in unsaid_errors(value).items() if len(words.split()) < 4}
    if path.startswith(METHODS) and not SOURCE.search(own + module + package):
        found.add("source")
    return found


@pytest.mark.parametrize("path", sorted(names.public()))
def test_says_all_that_its_page_shows(path):
    assert lacks(path, names.public()[path]) == set()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Return s_k = h_kk u_k^2 / 2, at least 0.", "Return sₖ = hₖₖ uₖ² / 2, at least 0."),
        ("d2E/da2 -> d2E/dx2 = W^T d2E/da2 W", "∂²E/∂a² → ∂²E/∂x² = Wᵀ ∂²E/∂a² W"),
        ("(1/2n) ||y - X beta||^2, lam >= 0, H^-1", "(1/2n) ‖y - X beta‖², lam ≥ 0, H⁻¹"),
        ("1/2 sum_i h_ii du_i^2, the sum of all", "1/2 Σᵢ hᵢᵢ du_i², the sum of all"),
        ("``x_i^2`` and `lam_max` and batch_size of |w| * 2", r"``x_i^2`` and `lam_max` and batch_size of \|w\| \* 2"),
    ],
)
def test_ascii_mathematics_is_shown_with_its_signs(written, shown):
    assert docstrings.escaped(written) == shown


def test_what_is_returned_in_sentences_is_shown_as_sentences():
    from sphinx.ext.napoleon import Config, NumpyDocstring

    lines = [
        "Solve.",
        "",
        "Returns",
        "-------",
        "Solution, with its gap.  Where columns",
        "depend, x_1 is not unique.",
        "",
    ]
    docstrings.mathematics("function", "textbook.lasso", names.resolve("textbook.lasso"), lines)
    shown = str(NumpyDocstring("\n".join(lines), Config(napoleon_use_rtype=False)))
    assert ":returns: Solution, with its gap.  Where columns\n" in shown and "*" not in shown
    lines = ["Solve.", "", "Returns", "-------", "beta : (p,) coefficients.", "gap : a number.", ""]
    docstrings.mathematics("function", "textbook.lasso", names.resolve("textbook.lasso"), lines)
    assert lines[4:6] == ["beta", "    (p,) coefficients."]
