"""The lecture's AlexNet figure: how much faster zeros make a matrix product, scattered or as whole rows and columns.

The slides "Random sparsity, theoretical speedup is not practical speedup" and "Structural sparsity" (Wen et al. 2016)
measured cuBLAS and cuSPARSE on GPUs; here are BLAS and SciPy on one core.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from operator import matmul
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from tqdm import tqdm

import nn
from pruning import counts, sparse
from pruning.experiments import setup
from pruning.experiments.comparison import Arm
from pruning.experiments.figures import sparse_speed as figures

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.99)
BATCHES = {"fc6": 1, "fc7": 128}  # of a convolution, the windows of one image are the columns
FIELDS = ("layers", "pair")
ENOUGH = 10**9  # multiply-accumulates of a dense product that are timed together
PAIR = {
    "W": [128, 1200],
    "windows": 729,
    "unstructured": {"elements": 0.946, "rows": 0.195, "columns": 0.087},
    "structured": {"elements": 0.915, "rows": 0.219, "columns": 0.7525},
    "block": 8,
    "rounds": 61,
}
"""The two matrices of the slide, conv2_1, by their shares of zeros, of zero rows and of zero columns.

The slide prints 75.2 % of the columns; of 1,200 that may be 902 or 903, and 903, 75.25 %, give its 5.17.
"""


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; the names of the BLAS kernels are part of it, because other kernels are another cell.

    Raises
    ------
    ValueError
        For a data set, a model, a validation split or a GPU, none of which this experiment has, or a negative seed.
    """
    if data != "digits" or model is not None or validation or device != "cpu":
        raise ValueError("sparse_speed times AlexNet's products on the CPU: leave --data, --model and --device out")
    setup.check_seeds(seeds)
    with threadpoolctl.threadpool_limits(1):
        machine = sparse.machine()
    shared = {"machine": machine, "layers": products(), "sparsities": list(SPARSITIES), "pair": PAIR, "rounds": 15}
    return [{**shared, "seed": seed} for seed in seeds]


def products() -> dict[str, list[int]]:
    """Return {layer: [O, K, P]} of AlexNet's products, W (O, K) of one group times the columns X (K, P)."""
    names = iter(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"))
    shapes = {}
    for _, layer, shape, _ in counts.walk(nn.models.alexnet(None), (3, 227, 227)):
        if isinstance(layer, nn.Conv2d | nn.Linear) and (name := next(names, None)):
            O = layer.W.shape[0] // getattr(layer, "groups", 1)
            P = BATCHES.get(name) or math.prod(layer.output_shape(shape)[1:])
            shapes[name] = [O, math.prod(layer.W.shape[1:]), P]
    return shapes


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"layers": one dict a layer, "pair": one dict a way to store conv2_1}, with times of this machine.

    A speed-up is dense time / time, in float32, as [median, lowest, highest] of the rounds, in each of which all
    contenders are timed in turn.  Nothing is written to `folder`; `progress` prints the table.
    """
    rng = np.random.default_rng(spec["seed"])
    layers = []
    for name, shape in tqdm(spec["layers"].items(), disable=not progress, unit="layer", desc="timing"):
        layers.append({"name": name, **time_layer(shape, spec["sparsities"], spec["rounds"], rng)})
    result = {"layers": layers, "pair": time_pair(spec["pair"], rng)}
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def time_layer(
    shape: Sequence[int], sparsities: Sequence[float], rounds: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Time W (O, K) X (K, P): dense, as CSR with zeros at random, and as what is left of whole rows and columns."""
    O, K, P = shape
    W, X = _normal((O, K), rng), _normal((K, P), rng)
    contenders: dict[str, Callable[[], Any]] = {"dense": partial(matmul, W, X)}
    theory = []
    for s in sparsities:
        scattered = sparse.CSR.of(W * scatter((O, K), s, rng)).compiled()
        small = sparse.Compact.of(W * stripes((O, K), 1 - math.sqrt(1 - s), 1 - math.sqrt(1 - s), rng))
        contenders[f"csr {s}"] = partial(matmul, scattered, X)
        contenders[f"compact {s}"] = partial(small.product, X)
        theory.append(O * K / small.values.size)
    repeats = _repeats(O, K, P)
    times = interleaved(contenders, rounds, repeats)
    rows: list[dict[str, Any]] = [
        {
            "sparsity": s,
            "csr": {"theory": 1 / (1 - s), "speedup": speedup(times, f"csr {s}")},
            "compact": {"theory": theory[i], "speedup": speedup(times, f"compact {s}")},
        }
        for i, s in enumerate(sparsities)
    ]
    even = break_even(sparsities, [row["csr"]["speedup"][0] for row in rows])
    there = None
    if even is not None:
        A = sparse.CSR.of(W * scatter((O, K), even, rng)).compiled()
        there = speedup(
            interleaved({"dense": contenders["dense"], "csr": partial(matmul, A, X)}, rounds, repeats), "csr"
        )
    dense = statistics.median(times["dense"])
    return {"shape": [O, K, P], "dense_seconds": dense, "rows": rows, "break_even": even, "at_break_even": there}


def time_pair(pair: Mapping[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Time conv2_1 with scattered zeros and with whole rows and columns at zero, in every format."""
    (O, K), P, block = pair["W"], pair["windows"], pair["block"]
    W, X = _normal((O, K), rng), _normal((K, P), rng)
    free = W * as_on_the_slide((O, K), **pair["unstructured"], rng=rng)
    structured = W * as_on_the_slide((O, K), **pair["structured"], rng=rng)
    kept_blocks = scatter((O // block, K // block), pair["unstructured"]["elements"], rng)
    blocks = W * np.kron(kept_blocks, np.ones((block, block), bool))
    small, little = sparse.Compact.of(structured), sparse.Compact.of(free)
    gathered = X[small.columns]
    csr, csc, bsr = sparse.CSR.of(free), sparse.CSC.of(free), sparse.BSR.of(blocks, (block, block))
    csr_structured = sparse.CSR.of(structured)
    ways: list[tuple[str, np.ndarray, Any, int, Callable[[], Any]]] = [  # name, W, how stored, weights used, product
        ("dense", W, W, W.size, partial(matmul, W, X)),
        ("unstructured, dense", free, free, W.size, partial(matmul, free, X)),
        ("unstructured, CSR", free, csr, csr.values.size, partial(matmul, csr.compiled(), X)),
        ("unstructured, CSC", free, csc, csc.values.size, partial(matmul, csc.compiled(), X)),
        ("unstructured, gather and compact", free, little, little.values.size, partial(little.product, X)),
        (f"{block} x {block} blocks, BSR", blocks, bsr, bsr.blocks.size, partial(matmul, bsr.compiled(), X)),
        ("structured, CSR", structured, csr_structured, csr_structured.values.size,
         partial(matmul, csr_structured.compiled(), X)),
        ("structured, gather and compact", structured, small, small.values.size, partial(small.product, X)),
        ("structured, compact alone", structured, small, small.values.size, partial(matmul, small.values, gathered)),
    ]  # fmt: skip
    times = interleaved({name: run for name, *_, run in ways}, pair["rounds"], _repeats(O, K, P))
    return [
        {
            "name": name,
            "zeros": 1 - np.count_nonzero(matrix) / matrix.size,
            "bytes": stored.nbytes,
            "theory": matrix.size / used,
            "speedup": speedup(times, name),
            "seconds": statistics.median(times[name]),
        }
        for name, matrix, stored, used, _ in ways
    ]


def scatter(shape: tuple[int, int], sparsity: float, rng: np.random.Generator) -> np.ndarray:
    """Return where a matrix keeps its entries: everywhere but at round(sparsity O K) places at random."""
    keep = np.ones(math.prod(shape), bool)
    n = round(sparsity * keep.size)
    keep[np.argpartition(rng.random(keep.size), min(n, keep.size - 1))[:n]] = False
    return keep.reshape(shape)


def stripes(shape: tuple[int, int], rows: float, columns: float, rng: np.random.Generator) -> np.ndarray:
    """Return where a matrix keeps its entries: but for these shares of its rows and columns, at least one of each."""
    kept = [rng.permutation(n) >= min(round(share * n), n - 1) for n, share in zip(shape, (rows, columns))]
    return np.outer(*kept)


def as_on_the_slide(
    shape: tuple[int, int], elements: float, rows: float, columns: float, rng: np.random.Generator
) -> np.ndarray:
    """Return where a matrix keeps its entries: it has these shares of zero elements, zero rows and zero columns.

    The elements are drawn at random outside the zero rows and columns; now and then that leaves one more of them zero.

    Raises
    ------
    ValueError
        If the rows and columns that are left have not so many elements.
    """
    keep = stripes(shape, rows, columns, rng)
    inside = np.flatnonzero(keep)
    left = round((1 - elements) * keep.size)
    if left > inside.size:
        raise ValueError(f"expected at most {inside.size} elements outside the zero rows and columns, got {left}")
    keep.ravel()[rng.permutation(inside)[left:]] = False
    return keep


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int, repeats: int = 1) -> dict[str, list[float]]:
    """Return {name: seconds of one call, round by round}, where a round times all of them in turn; the first warms up.

    What else the machine does hits all contenders of a round alike: its ratios are worth more than its times.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            if number:
                times[name].append((time.perf_counter() - start) / repeats)
    return times


def speedup(times: Mapping[str, Sequence[float]], name: str) -> list[float]:
    """Return [median, lowest, highest] of dense time / time over the rounds."""
    ratios = [dense / other for dense, other in zip(times["dense"], times[name])]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def break_even(sparsities: Sequence[float], speedups: Sequence[float]) -> float | None:
    """Return the sparsity at which the speed-up passes 1, None if that is outside of those measured.

    Between two of them the time of a sparse product is taken as linear in the number of weights left, which it is.
    """
    points = [(1 - s, 1 / r) for s, r in zip(sparsities, speedups)]  # weights left, time / dense time
    for (d0, t0), (d1, t1) in pairwise(points):
        if t0 > 1 >= t1:
            return 1 - (d1 + (d0 - d1) * (1 - t1) / (t0 - t1))
    return None


def _repeats(O: int, K: int, P: int) -> int:
    # With few columns the time goes into reading W: it counts as 16 of them.
    return max(1, min(10, ENOUGH // (O * K * max(P, 16))))


def _normal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw one figure a record."""
    paths = []
    for record in records:
        spec = record["spec"]
        kernels = spec["machine"].partition(",")[0].replace(" ", "_")
        paths.append(figures.speedups(record, folder / f"sparse_speed-{kernels}-{spec['seed']}.png"))
    return paths


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table: speed-ups over the dense product, in theory and measured."""
    spec = record["spec"]
    lines = [
        f"Speed-up over the dense product, float32, {spec['machine']}: zeros at random as CSR | whole rows and columns",
        "layer" + "".join(f"{s:>16.0%}" for s in spec["sparsities"]) + "   CSR breaks even at",
    ]
    for layer in record["layers"]:
        cells = [f"{row['csr']['speedup'][0]:8.2f} |{row['compact']['speedup'][0]:6.2f}" for row in layer["rows"]]
        even = "no measured sparsity" if layer["break_even"] is None else f"{layer['break_even']:.1%}"
        lines.append(f"{layer['name']:5}" + "".join(cells) + f"   {even}")
    theory = [f"{1 / (1 - s):8.2f} |{1 / (1 - s):6.2f}" for s in spec["sparsities"]]
    lines += [
        "theory" + "".join(theory)[1:],
        "",
        f"{'conv2_1':34}   zeros   bytes  theory  measured (lowest to highest)",
    ]
    for row in record["pair"]:
        median, low, high = row["speedup"]
        lines.append(
            f"{row['name']:34} {row['zeros']:7.1%} {row['bytes']:7} {row['theory']:7.2f}"
            f"  {median:8.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the ways of multiplying, medians over the rounds; the dense product has the speed-up 1."""
    machine = record["spec"]["machine"]
    for row in record["pair"]:
        numbers = {"speed-up": row["speedup"][0], "in theory": row["theory"], "bytes": row["bytes"]}
        yield Arm(row["name"], numbers, (), f"{machine}: the lecture's pair of matrices, conv2_1")
    for layer in record["layers"]:
        group = f"{machine}: {layer['name']}"
        for row in layer["rows"]:
            for key, name in (("csr", "zeros at random, CSR"), ("compact", "whole rows and columns")):
                numbers = {"speed-up": row[key]["speedup"][0], "in theory": row[key]["theory"]}
                yield Arm(f"{row['sparsity']:.0%} {name}", numbers, (), group)
        if layer["break_even"] is not None:
            share = layer["break_even"]
            yield Arm(
                "where CSR breaks even",
                {"speed-up": layer["at_break_even"][0], "in theory": 1 / (1 - share), "zeros, %": 100 * share},
                (),
                group,
            )
