"""The page of growth: every curve has its place, the figures are drawn, and what is missing is said."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def growth():
    spec = importlib.util.spec_from_file_location("page_growth", ROOT / "book" / "pages" / "growth.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_every_curve_once_with_its_exponents(growth, tmp_path):
    page, curves = growth.page(tmp_path), growth.read()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "±" in line]
    assert len(rows) == len(curves)
    for (method, axis), record in curves.items():
        (row,) = [line for line in rows if line.startswith(f"| {method}, {axis} |")]
        seconds = [np.median(each) for each in record["seconds"]]
        slope = np.polyfit(np.log(record["spec"]["sizes"]), np.log(seconds), 1)[0]
        assert float(row.split("|")[3].split("±")[0]) == pytest.approx(slope, abs=0.0051)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == set(re.findall(r"growth/(\w+)\.png", page)) == {str(k + 1) for k in range(len(growth.GRAPHS))}
    assert page.count("\n:alt: ") == page.count("\n:name: ") == len(drawn)
    assert all(path.stat().st_size < 200_000 for path in tmp_path.glob("*.png"))


def test_a_curve_that_differs_is_named_with_a_reason(growth):
    curves = growth.read()
    text = "\n".join(growth.reading(growth.benchmark(), curves))
    off = [key for key, record in curves.items() if not growth.verdicts(growth.benchmark(), record)[0][0][3]]
    assert all(f"**{axis}**" in text and method in text for method, axis in off)


def test_a_record_that_lacks_a_curve_is_refused(growth, tmp_path):
    lines = (ROOT / "tests" / "benchmarks" / "growth.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "growth.jsonl"
    path.write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^bare product against width is not in growth\.jsonl; python tests/bench"):
        growth.read(path)
    other = json.loads(lines[0])
    other["spec"]["method"] = "another"
    path.write_text("".join([*lines, json.dumps(other) + "\n"]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^another against width has no place on the page"):
        growth.read(path)
