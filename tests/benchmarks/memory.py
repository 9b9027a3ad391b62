"""Peak resident memory of a LeNet-5 training step at batch 256, minus that before the first step, in fresh processes.

python tests/benchmarks/memory.py
"""

import os
import resource
import subprocess
import sys

N = 256


def ours():
    import numpy as np

    import nn

    rng = np.random.default_rng(0)
    net, loss = nn.models.lenet5(rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(net.parameters(), learning_rate=1e-4, momentum=0.9)
    x, t = rng.standard_normal((1, 28, 28, N)).astype(np.float32), rng.integers(0, 10, N)
    return lambda: nn.training.training_step(net, loss, optimizer, x, t)


def theirs():
    import numpy as np
    import torch
    from nets import torch_step, twin

    import nn

    rng = np.random.default_rng(0)
    x, t = torch.randn(N, 1, 28, 28), torch.from_numpy(rng.integers(0, 10, N))
    return torch_step(twin(nn.models.lenet5(rng, dtype=np.float32)), x, t)


def measure(which):
    step = {"ours": ours, "torch": theirs}[which]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main():
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    megabytes = {}
    for which in ("ours", "torch"):
        command = [sys.executable, __file__, which]
        output = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **threads})
        megabytes[which] = float(output.stdout)
        print(f"{which}: {megabytes[which]:.0f} MiB")
    print(f"ours / torch: {megabytes['ours'] / megabytes['torch']:.2f}")


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
