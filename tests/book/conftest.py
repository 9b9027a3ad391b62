"""The book, built once for all its tests."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]


@pytest.fixture(scope="session")
def book():
    """Return the folder of the built book; what is up to date is not built again."""
    for module in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(module, reason=f"{module} is not installed (extra book)")
    import build

    out = ROOT / "out" / "book"
    build.build(out)
    return out
