"""Channels by moments beside the same on samples: the lasso's path, ThiNet's greedy, the search for lam; 64 channels.

The layer reads 64 correlated channels in windows of 3 x 3.  The moments are made once and are not in the times of the
choices; their own time, and that of the layer's forward pass on the same data, stand in the first line.

    python tests/benchmarks/reconstruction.py [--rounds 15]
"""

import interleaved  # isort: skip  (sets the number of threads)

import time

import numpy as np

import nn
import textbook
from pruning.reconstruction import elimination, lasso_channels, moments, thinet

CHANNELS, SAMPLES = 64, 10_000


def layer_of_64():
    """A convolution behind another one, whose maps it reads, and its moments."""
    rng = np.random.default_rng(0)
    first, second = nn.Conv2d(8, CHANNELS, 3, rng, padding=1), nn.Conv2d(CHANNELS, CHANNELS, 3, rng, padding=1)
    net, x = nn.Sequential(first, nn.ReLU(), second), rng.standard_normal((8, 16, 16, 40))
    start = time.perf_counter()
    found = moments.collect(net, "2.W", x)
    middle = time.perf_counter()
    net.forward(x)
    print(f"moments of {found.count} columns {middle - start:.3f} s, forward pass {time.perf_counter() - middle:.3f} s")
    return net, x, found


def outputs(net, x, found):
    """Rows Z (N n, c) of all outputs: what each channel gives to each."""
    columns = nn.im2col(net.layers[1].forward(net.layers[0].forward(x)), 3, padding=1)
    blocks = columns.reshape(CHANNELS, 9, -1), found.W.reshape(len(found.W), CHANNELS, 9)
    return np.stack([(blocks[1][:, i] @ blocks[0][i]).ravel() for i in range(CHANNELS)], axis=1)


def over_samples(Z):
    """ThiNet's loop as the paper has it."""
    gone, left, sums = [], list(range(Z.shape[1])), np.zeros(len(Z))
    while left:
        best = int(np.argmin([np.sum((sums + Z[:, i]) ** 2) for i in left]))
        sums = sums + Z[:, left[best]]
        gone.append(left.pop(best))
    return gone


def of_samples(Z):
    """The moments of these rows alone: one output a sample, and one column a channel."""
    G = Z.T @ Z / len(Z)
    ones = np.ones((1, Z.shape[1]))
    return moments.Moments("samples", ones, Z.shape[1], G, G, ones @ G, float(G.sum()), len(Z))


def main():
    """Check that answers agree, then compare times."""
    net, x, found = layer_of_64()
    rows = outputs(net, x, found)
    Z = rows[np.random.default_rng(1).choice(len(rows), SAMPLES, replace=False)]
    sampled, y = of_samples(Z), rows.sum(axis=1)
    print("ThiNet, same order:", over_samples(Z) == thinet.order(sampled)[0])
    k, sets = CHANNELS // 2, lasso_channels.sets(found)
    print("lasso, same half:", sets[k] == np.flatnonzero(textbook.lasso_at_most(rows, y, k).beta).tolist())
    contenders = {
        "all sets of the lasso": lambda: lasso_channels.sets(found),
        "path on all rows": lambda: textbook.lasso_path(rows, y),
        "search for lam": lambda: lasso_channels.bisected(found, k),
        "ThiNet": lambda: thinet.order(sampled),
        "ThiNet over samples": lambda: over_samples(Z),
        "elimination": lambda: elimination.eliminate(found),
    }
    pairs = [
        ("all sets of the lasso", "path on all rows"),
        ("all sets of the lasso", "search for lam"),
        ("ThiNet", "ThiNet over samples"),
        ("elimination", "all sets of the lasso"),
    ]
    interleaved.compare(contenders, pairs)


if __name__ == "__main__":
    main()
