"""Second derivatives against BackPACK, float32, one thread, batch 128: times, and how exact each answer is.

And a product of the Hessian with a vector in units of a gradient (forward, loss, and the sweep to the parameters).

python tests/benchmarks/curvature.py mlp | lenet5      (the extra bench; BackPACK takes its Hessian diagonal from torch)
"""

import interleaved  # isort: skip  (sets the number of threads)

import argparse
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import torch

import nn
from nn.curvature import exact, hess_diag, hessian_vector_product
from nn.gradcheck import relative_error

N = 128
PAIRS = [
    ("DiagHessian", "obd"),
    ("DiagHessian", "exact"),
    ("DiagGGNExact", "ggn"),
    ("obd", "gradient"),
    ("product", "gradient"),
]
TWINS = {
    nn.Flatten: lambda layer: torch.nn.Flatten(),
    nn.Tanh: lambda layer: torch.nn.Tanh(),
    nn.ReLU: lambda layer: torch.nn.ReLU(),
    nn.MaxPool2d: lambda layer: torch.nn.MaxPool2d(layer.geometry.kernel),
    nn.Linear: lambda layer: torch.nn.Linear(layer.n_in, layer.n_out),
    nn.Conv2d: lambda layer: torch.nn.Conv2d(layer.c_in, layer.c_out, layer.geometry.kernel),
}


def twin(net):
    """The same net in torch, with the same weights."""
    theirs = torch.nn.Sequential(*(TWINS[type(layer)](layer) for layer in net.layers))
    for parameter, ours in zip(theirs.parameters(), net.parameters()):
        parameter.data = torch.from_numpy(ours.data.copy())
    return theirs


def ours(net, x, t, rule):
    """One pass: forward, loss, and the sweep back that leaves the answer in grad and hess_diag."""
    loss = nn.SoftmaxCrossEntropy()
    net.eval()

    def run():
        loss.forward(net.forward(x), t)
        if rule == "gradient":
            net.backward_parameters(loss.backward())
        elif rule == "obd":
            net.backward_hessian_parameters(loss.backward(), loss.backward_hessian())
        else:
            exact.to_parameters(net, loss.backward(), loss.hessian())
        return [parameter.hess_diag for parameter in net.parameters()]

    return run


def gauss_newton(net, x, t):
    return lambda: list(hess_diag(net, nn.SoftmaxCrossEntropy(), x, t, "ggn").values())


def product(net, x, t):
    v = {name: np.ones_like(parameter.data) for name, parameter in net.named_parameters()}
    return lambda: hessian_vector_product(net, nn.SoftmaxCrossEntropy(), x, t, v)


def theirs(net, x, t, extension, attribute):
    from backpack import backpack, extend, extensions

    extension = getattr(extensions, extension)
    net, loss = extend(twin(net)), extend(torch.nn.CrossEntropyLoss())
    z, labels = torch.from_numpy(np.moveaxis(x, -1, 0).copy()), torch.from_numpy(t)

    def run():
        with backpack(extension()):
            loss(net(z), labels).backward()
        return [getattr(parameter, attribute).numpy() for parameter in net.parameters()]

    return run


def errors(answer, reference):
    return "  ".join(f"{relative_error(a, b):.0e}" for a, b in zip(answer[::2], reference[::2]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("net", choices=["mlp", "lenet5"])
    options, sys.argv[1:] = parser.parse_known_args()
    warnings.filterwarnings("ignore", message="Full backward hook is firing")  # the input needs no gradient
    rng = np.random.default_rng(0)
    if options.net == "mlp":
        init = nn.initializers.lecun_normal
        net = nn.models.mlp((784, 300, 100, 10), rng, activation=nn.Tanh, init=init, dtype=np.float32)
    else:
        net = nn.models.lenet5(rng, dtype=np.float32)
    x, t = rng.standard_normal((1, 28, 28, N)).astype(np.float32), rng.integers(0, 10, N)
    contenders = {
        "gradient": ours(net, x, t, "gradient"),
        "obd": ours(net, x, t, "obd"),
        "exact": ours(net, x, t, "exact"),
        "ggn": gauss_newton(net, x, t),
        "product": product(net, x, t),
    }
    if find_spec("backpack"):
        contenders["DiagHessian"] = theirs(net, x, t, "DiagHessian", "diag_h")
        contenders["DiagGGNExact"] = theirs(net, x, t, "DiagGGNExact", "diag_ggn_exact")
    else:
        print("BackPACK is not installed (extra bench): times of ours alone")
    if options.net == "lenet5":
        del contenders["exact"]  # fully connected nets only
    if "DiagHessian" in contenders:
        answers = {name: f() for name, f in contenders.items() if name not in ("gradient", "product")}
        print("relative error of the weights' diagonals against DiagHessian, layer by layer, the input side first")
        for name, answer in answers.items():
            print(f"  {name:12} {errors(answer, answers['DiagHessian'])}")
        print(f"ggn against DiagGGNExact: {errors(answers['ggn'], answers['DiagGGNExact'])}")
    interleaved.compare(contenders, [pair for pair in PAIRS if set(pair) <= set(contenders)], rounds=7, repeats=5)


if __name__ == "__main__":
    main()
