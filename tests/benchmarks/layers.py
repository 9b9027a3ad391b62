"""Max-pool and batch norm, forward and backward, against eager PyTorch, float32, one thread.

python tests/benchmarks/layers.py
"""

import interleaved  # isort: skip  (sets the number of threads)

import numpy as np
import torch

import nn


def ours(layer, x):
    gy = np.ones_like(layer.forward(x))

    def run():
        layer.forward(x)
        layer.backward(gy)

    return run


def theirs(layer, x):
    z = torch.from_numpy(np.moveaxis(x, -1, 0).copy()).requires_grad_()
    gy = torch.ones_like(layer(z))

    def run():
        z.grad = None
        layer(z).backward(gy)

    return run


def main():
    rng = np.random.default_rng(0)
    pool = rng.standard_normal((20, 24, 24, 128)).astype(np.float32)
    norm = rng.standard_normal((16, 32, 32, 128)).astype(np.float32)
    contenders = {
        "max-pool": ours(nn.MaxPool2d(2), pool),
        "torch max-pool": theirs(torch.nn.MaxPool2d(2), pool),
        "batch norm": ours(nn.BatchNorm(16, dtype=np.float32), norm),
        "torch batch norm": theirs(torch.nn.BatchNorm2d(16), norm),
    }
    interleaved.compare(contenders, [("max-pool", "torch max-pool"), ("batch norm", "torch batch norm")], repeats=3)


if __name__ == "__main__":
    main()
