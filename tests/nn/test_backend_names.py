"""Every ``xp.name(keywords)`` of the three packages must exist, with those keywords, in the array standard and in CuPy.

The list was read off CuPy 14's signatures; where CuPy is installed (no GPU needed) it is compared with them again.
"""

import ast
import inspect
import operator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("textbook", "nn", "pruning")
ALLOWED = {
    "abs": set(),
    "acos": set(),
    "all": {"axis"},
    "any": {"axis"},
    "argmax": {"axis"},
    "argmin": set(),
    "asarray": {"dtype"},
    "astype": set(),
    "concat": {"axis"},
    "cos": set(),
    "cumulative_sum": set(),
    "empty": {"dtype"},
    "exp": set(),
    "finfo": set(),
    "float32": set(),
    "float64": set(),
    "full": {"dtype"},
    "int64": set(),
    "isdtype": set(),
    "isfinite": set(),
    "linalg.eigh": set(),
    "linalg.eigvalsh": set(),
    "linalg.solve": set(),
    "linalg.svd": {"full_matrices"},
    "log": set(),
    "log1p": set(),
    "max": {"axis", "keepdims"},
    "maximum": set(),
    "min": {"axis", "keepdims"},
    "minimum": set(),
    "ones_like": set(),
    "permute_dims": set(),
    "reshape": set(),
    "sign": set(),
    "sort": set(),
    "sqrt": set(),
    "stack": {"axis"},
    "sum": {"axis", "keepdims"},
    "take": {"axis"},
    "tanh": set(),
    "tensordot": {"axes"},
    "where": set(),
    "zeros": {"dtype"},
    "zeros_like": set(),
}


def uses():
    """(file:line, name, keywords) of every attribute of a variable xp or of a get_array_module(...) call."""
    for path in sorted(path for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py")):
        tree = ast.parse(path.read_text())
        keywords = {id(n.func): {k.arg for k in n.keywords if k.arg} for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__") and node.attr != "linalg":
                prefix = "linalg." if isinstance(node.value, ast.Attribute) and node.value.attr == "linalg" else ""
                if is_module(node.value.value if prefix else node.value):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", prefix + node.attr, keywords.get(id(node), set())


def is_module(node):
    if isinstance(node, ast.Name):
        return node.id == "xp"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get_array_module"


def test_only_names_and_keywords_that_the_standard_and_cupy_share():
    found = list(uses())
    assert len(found) > 30  # the walk sees something
    strangers = [f"{place} xp.{name}({', '.join(sorted(k))})" for place, name, k in found
                 if name not in ALLOWED or not k <= ALLOWED[name]]  # fmt: skip
    assert not strangers


def test_the_list_names_nothing_that_is_not_used():
    assert set(ALLOWED) == {name for _, name, _ in uses()}


def test_the_list_agrees_with_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed (extra gpu)")
    for name, keywords in ALLOWED.items():
        f = operator.attrgetter(name)(cupy)
        if keywords:
            assert keywords <= set(inspect.signature(f).parameters), name
