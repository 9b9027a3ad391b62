"""An MLP 784-300-100-10 training step, batch 128, float32, one thread, momentum 0.9:

against eager PyTorch, against its own bare matrix products, and the OBD sweep against the plain gradient.

    python tests/benchmarks/mlp_step.py [--rounds 31 --repeats 20]
"""

import interleaved  # isort: skip  (sets the number of threads)

import numpy as np
import torch
from nets import products, sweeps, torch_step, twin

import nn

SIZES, N = (784, 300, 100, 10), 128


def main():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((SIZES[0], N)).astype(np.float32), rng.integers(0, 10, N)
    net, loss = nn.models.mlp(SIZES, rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(net.parameters(), learning_rate=0.01, momentum=0.9)
    other = twin(net)
    contenders = {
        "step": lambda: nn.training.training_step(net, loss, optimizer, x, t),
        "torch": torch_step(other, torch.from_numpy(np.ascontiguousarray(x.T)), torch.from_numpy(t)),
        "products": products(net, SIZES[:1], N, backward=True),
        **sweeps(nn.models.mlp(SIZES, rng, dtype=np.float32), nn.SoftmaxCrossEntropy(), x, t),
    }
    pairs = [("step", "torch"), ("step", "products"), ("curvature", "gradient")]
    interleaved.compare(contenders, pairs, rounds=31, repeats=20)


if __name__ == "__main__":
    main()
