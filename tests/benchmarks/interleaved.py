"""What every benchmark shares: one thread, interleaved rounds in one process, ratios, and the names of the kernels.

Import this first: it sets the number of threads before NumPy and torch are loaded.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import statistics
import time

import threadpoolctl
import torch


def compare(contenders, pairs, rounds=15, repeats=1):
    """Time the contenders {name: function} in turn, round by round, and print the ratios of `pairs` (a, b).

    Return the times {name: [seconds of every round]}.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--repeats", type=int, default=repeats)
    options = parser.parse_args()
    torch.set_num_threads(1)
    times = {name: [] for name in contenders}
    for number in range(options.rounds + 1):
        for name, f in contenders.items():
            start = time.perf_counter()
            for _ in range(options.repeats):
                f()
            if number:  # the first round warms up
                times[name].append((time.perf_counter() - start) / options.repeats)
    kernels = [
        f"{library['internal_api']} {library.get('architecture', '')}" for library in threadpoolctl.threadpool_info()
    ]
    print(f"kernels: {', '.join(kernels)}; torch {torch.__version__}")
    for name, values in times.items():
        print(f"  {name:24} median {1e3 * statistics.median(values):8.3f} ms, best {1e3 * min(values):8.3f} ms")
    for a, b in pairs:
        ratios = [p / q for p, q in zip(times[a], times[b])]
        print(f"  {a} / {b}: median {statistics.median(ratios):.3g} (from {min(ratios):.3g} to {max(ratios):.3g})")
    return times
