"""README is one screen; its example prints what it says, and its links, lines and numbers are today's."""

import contextlib
import io
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
sys.path.append(str(ROOT / "book"))


def test_it_is_one_screen():
    assert len(README.encode()) <= 8192


def section(title):
    """Return the text under a heading."""
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("score", "shown"),
    [("obd", r"^Prints `([^`]+)`"), ("magnitude", r"`pruning\.scores\.magnitude[^`]+` as the saliency, (\d\d\.\d) %")],
)
def test_the_example_prints_what_is_printed(score, shown):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(code.splitlines()) == 12
    if score == "magnitude":
        code = re.sub(r"obd\.saliency\(.*?\) ", "magnitude.saliency(net) ", code)
        assert "magnitude.saliency(net)" in code
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    printed = re.search(shown, README, re.MULTILINE)[1]
    numbers, said = (re.findall(r"[\d.]+", text) for text in (output.getvalue(), printed))
    assert score == "magnitude" or numbers[:2] == said[:2]
    assert abs(float(numbers[-1]) - float(said[-1])) < 2  # other BLAS kernels round differently on the way


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README


def test_the_files_it_links_to_exist():
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(targets) >= 40
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("its line", "return get_array_module(self.y).ones_like(self.y) * (2 / self.y.shape[-1])"),
        ("its row with five wrong forms", 'id="S0-F6",'),
        ("its test against autograd", "def test_rule_obd_is_exact_in_the_layers_where_it_must_be(case):"),
    ],
)
def test_the_lines_of_the_boundary_condition_are_the_ones_it_links_to(name, begins):
    place, number = re.search(rf"\[{name}\]\(([^)#]+)#L(\d+)\)", " ".join(README.split())).groups()
    assert (ROOT / place).read_text(encoding="utf-8").splitlines()[int(number) - 1].strip() == begins


def test_the_picture_is_that_of_todays_lines_and_errors():
    import recursion

    assert "](book/_static/recursion.svg)" in README
    svg = recursion.PICTURE.read_text(encoding="utf-8")
    shown = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)[1]
    lines = [line for layer, _ in recursion.STEPS for line in recursion.lines(layer)]
    assert len(lines) == 4 and shown.splitlines()[:4] == lines
    rounding = re.compile(r"\d[.\d]*e-1[4-7]\b")  # depends on the kernels
    assert rounding.sub("rounding", shown) == rounding.sub("rounding", recursion.text(recursion.errors()))


def test_every_notebook_is_linked_in_its_part():
    from pages import lecture

    shown, part = [], ""
    for line in section("Notebooks").strip().splitlines():
        part, _, links = line.removeprefix("- ").partition(": [")
        shown += [(part, place) for place in re.findall(r"\]\(notebooks/([^)]+)\)", links)]
    expected, part = [], ""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        part = lecture.PARTS.get(path.stem.partition("_")[0], part)
        expected.append((part, path.name))
    assert shown == expected


def test_it_counts_the_statements_and_the_exercises():
    from importlib import import_module

    from course.__main__ import SETS
    from pruning.ledger import STATEMENTS

    assert f"{len(STATEMENTS)} statements of the sources" in README
    exercises = sum(len(import_module(f"course.{name}.exercises").SET.exercises) for name in SETS)
    assert f"nine problem sets, {exercises} exercises" in README and len(SETS) == 9


def test_optimal_brain_damage_beside_magnitude_is_that_of_the_records():
    lines = (ROOT / "notebooks/results/obd_mlp.jsonl").read_text(encoding="utf-8").splitlines()
    losses = defaultdict(dict)
    for record in map(json.loads, lines):
        spec = record["spec"]
        variant = spec["data"], spec["activation"], spec["loss"]
        for row in record["rows"]:
            after = row["retrained"] if row["retrain"] else row
            place = variant, row["retrain"], round(row["sparsity"], 2)
            losses[place][row["method"], spec["seed"]] = after["train_loss"]

    def ratio(sparsity, retrain=True, variant=("digits", "relu", "squared error"), of=statistics.geometric_mean):
        found = losses[variant, retrain, sparsity]
        return of([found["obd", seed] / found["magnitude", seed] for seed in range(5)])

    said = re.findall(r"\d\.\d\d?", section("Three results, with their controls").strip().split("\n- ")[0])
    everywhere = [ratio(0.6, False, variant) for variant in {variant for variant, *_ in losses}]
    expected = [f"{ratio(0.6, retrain=False):.2f}", f"{ratio(0.6):.2f}", f"{ratio(0.95):.1f}"]
    assert len(everywhere) == 8 and said == [*expected, f"{min(everywhere):.2f}", f"{max(everywhere):.1f}"]
    page = " ".join((ROOT / "book/start.md").read_text(encoding="utf-8").split())
    assert f"geometric mean {ratio(0.6, False):.2f}, at most {ratio(0.6, False, of=max):.2f}" in page
    assert f"ratio {ratio(0.6):.2f} at 60 %, {ratio(0.8):.2f} at 80 %, {ratio(0.95):.1f} at 95 %." in page
    tanh = [ratio(0.6, False, (data, "tanh", "squared error")) for data in ("digits", "usps")]
    assert "OBD's loss is {:.1f} times magnitude's on the digits and {:.1f} times on USPS".format(*tanh) in page
    of_usps = [place for place in losses if place[0] == ("usps", "relu", "squared error")]
    assert of_usps and all(ratio(sparsity, retrain, variant) < 1 for variant, retrain, sparsity in of_usps)


def test_the_other_results_are_those_of_their_pages_which_are_those_of_the_records():
    nets, limits = ((ROOT / f"book/{name}.md").read_text(encoding="utf-8") for name in ("nets", "limits"))
    _, admm, channels = section("Three results, with their controls").strip().split("\n- ")
    (row,) = [line for line in nets.splitlines() if line.startswith("| ADMM to 110 conv weights directly | labels")]
    for number in re.findall(r"\d+\.\d+", admm.split("Its control")[0]):
        assert number in row
    assert "0.08 ± 0.10 (110)" in " ".join(limits.split()) and "is 0.08 ± 0.10 points, unresolved" in admm
    below = [line for line in nets.splitlines() if line.startswith(("| nothing: 19 epochs more", row[:40]))]
    dense, ours = (sum(map(float, re.findall(r"9\d\.\d\d(?=,| \|)", line)[:3])) / 3 for line in below)
    first, second = re.findall(r"are (0\.\d\d) and (0\.\d\d) points", admm)[0]
    assert first == f"{dense - ours:.2f}" and abs(float(second) - float(first) - 0.08) < 0.006
    (said,) = re.findall(r"- Channels chosen for what the next layer.*?(?=\n- )", limits, re.DOTALL)
    lowest, highest, chance, scratch = re.findall(r"\d\d\.\d", channels)
    said = " ".join(said.split())
    assert f"{lowest} to {highest} after four epochs" in said and f"and {chance}. A net" in said
    assert f"has {scratch}: no method" in said


NAME = re.compile(r"`((?:nn|textbook|pruning)(?:\.[A-Za-z_]\w*)+)")
"""A name at the start of what stands between backticks; a call or a `=` may follow."""

ASK = """
import importlib, json, sys
import nn, textbook, pruning

lost = []
for name in json.load(sys.stdin):
    if name.startswith("pruning.experiments"):  # asked for by name: they are programs, and nothing imports them
        import pruning.experiments
    place = {"nn": nn, "textbook": textbook, "pruning": pruning}
    try:
        for part in name.split("."):
            place = place[part] if isinstance(place, dict) else getattr(place, part)
    except AttributeError:
        lost.append(name)
print(json.dumps(lost))
"""


def named():
    """{name: the files that name it} of README, the book's pages, and the source files of the three packages."""
    files = [
        ROOT / "README.md",
        *(ROOT / "book").glob("*.md"),
        *(path for package in ("nn", "textbook", "pruning") for path in (ROOT / package).rglob("*.py")),
    ]
    places = defaultdict(list)
    for path in files:
        for name in NAME.findall(path.read_text(encoding="utf-8")):
            places[name].append(str(path.relative_to(ROOT)))
    return places


def test_every_name_is_reached_after_importing_the_three_packages():
    places = named()
    assert len(places) >= 80 and {"pruning.scores.taylor", "pruning.surgery.remove", "nn.Channelwise"} <= places.keys()
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(sorted(places)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert {name: places[name] for name in json.loads(answer.stdout)} == {}


def test_a_version_has_one_number_and_one_date():
    cited = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    newest = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest.groups() == (version, cited["date-released"]) and version == cited["version"]
    assert date.fromisoformat(newest[2])
