"""How time and memory grow: the exponent of a power law for every method and what it grows with, beside theory.

    python tests/benchmarks/growth.py [METHOD ...] [--rounds 7] [--out FILE]

Seconds are medians of rounds over all sizes of a curve in turn, in one process, on one thread; memory is the peak of
what NumPy and Python allocate in the first run (tracemalloc; work arrays inside LAPACK are not seen).  The exponent is
the slope of a straight line through the logarithms, its standard error that of the slope.

Theory is what the code counts up to (`growth_curves.py`).  A sum of terms has no one exponent, so two are given: that
of the leading term, and the slope of the counts at the very sizes that were measured.  "yes" means that the measured
one agrees with the latter within its 95 % interval.  The exponent between the two largest sizes stands beside it.
"""

import argparse
import os
import time
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits

RECORD = Path(__file__).with_suffix(".jsonl")
LEAST = 0.004
"""Seconds that one timing takes at least, by repetition."""


def fit(sizes: Any, values: Any) -> tuple[float, float, float]:
    """Return exponent, its standard error and log factor of values = factor sizes^exponent, least squares in logs."""
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(values, float))
    centred = x - x.mean()
    exponent = float(centred @ y / (centred @ centred))
    residual = y - y.mean() - exponent * centred
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / (centred @ centred)))
    return exponent, error, float(y.mean() - exponent * x.mean())


def verdict(sizes: Any, measured: Any, counted: Any) -> tuple[float, float, float, bool]:
    """Return the measured exponent, its standard error, that of the counts, and whether they agree.

    They do if they differ by less than Student's 95 % interval: with few sizes the standard error is itself uncertain.
    """
    (exponent, error, _), (expected, _, _) = fit(sizes, measured), fit(sizes, counted)
    return exponent, error, expected, abs(exponent - expected) <= stdtrit(len(sizes) - 2, 0.975) * error + 5e-3


def medians(record: dict[str, Any]) -> list[float]:
    """Return the median seconds of a record's sizes."""
    return [float(np.median(each)) for each in record["seconds"]]


def at_the_end(sizes: Any, values: Any) -> float:
    """Return the exponent between the two largest sizes: where a smaller term fades, it comes nearer to the leading."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def line(record: dict[str, Any]) -> str:
    """Return a curve in one line: of time and of memory the exponent, theory's, and whether they agree."""
    cells = [f"{record['spec']['method']}, {record['spec']['axis']}".ljust(40)]
    for measured, counted, leading in (
        (medians(record), record["operations"], record["spec"]["time"]),
        (record["bytes"], record["numbers"], record["spec"]["memory"]),
    ):
        exponent, error, expected, agrees = verdict(record["spec"]["sizes"], measured, counted)
        last = at_the_end(record["spec"]["sizes"], measured)
        theory = f"{expected:5.2f} ({leading:g})  {'yes' if agrees else 'no ':3}"
        cells.append(f"{exponent:5.2f} ± {error:.2f}  {last:5.2f}  {theory}")
    return "   ".join(cells)


def peak(case: Any) -> tuple[Any, int]:
    """Return the answer of the first run, and the most bytes that it has held at a time."""
    tracemalloc.start()
    try:
        answer = case.run()
        return answer, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measured(curve: Any, rounds: int) -> dict[str, Any]:
    """Return the record of a curve."""
    began, start = datetime.now().isoformat(timespec="seconds"), time.perf_counter()
    curve.prepare(curve.sizes[0]).run()  # imports and the first call of everything
    cases = [curve.prepare(size) for size in curve.sizes]
    answers, sizes_in_bytes = zip(*(peak(case) for case in cases))
    seconds: list[list[float]] = [[] for _ in cases]
    repeats = [1] * len(cases)
    for number in range(rounds + 1):
        for i, case in enumerate(cases):
            before = time.perf_counter()
            for _ in range(repeats[i]):
                case.run()
            took = (time.perf_counter() - before) / repeats[i]
            if number:  # the first round warms up, and tells how often to repeat
                seconds[i].append(float(f"{took:.4g}"))
            else:
                repeats[i] = max(1, round(LEAST / took))
    spec = {key: getattr(curve, key) for key in ("method", "axis", "sizes", "time", "memory")}
    return {
        "spec": {**spec, "rounds": rounds},
        "seconds": seconds,
        "bytes": list(sizes_in_bytes),
        "operations": [float(case.operations(answer)) for case, answer in zip(cases, answers)],
        "numbers": [float(case.numbers(answer)) for case, answer in zip(cases, answers)],
        "time": {"started": began, "seconds": round(time.perf_counter() - start, 1), "load": os.getloadavg()[0]},
    }


def main() -> None:
    """Measure the curves of the methods that are named, or all of them; print them, and keep them if asked to."""
    from growth_curves import CURVES

    from pruning.experiments import record_file, versions

    parser = argparse.ArgumentParser(description="Fit how time and memory grow.")
    parser.add_argument("methods", nargs="*", help="default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help=f"where to keep the record, such as {RECORD.name}; default: nowhere")
    options = parser.parse_args()
    known = dict.fromkeys(curve.method for curve in CURVES)
    for name in options.methods:
        if name not in known:
            parser.error(f"expected some of {', '.join(known)}, got {name!r}")
    records = []
    with threadpool_limits(1):
        where = versions.of_record({})
        print(f"kernels: {where['blas']}; {where['processor']}; NumPy {where['numpy']}, Python {where['python']}")
        print(f"{'':40}   time: exponent, at the largest two sizes, of the count (leading), agreement; memory too")
        for curve in CURVES:
            if not options.methods or curve.method in options.methods:
                records.append({**measured(curve, options.rounds), "versions": where})
                print(line(records[-1]), flush=True)
    print(f"{len(records)} curves, {sum(record['time']['seconds'] for record in records):.0f} s")
    if options.out:
        record_file.write(options.out, records)


if __name__ == "__main__":
    main()
