"""Ratios of an MLP 784-300-100-10 training step, batch 128, float32, one thread:

against eager PyTorch, against its own bare matrix products, and the OBD sweep against the plain gradient.

    python tests/benchmarks/mlp_step.py [--rounds 31]

Rounds are interleaved in one process; printed are the median and the range of the per-round ratios, and the BLAS
kernels, without which no such number means anything.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import statistics
import time
from itertools import pairwise

import numpy as np
import threadpoolctl
import torch

import nn

SIZES, N = (784, 300, 100, 10), 128


def our_step(rng, x, t):
    net, loss = nn.models.mlp(SIZES, rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(net.parameters(), learning_rate=0.01, momentum=0.9)
    return lambda: nn.training.training_step(net, loss, optimizer, x, t)


def torch_step(x, t):
    layers = []
    for n_in, n_out in pairwise(SIZES):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x, t = torch.from_numpy(np.ascontiguousarray(x.T)), torch.from_numpy(t)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), t).backward()
        optimizer.step()

    return step


def bare_products(rng):
    """W x, ga x^T, and W^T ga but for the first layer: what a training step cannot do without."""
    triples = [
        [rng.standard_normal(shape).astype(np.float32) for shape in ((n_out, n_in), (n_in, N), (n_out, N))]
        for n_in, n_out in pairwise(SIZES)
    ]

    def products():
        for i, (W, x, ga) in enumerate(triples):
            W @ x
            ga @ x.T
            if i:
                W.T @ ga

    return products


def sweeps(rng, x, t):
    """The gradient alone, and gradient with curvature: both down to dE/dx (and d2E/dx2) of the data."""
    net, loss = nn.models.mlp(SIZES, rng, dtype=np.float32), nn.SoftmaxCrossEntropy()

    def gradient():
        loss.forward(net.forward(x), t)
        net.backward(loss.backward())

    def curvature():
        loss.forward(net.forward(x), t)
        net.backward_hessian(loss.backward(), loss.backward_hessian())

    return gradient, curvature


def seconds(f, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - start) / repeats


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((SIZES[0], N)).astype(np.float32), rng.integers(0, 10, N)
    gradient, curvature = sweeps(rng, x, t)
    contenders = {
        "step": our_step(rng, x, t),
        "torch": torch_step(x, t),
        "products": bare_products(rng),
        "gradient": gradient,
        "curvature": curvature,
    }
    times = {name: [] for name in contenders}
    for round_ in range(arguments.rounds + 1):
        for name, f in contenders.items():
            duration = seconds(f, arguments.repeats)
            if round_:  # the first round warms up
                times[name].append(duration)
    for library in threadpoolctl.threadpool_info():
        print(f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip())
    for name, values in times.items():
        print(f"{name:10} {1e3 * statistics.median(values):7.3f} ms median, {1e3 * min(values):7.3f} ms best")
    for a, b in (("step", "torch"), ("step", "products"), ("curvature", "gradient")):
        ratios = [p / q for p, q in zip(times[a], times[b])]
        print(f"{a} / {b}: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
