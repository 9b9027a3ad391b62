"""Referees that share no code with what they judge.

`energy` lets torch differentiate our own forward.  `curvature_recursion` never sees a class of nn: it carries full
matrices pattern by pattern, with f' and f'' from torch.func.grad and the loss's derivatives from torch.func.
"""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra verify); golden values are still checked")

TORCH_ACTIVATIONS = {
    "Identity": lambda a: a * 1.0,
    "ReLU": torch.relu,
    "Tanh": torch.tanh,
    "ScaledTanh": lambda a: 1.7159 * torch.tanh(2 * a / 3),
    "Sigmoid": torch.sigmoid,
    "Softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a)),
}
TORCH_LOSSES = {
    "SquaredError": lambda y, t: torch.sum((t - y) ** 2),
    "SoftmaxCrossEntropy": lambda y, t: torch.logsumexp(y, dim=0) - y[t],
}


def energy(net, loss, x, t):
    """Our own forward and loss on torch tensors, as E(u, x) with u the flat float64 vector of all parameters."""
    twin = copy.deepcopy(net)  # before torch touches it: tensors inside a graph cannot be copied
    for module in twin.modules():
        for name in module.buffers:
            setattr(module, name, torch.as_tensor(getattr(module, name)))
    parameters = twin.parameters()
    sizes = [math.prod(p.shape) for p in parameters]
    shapes = [p.shape for p in parameters]

    def E(u, x):
        for p, shape, piece in zip(parameters, shapes, torch.split(u, sizes)):
            p.data = torch.reshape(piece, shape)  # replaced, never updated in place
        return loss.forward(twin.forward(x), torch.from_numpy(t))

    u = np.concatenate([np.reshape(p.data, -1) for p in parameters])
    return E, torch.from_numpy(u), torch.from_numpy(x)


def autograd_gradient(net, loss, x, t):
    """dE/du (flat) and dE/dx by torch autograd through our forward."""
    E, u, x = energy(net, loss, x, t)
    u.requires_grad_(), x.requires_grad_()
    gu, gx = torch.autograd.grad(E(u, x), (u, x))
    return gu.numpy(), gx.numpy()


def autograd_hessian(net, loss, x, t):
    """The full d2E/du2, and the diagonal of d2E/dx2 in the shape of x, by torch.func.hessian of our forward."""
    E, u, x = energy(net, loss, x, t)
    H = torch.func.hessian(E, argnums=0)(u, x).numpy()
    Hx = torch.func.hessian(lambda flat_x: E(u, torch.reshape(flat_x, x.shape)))(torch.reshape(x, (-1,))).numpy()
    return H, np.diagonal(Hx).reshape(x.shape)


def autograd_tangent(net, loss, x, t, v, rx):
    """The derivatives of dE/du (flat) and dE/dx along (v, rx): torch.func.jvp of torch.func.grad of our forward."""
    E, u, x = energy(net, loss, x, t)
    tangents = torch.from_numpy(v), torch.from_numpy(rx)
    _, (ru, rgx) = torch.func.jvp(torch.func.grad(E, argnums=(0, 1)), (u, x), tangents)
    return ru.numpy(), rgx.numpy()


def gauss_newton_diagonal(net, loss, x, t):
    """diag(J^T (d2E/dy2) J) over all parameters: J by torch.func.jacrev, d2E/dy2 by torch.func.hessian of the loss."""
    _, u, z = energy(net, loss, x, t)
    outputs = type("Outputs", (), {"forward": staticmethod(lambda y, _: torch.reshape(y, (-1,)))})()
    y, _, _ = energy(net, outputs, x, t)
    shape = net.forward(x).shape
    E = lambda flat_y: loss.forward(torch.reshape(flat_y, shape), torch.from_numpy(t))  # noqa: E731
    J, H = torch.func.jacrev(y)(u, z), torch.func.hessian(E)(y(u, z))
    return torch.sum(J * (H @ J), dim=0).numpy()


def curvature_recursion(weights, activations, loss, x, t, drop):
    """Diagonals of the second derivatives by matrix recursion, pattern by pattern.

    weights: [(W, b)] arrays.  activations: names, one per weight layer.  loss: name.  drop: zero the off-diagonal
    terms of d2E/da2 before each crossing of W (LeCun's recursion), or keep them (exact).
    Returns [(hW, hb)] and hx.
    """
    weights = [(torch.from_numpy(W), torch.from_numpy(b)) for W, b in weights]
    functions = [TORCH_ACTIVATIONS[name] for name in activations]
    sums = [(torch.zeros_like(W), torch.zeros_like(b)) for W, b in weights]
    hx = torch.zeros(x.shape, dtype=torch.float64)
    N = x.shape[-1]
    for n in range(N):
        z = torch.from_numpy(np.ascontiguousarray(x[:, n]))
        inputs, pre = [], []
        for (W, b), f in zip(weights, functions):
            inputs.append(z)
            pre.append(W @ z + b)
            z = f(pre[-1])
        target = torch.from_numpy(np.asarray(t[..., n]))
        E_n = lambda y, target=target: TORCH_LOSSES[loss](y, target) / N  # noqa: E731
        g, H = torch.func.grad(E_n)(z), torch.func.hessian(E_n)(z)
        for layer in reversed(range(len(weights))):
            (W, _), f, a = weights[layer], functions[layer], pre[layer]
            df = torch.func.vmap(torch.func.grad(f))(a)
            d2f = torch.func.vmap(torch.func.grad(torch.func.grad(f)))(a)
            H = torch.outer(df, df) * H + torch.diag(d2f * g)
            if drop:
                H = torch.diag(torch.diag(H))
            sums[layer][0].add_(torch.outer(torch.diag(H), inputs[layer] ** 2))
            sums[layer][1].add_(torch.diag(H))
            g, H = W.T @ (df * g), W.T @ H @ W
        hx[:, n] = torch.diag(H)
    return [(hW.numpy(), hb.numpy()) for hW, hb in sums], hx.numpy()
