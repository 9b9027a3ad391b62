"""A training step beside what a reader would use instead: PyTorch, DeZero, and layers as a course teaches them.

    python tests/benchmarks/peers.py mlp | lenet5 [--rounds N]

Float32, batch 128, one thread, momentum 0.9.  Before anything is timed, every contender has to compute the same loss
and the same gradients from the same weights.
"""

import interleaved  # isort: skip  (sets the number of threads)

import argparse
import sys
from importlib.util import find_spec

import course_layers
import numpy as np
import torch
from nets import torch_step, twin
from torch.nn import functional as F

import nn
from nn.gradcheck import relative_error

N, RATE, MOMENTUM = 128, 1e-4, 0.9
TOLERANCE = 1e-4
"""Of loss and gradients, relative: float32 in other orders of summation."""


def gradients(net, loss, x, t):
    """Our loss, and our gradients in the order of the parameters."""
    E = float(loss.forward(net.forward(x), t))
    net.backward_parameters(loss.backward())
    return E, [parameter.grad for parameter in net.parameters()]


def of_torch(net, z, s):
    loss = F.cross_entropy(net(z), s)
    loss.backward()
    return float(loss.detach()), [parameter.grad.numpy() for parameter in net.parameters()]


def course(net):
    """The same net, its layers as in `course_layers`."""
    layers = []
    for layer in net.layers:
        if isinstance(layer, nn.Linear):
            layers.append(("affine", layer.W.data.T.copy(), layer.b.data.copy()))
        elif isinstance(layer, nn.Conv2d):
            layers.append(("conv", layer.W.data.copy(), layer.b.data.copy()))
        elif not isinstance(layer, nn.Flatten):
            layers.append(({nn.ReLU: "relu", nn.MaxPool2d: "pool"}[type(layer)],))
    return course_layers.Net(layers)


def of_course(net, images, t):
    loss, found = net.loss_and_gradients(images, t)
    return loss, [each.T if each.ndim == 2 else each for layer in found for each in layer]


def dezero_net(net):
    """The same net in DeZero 0.0.13, which asks NumPy for the `int` that it had until 1.24."""
    np.int = int  # noqa: NPY001
    import dezero.functions as functions
    import dezero.layers as layers
    from dezero import Model

    class Twin(Model):
        def __init__(self):
            super().__init__()
            self.calls = []
            for k, layer in enumerate(net.layers):
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    affine = isinstance(layer, nn.Linear)
                    other = layers.Linear(layer.n_out) if affine else layers.Conv2d(layer.c_out, layer.geometry.kernel)
                    other.W.data = layer.W.data.T.copy() if affine else layer.W.data.copy()
                    other.b.data = layer.b.data.copy()
                    setattr(self, f"l{k}", other)
                    self.calls.append(other)
                else:
                    calls = {nn.Flatten: functions.flatten, nn.ReLU: functions.relu}
                    calls[nn.MaxPool2d] = lambda x: functions.pooling(x, 2, 2)
                    self.calls.append(calls[type(layer)])

        def forward(self, x):
            for call in self.calls:
                x = call(x)
            return x

        def gradients(self, x, t):
            self.cleargrads()
            loss = functions.softmax_cross_entropy(self(x), t)
            loss.backward()
            return loss

        def in_order(self):
            pairs = [(each.W, each.b) for each in self.calls if hasattr(each, "W")]
            grads = [parameter.grad.data for pair in pairs for parameter in pair]
            return [each.T if each.ndim == 2 else each for each in grads]

    return Twin()


def dezero_step(net, x, t):
    from dezero.optimizers import MomentumSGD

    optimizer = MomentumSGD(RATE, MOMENTUM).setup(net)

    def step():
        net.gradients(x, t)
        optimizer.update()

    return step


def check(name, answer, reference):
    """Refuse to time what does not compute the same."""
    loss, errors = answer[0], [relative_error(a, b) for a, b in zip(answer[1], reference[1], strict=True)]
    off = max(*errors, abs(loss - reference[0]) / reference[0])
    print(f"  {name}: loss and gradients differ from ours by at most {off:.0e}")
    if not off <= TOLERANCE:
        sys.exit(f"{name} does not compute what ours does; nothing was timed")


def contenders(net, x, t):
    """The steps of all contenders, {name: function}, each checked before."""
    images, loss = np.ascontiguousarray(np.moveaxis(x, -1, 0)), nn.SoftmaxCrossEntropy()
    ours, z, s = gradients(net, loss, x, t), torch.from_numpy(images), torch.from_numpy(t)
    taught, theirs = course(net), twin(net)
    for parameter, own in zip(theirs.parameters(), net.parameters()):
        parameter.data = torch.from_numpy(own.data.copy())
    check("torch", of_torch(theirs, z, s), ours)
    check("course layers", of_course(taught, images, t), ours)
    optimizer = nn.SGD(net.parameters(), RATE, momentum=MOMENTUM)
    found = {
        "ours": lambda: nn.training.training_step(net, loss, optimizer, x, t),
        "torch": torch_step(theirs, z, s),
        "course layers": lambda: taught.step(images, t, RATE, MOMENTUM),
    }
    if find_spec("dezero"):
        other = dezero_net(net)
        check("DeZero", (float(other.gradients(images, t).data), other.in_order()), ours)
        found["DeZero"] = dezero_step(other, images, t)
    else:
        print("  DeZero is not installed (extra bench)")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("net", choices=["mlp", "lenet5"])
    options, sys.argv[1:] = parser.parse_known_args()
    rng = np.random.default_rng(0)
    if options.net == "mlp":
        net, shape = nn.models.mlp((784, 300, 100, 10), rng, dtype=np.float32), (784,)
    else:
        net, shape = nn.models.lenet5(rng, dtype=np.float32), (1, 28, 28)
    x, t = rng.standard_normal((*shape, N)).astype(np.float32), rng.integers(0, 10, N)
    steps = contenders(net, x, t)
    pairs = [("ours", name) for name in steps if name != "ours"]
    interleaved.compare(steps, pairs, rounds=15, repeats=10 if options.net == "mlp" else 1)


if __name__ == "__main__":
    main()
