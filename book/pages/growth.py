"""How cost grows: time and memory of every method against its sizes, on log-log axes, drawn from the record.

The record is tests/benchmarks/growth.jsonl, made by tests/benchmarks/growth.py.
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sources

from pruning.experiments import record_file

SOURCES = ("tests/benchmarks", "book/sources.py", "pruning/experiments/record_file.py")
FOLDER = Path(__file__).resolve().parent.parent / "_generated" / "growth"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
SWEEPS = ("gradient", "OBD pass", "exact diagonal", "ggn", "Hessian-vector product")
GRAPHS: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "Sweeps through a perceptron": tuple(
        tuple((method, axis) for method in SWEEPS) for axis in ("patterns", "width", "depth")
    ),
    "Convolutions and surgery": (
        (("convolution", "patterns"), ("moments", "patterns"), ("convolution", "side of the image")),
        (("convolution", "filters"), ("surgery", "filters"), ("surgery", "depth")),
        (("convolution", "side of the kernel"), ("im2col, whole", "side of the kernel")),
    ),
    "Sparse regression": (
        (("lasso", "n"), ("lasso path", "n"), ("group lasso", "n")),
        (("lasso", "p, all in use"), ("lasso path", "p")),
        (("lasso", "p, ten active"), ("group lasso", "p")),
    ),
    "Whole matrices, and the choice of channels": (
        (("bare product", "width"), ("OBS", "hidden units")),
        (("moments", "channels"), ("lasso channels", "channels"), ("ThiNet", "channels")),
        (("ggn", "outputs"),),
    ),
}
"""Figures, their panels, and the curves in each; every curve has one place."""

WHY = {
    "width": "activations, losses and copies grow with the width alone, and a product of small matrices runs below the"
    " speed of a large one (the bare product says by how much)",
    "depth": "the first layer passes no signal back (and none of the first two a matrix, in the exact diagonal), so"
    " that the counted products grow faster than the depth; copies and element-wise passes grow with it",
    "patterns": "what does not depend on the patterns, the calls themselves and sums over weights, is spread over more"
    " of them; from some size on, signals no longer fit into the cache",
    "outputs": "the sweep through the hidden layers before the first output is paid once",
    "hidden units": "most of the counted operations are those of the eigenvectors; a deletion passes over the whole"
    " inverse, which is memory traffic and no product, and calls cost the same at every size",
    "filters": "windows are copied and maps are passed over in proportion to the filters, not to their square;"
    " rebuilding a net has a cost a layer",
    "side of the image": "small images do not fill a block of columns, and the border weighs more",
    "side of the kernel": "the whole matrix of windows outgrows the caches as the kernel grows",
    "channels": "sums over windows are element-wise passes, and a step of a path or of a greedy choice costs calls more"
    " than arithmetic while channels are few",
    "n": "the solution on few columns costs the same whatever n is; products of a matrix and a vector wait for memory",
    "p, all in use": "factorisations and calls at small p; products of a matrix and a vector wait for memory",
    "p": "a kink costs calls more than arithmetic while columns are few",
    "p, ten active": "each p is another random problem, which takes another number of rounds",
}
"""By axis: what would bend a curve away from its count."""


def page(folder: Path = FOLDER) -> str:
    """Draw the figures into a folder beside the page, and return the page.

    Raises
    ------
    ValueError
        If there is no record, or one of its curves has no place on the page.
    """
    growth, curves = benchmark(), read()
    out = [
        "(growth)=\n# How cost grows\n",
        "What a method costs at twice the size is an exponent: 1 is twice, 2 four times, 3 eight times as much. They"
        " are measured here and set beside what the code counts up to. The record is made by\n",
        "```\npython tests/benchmarks/growth.py --out tests/benchmarks/growth.jsonl\n```\n",
        f"{made(curves.values())}\n",
        "Seconds are medians of rounds that go through all sizes of a curve in turn, in one process, on one thread,"
        " in float64. Memory is the peak of the first run beyond its input, as `tracemalloc` sees it: arrays and"
        " objects, not the work space inside LAPACK. The measured exponent is the slope of a straight line through the"
        " logarithms, with the standard error of that slope.\n",
        "A sum of terms has no single exponent. *Leading* is the power that wins in the end; *counted* is the slope of"
        " the operations (multiply-accumulates, or numbers copied) and of the numbers held, at the very sizes measured."
        " The counts of the sweeps and of the convolution are tested against the products that run. A measured"
        " exponent *agrees* if Student's 95 % interval around it holds the counted one, give or take half a"
        " hundredth. *At the end* is the exponent between the two largest sizes.\n",
    ]
    for number, (title, panels) in enumerate(GRAPHS.items(), 1):
        draw(growth, [[curves[key] for key in panel] for panel in panels], folder / f"{number}.png")
        listed = "; ".join(", ".join(f"{method} against {axis}" for method, axis in panel) for panel in panels if panel)
        out += [
            f"\n## {title}\n",
            f"```{{figure}} growth/{number}.png\n:name: picture-growth-{number}\n:figclass: wide\n"
            f":alt: Log-log plots of seconds (above) and bytes (below). From left to right: {listed}. Most points"
            " lie near rising straight lines; the table below has the slopes.\n",
            "Above seconds, below bytes, both axes logarithmic. Points are measured, lines fitted, with exponent ±"
            " standard error in the legend; dashed is the slope of the leading term, through the largest size.\n```\n",
        ]
        out += table(growth, [curves[key] for panel in panels for key in panel])
    return "\n".join([*out, *reading(growth, curves)]) + "\n"


def benchmark() -> Any:
    """Return the module that measures, whose fit and verdicts are used here."""
    path = sources.ROOT / "tests" / "benchmarks" / "growth.py"
    spec = importlib.util.spec_from_file_location("growth_benchmark", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def read(path: Path | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the records by method and axis; each must have its place, and each place its record."""
    path = path or sources.ROOT / "tests" / "benchmarks" / "growth.jsonl"
    found = {(r["spec"]["method"], r["spec"]["axis"]): r for r in record_file.read(path)}
    places = {key for panels in GRAPHS.values() for panel in panels for key in panel}
    if missing := places ^ set(found):
        method, axis = min(missing)
        what = "has no place on the page of growth" if (method, axis) in found else f"is not in {path.name}"
        raise ValueError(
            f"{method} against {axis} {what}; python tests/benchmarks/growth.py --out {path.name} measures it"
        )
    return found


def made(records: Any) -> str:
    """Return when and where the record was made."""
    records = list(records)
    where, rounds = records[0]["versions"], records[0]["spec"]["rounds"]
    seconds = sum(record["time"]["seconds"] for record in records)
    load = max(record["time"]["load"] for record in records)
    return (
        f"{len(records)} curves, {rounds} rounds each, {records[0]['time']['started'][:10]}, {seconds:.0f} s:"
        f" {where['processor']}, {where['blas']}, NumPy {where['numpy']}, Python {where['python']}; the load of the"
        f" machine was {load:.1f} at most."
    )


def draw(growth: Any, panels: Sequence[Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw the panels, seconds above and bytes below."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"font.size": 8, "legend.fontsize": 7, "savefig.dpi": 96}):
        figure, axes = plt.subplots(2, len(panels), figsize=(3.6 * len(panels), 6.4), squeeze=False)
        for column, records in zip(axes.T, panels):
            for ax, what in zip(column, ("seconds", "bytes")):
                for record, color in zip(records, COLORS):
                    curve(growth, ax, record, what, color, several(records))
                ax.set(xscale="log", yscale="log", ylabel=what)
                low, high = ax.get_ylim()
                ax.set_ylim(low, high * (high / low) ** (0.09 * len(records) + 0.05))  # room for the legend
                ticks(ax.xaxis, "{x:,.0f}")
                ticks(ax.yaxis, "{x:.0e}")
                ax.legend(loc="upper left", frameon=False)
                ax.grid(alpha=0.25, which="major")
            column[1].set_xlabel("; ".join(dict.fromkeys(record["spec"]["axis"] for record in records)))
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def ticks(axis: Any, form: str) -> None:
    """Label 1, 2 and 5 of every decade where there are few decades, else the decades alone."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter(form))
    axis.set_minor_formatter(NullFormatter())


def several(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a panel has more than one axis, so that its legend must name them."""
    return len({record["spec"]["axis"] for record in records}) > 1


def curve(growth: Any, ax: Any, record: Mapping[str, Any], what: str, color: str, named: bool) -> None:
    """Draw one curve: points, the fitted line, and the slope of the leading term."""
    spec = record["spec"]
    values = growth.medians(record) if what == "seconds" else record["bytes"]
    exponent, error, log_factor = growth.fit(spec["sizes"], values)
    leading = spec["time" if what == "seconds" else "memory"]
    label = f"{spec['method']}{', ' + spec['axis'] if named else ''}: {exponent:.2f} ± {error:.2f}"
    ends = [spec["sizes"][0], spec["sizes"][-1]]
    ax.plot(spec["sizes"], values, "o", ms=3.5, color=color)
    ax.plot(ends, [math.exp(log_factor) * size**exponent for size in ends], "-", lw=1, color=color, label=label)
    ax.plot(ends, [values[-1] * (size / ends[1]) ** leading for size in ends], "--", lw=0.8, color=color, alpha=0.7)


def verdicts(growth: Any, record: Mapping[str, Any]) -> list[tuple[tuple[float, float, float, bool], float, float]]:
    """Return for time and memory: (exponent, error, counted, agreement), the exponent at the end, the leading one."""
    spec, found = record["spec"], []
    for values, counted, leading in (
        (growth.medians(record), record["operations"], spec["time"]),
        (record["bytes"], record["numbers"], spec["memory"]),
    ):
        both = growth.verdict(spec["sizes"], values, counted)
        found.append((both, growth.at_the_end(spec["sizes"], values), leading))
    return found


def table(growth: Any, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the rows of some curves."""
    lines = [
        "| method, against | sizes | time | at the end | counted (leading) | agrees | memory | counted (leading)"
        " | agrees |",
        "|" + "---|" * 9,
    ]
    for record in records:
        cells = [f"{record['spec']['method']}, {record['spec']['axis']}"]
        cells.append(f"{record['spec']['sizes'][0]} to {record['spec']['sizes'][-1]}")
        for k, ((exponent, error, counted, agrees), end, leading) in enumerate(verdicts(growth, record)):
            cells += [f"{exponent:.2f} ± {error:.2f}", *[f"{end:.2f}"] * (k == 0), f"{counted:.2f} ({leading:g})"]
            cells.append("yes" if agrees else f"{abs(exponent - counted):.2f} {side(exponent, counted)}")
        lines.append(f"| {' | '.join(cells)} |")
    return ["\n".join(lines) + "\n"]


def side(exponent: float, counted: float) -> str:
    """Return where the measured exponent lies."""
    return "below" if exponent < counted else "above"


def reading(growth: Any, curves: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """Return what the exponents say, and for those that differ what would explain it."""
    found = {key: verdicts(growth, record) for key, record in curves.items()}
    right = [sum(each[k][0][3] for each in found.values()) for k in (0, 1)]
    off = {key: each[0] for key, each in found.items() if not each[0][0][3]}
    below = sum(each[0][0] < each[0][2] for each in off.values())
    worst = max((abs(each[1][0][0] - each[1][0][2]), *key) for key, each in found.items() if not each[1][0][3])
    nearer = sum(abs(each[1] - each[0][2]) < abs(each[0][0] - each[0][2]) for each in off.values())
    out = [
        "\n## What they say\n",
        f"Of {len(found)} curves, {right[0]} agree with their count in time and {right[1]} in memory. Of the"
        f" {len(off)} that do not in time, {below} lie below it; the exponent between the two largest sizes is nearer"
        f" to the count in {nearer} of them. Of those that do not in memory, {worst[1]} against {worst[2]} is"
        f" furthest off, by {worst[0]:.2f}. {share(growth, curves)} The interval is that of a straight line: a curve"
        " that bends a little and repeats well has a narrow one, and is told apart from its count by a few"
        " hundredths.\n",
        "What differs in time, and what would explain it. The explanations are read off the code; the benchmark does"
        " not separate them.\n",
    ]
    for axis in dict.fromkeys(axis for _, axis in off):
        some = [
            f"{method} {each[0][0]:.2f} for {each[0][2]:.2f}" for (method, other), each in off.items() if other == axis
        ]
        out.append(f"* **{axis}** ({'; '.join(some)}): {WHY[axis]}.")
    return out


def share(growth: Any, curves: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Return how much of the sweeps' time their bare products would take at the largest width, in a sentence."""
    bare = curves["bare product", "width"]
    price = growth.medians(bare)[-1] / bare["operations"][-1]
    parts = []
    for method in SWEEPS:
        record = curves[method, "width"]
        percent = 100 * price * record["operations"][-1] / growth.medians(record)[-1]
        parts.append(f"{percent:.0f} % of {method} ({record['spec']['sizes'][-1]})")
    return (
        "At the speed of the largest bare product, the products alone would take, at the largest width,"
        f" {', '.join(parts)}."
    )
