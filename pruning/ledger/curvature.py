"""The diagonal of the Hessian of whole nets: where the printed recursion is exact, and what its variants compute."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from nn.curvature import hess_diag, matrix
from pruning.ledger.core import Claim, Measured, relative

Case = tuple[nn.Sequential, Any, np.ndarray, np.ndarray]


def random_case(
    rng: np.random.Generator,
    sizes: Sequence[int],
    hidden: type[nn.Activation] = nn.Tanh,
    output: type[nn.Activation] = nn.Identity,
    loss: type[Any] = nn.SquaredError,
) -> Case:
    """Return a random net with an activation at the end, its loss, eight inputs and their targets.

    Biases are positive, and behind the first layer of a ReLU net so are the weights: there every unit lives.
    """
    net = nn.models.mlp(sizes, rng, activation=hidden)
    net.layers.append(output())
    first, *behind = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    for layer in (first, *behind):
        assert layer.b is not None
        layer.b.data = rng.uniform(0.5, 1, layer.n_out)
    for layer in behind if hidden is nn.ReLU else ():
        layer.W.data = np.abs(layer.W.data)
    x = rng.standard_normal((sizes[0], 8))
    t = rng.standard_normal((sizes[-1], 8)) if loss is nn.SquaredError else rng.integers(0, sizes[-1], 8)
    return net, loss(), x, t


def hessian_diagonal(case: Case) -> dict[str, np.ndarray]:
    """Return the diagonal of d2E/du2 by the complex step of dE/du, by name."""
    return matrix.split(case[0], np.diag(gradcheck.hessian_by_differences(*case)))


def missed(h: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], layers: Iterable[int]) -> float:
    """Return the largest relative error of h over the weights of these layers, 0 the one next to the input."""
    names = [name for name in reference if name.endswith("W")]
    return max(relative(h[names[layer]], reference[names[layer]]) for layer in layers)


ELEMENTWISE: dict[str, Any] = {"hidden": nn.Tanh, "output": nn.Tanh}
RELU: dict[str, Any] = {"hidden": nn.ReLU}
SOFTMAX: dict[str, Any] = {"loss": nn.SoftmaxCrossEntropy}
NETS: tuple[tuple[str, tuple[int, ...], dict[str, Any], tuple[int, ...]], ...] = (  # last: the layers that are exact
    ("one hidden layer", (2, 4, 3), ELEMENTWISE, (0, 1)),
    ("two hidden layers, tanh", (2, 4, 3, 2), ELEMENTWISE, (1, 2)),
    ("two hidden layers, ReLU", (3, 5, 4, 2), RELU, (1, 2)),
    ("two hidden layers, one output", (2, 4, 3, 1), ELEMENTWISE, (1, 2)),
    ("a layer of one unit in between", (2, 4, 1, 3), ELEMENTWISE, (0, 1, 2)),
    ("softmax, tanh", (2, 4, 3), SOFTMAX, (1,)),
    ("softmax, ReLU", (2, 4, 3), {**RELU, **SOFTMAX}, (1,)),
)


def _where_exact(rng: np.random.Generator) -> Iterator[Measured]:
    for name, sizes, kind, exact in NETS:
        case = random_case(rng, sizes, **kind)
        h, H = hess_diag(*case), hessian_diagonal(case)
        yield Measured(f"{name}: layers {exact}", missed(h, H, exact))
        if 0 not in exact:
            message = "A full matrix arrives here, and the recursion goes on with its diagonal alone."
            yield Measured(f"first layer, {name}", missed(h, H, (0,)), wrong=True, message=message)


def _full_matrices(rng: np.random.Generator) -> Iterator[Measured]:
    for name, sizes, kind, printed in NETS:
        case = random_case(rng, sizes, **kind)
        full, H = hess_diag(*case, "exact"), hessian_diagonal(case)
        yield Measured(f"{name}: all layers", missed(full, H, range(len(sizes) - 1)))
        if 0 not in printed and kind.get("loss") is None:
            message = "Without the pairs l != m it is the recursion of the slide."
            yield Measured(f"pairs dropped, {name}", missed(hess_diag(*case), H, (0,)), wrong=True, message=message)


def _gauss_newton(case: Case) -> dict[str, np.ndarray]:
    # diag(J^T J) 2/N, with J = dy/du from the forward pass alone.
    net, _, x, _ = case
    u = gradcheck.flat(net)

    def outputs(v: np.ndarray) -> np.ndarray:
        gradcheck.set_flat(net, v)
        return net.forward(x)

    J = gradcheck.complex_step(outputs, u)
    gradcheck.set_flat(net, u)
    return matrix.split(net, 2 / x.shape[-1] * np.sum(J * J, axis=(1, 2)))


def _levenberg_marquardt(rng: np.random.Generator) -> Iterator[Measured]:
    case, relu = random_case(rng, (2, 4, 3, 2), **ELEMENTWISE), random_case(rng, (2, 4, 3, 2), **RELU)
    lm, G, H = hess_diag(*case, "lm"), _gauss_newton(case), hessian_diagonal(case)
    yield Measured("last two layers are diag(J^T J)", missed(lm, G, (1, 2)))
    yield Measured("never negative", max(0.0, -min(float(h.min()) for h in lm.values())))
    yield Measured("diag(J^T J) in all layers, by roots", missed(hess_diag(*case, "ggn"), G, range(3)))
    of_relu = missed(hess_diag(*relu, "ggn"), hessian_diagonal(relu), range(3))
    yield Measured("of a ReLU net it is the Hessian's", of_relu)
    for name, error, message in (
        ("first of three layers", missed(lm, G, (0,)), "The pairs l != m are dropped here as well."),
        ("taken for the Hessian's", missed(lm, H, (1,)), "What is dropped with f'' is part of the second derivative."),
        ("squared gradients", missed(hess_diag(*case, "fisher"), G, (2,)), "That is the empirical Fisher matrix."),
    ):
        yield Measured(name, error, wrong=True, message=message)


STATEMENTS = (
    Claim(
        id="S0-F5b",
        title="the recursion through whole nets",
        printed=r"\frac{\partial^2E}{\partial a_i^2}=f'(a_i)^2\sum_l w_{li}^2\frac{\partial^2E}{\partial a_l^2}"
        r"+f''(a_i)\frac{\partial E}{\partial x_i}\quad\text{layer after layer}",
        verdict="right if",
        remark="It drops the pairs l != m: exact in the last two layers, under a softmax in the last alone.",
        where="S0, Computing the second derivative",
        code="nn.curvature.hess_diag",
        notebook="02, section 4",
        measure=_where_exact,
        referee="complex step of dE/du",
    ),
    Claim(
        id="D1",
        title="the rule of Levenberg and Marquardt",
        printed=r"\frac{\partial^2E}{\partial a_i^2}=f'(a_i)^2\sum_l w_{li}^2\frac{\partial^2E}{\partial a_l^2},"
        r"\qquad\frac{\partial^2E}{\partial a_i^2}=2f'(a_i)^2\text{ at the output}",
        verdict="lost",
        remark="It is never negative, and the diagonal of J^T J in the last two layers only: pairs are still dropped.",
        where="S0, Computing the second derivative, without f''",
        code="nn.curvature.hess_diag, nn.curvature.squares.Squares",
        notebook="02, section 5",
        measure=_levenberg_marquardt,
        referee="complex step of the outputs",
    ),
    Claim(
        id="D2b",
        title="the recursion with all pairs, whole nets",
        printed=r"\frac{\partial^2E}{\partial w_{ij}^2}=\sum_n H^{(l)}_{ii,n}x_{j,n}^2\quad\text{in every layer}",
        verdict="lost",
        remark="With the matrices the diagonal of the Hessian is exact in all layers of a fully connected net.",
        where="S0, Computing the second derivative, with all pairs",
        code="nn.curvature.hess_diag, nn.curvature.exact.to_parameters",
        notebook="02, section 4",
        measure=_full_matrices,
        referee="complex step of dE/du",
    ),
)
