"""A LeNet-5 with half its filters removed: is its training step as much faster as its matrix products are?

Batch 128, float32, one thread.  What stands beside the products, the copies of windows, the pools and the optimizer,
shrinks with the number of filters, the products of the second convolution with its square.

    python tests/benchmarks/small_net.py [--rounds N]
"""

import interleaved  # isort: skip  (sets the number of threads)

import statistics

import numpy as np
from nets import products

import nn
from pruning import surgery

N, SHAPE = 128, (1, 28, 28)


def step(net, x, t):
    loss, optimizer = nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), learning_rate=1e-4, momentum=0.9)
    return lambda: nn.training.training_step(net, loss, optimizer, x, t)


def main():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((*SHAPE, N)).astype(np.float32), rng.integers(0, 10, N)
    dense = nn.models.lenet5(rng, dtype=np.float32)
    small = surgery.remove(dense, {"0.W": range(10), "2.W": range(25)})
    contenders = {}
    for name, net in {"dense": dense, "small": small}.items():
        contenders[f"{name} step"] = step(net, x, t)
        contenders[f"{name} products"] = products(net, SHAPE, N, backward=True)
    pairs = [("small step", "dense step"), ("small products", "dense products")]
    pairs += [(f"{name} step", f"{name} products") for name in ("dense", "small")]
    times = interleaved.compare(contenders, pairs, rounds=41)
    per_round = zip(*(times[name] for pair in pairs[:2] for name in pair))
    found = [(small / dense) / (p / q) for small, dense, p, q in per_round]
    print("  small step / (dense step x small products / dense products):", end=" ")
    print(f"median {statistics.median(found):.2f} (from {min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
