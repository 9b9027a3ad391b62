"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

import nn
from pruning.architectures import widths
from pruning.architectures.width_cost import WidthCost
from pruning.architectures.width_mix import WidthMix
from pruning.penalties import group_lasso, l0
from pruning.penalties.families import Family
from pruning.penalties.variational_dropout import VariationalLinear
from pruning.reconstruction.moments import Moments


def scale_step(gamma, g, v, eta, mu, rho, cost):
    net = nn.Sequential(nn.BatchNorm(len(gamma)))
    scale = net.layers[0].gamma
    scale.data, scale.grad = gamma, mu * v + g
    optimizer = nn.SGD([scale], eta, mu)
    optimizer.step()
    group_lasso.proximal_step(net, [Family({"0.gamma": (0,)}, rho * cost.mean())], optimizer)
    return scale.data, mu * v + g, abs(scale.data) * (1 - mu) / (eta * rho * cost)


def noisy_layer(W, b, rho, x, eps, ga):
    layer = VariationalLinear(W.shape[1], W.shape[0], np.random.default_rng(0))
    layer.W.data, layer.b.data, layer.rho.data, layer.noise = W, b, rho[:, None] + 0 * W, eps
    layer.forward(x)
    layer.backward(ga)
    return W @ x + b[:, None], layer.deviation**2, layer.W.grad, layer.b.grad, layer.rho.grad.sum(axis=1)


def expected_left(log_alpha_in, log_alpha_out, beta, gamma, zeta):
    rng = np.random.default_rng(0)
    settings = {"beta": beta, "gamma": gamma, "zeta": zeta}
    ins, outs = (l0.HardConcrete(len(a), rng, **settings) for a in (log_alpha_in, log_alpha_out))
    ins.log_alpha.data, outs.log_alpha.data = log_alpha_in, log_alpha_out
    net = nn.Sequential(ins, nn.Linear(len(log_alpha_in), len(log_alpha_out), rng), outs)
    return ins.open(), outs.open(), l0.expected_weights(net), outs.open().sum()


def best_widths(scores, q, n_in, n_out, budget):
    rng, sizes = np.random.default_rng(0), [n_in, *map(len, scores), n_out]
    net = nn.Sequential(*(nn.Linear(a, b, rng) for a, b in pairwise(sizes)))
    most = sum(a * b * each for a, b, each in zip(sizes, sizes[1:], q))
    keep = widths.together(net, {f"{k}.W": s for k, s in enumerate(scores)}, (n_in,), budget / most)
    kept = [np.isin(np.arange(len(s)), rows) for s, rows in zip(scores, keep.values())]
    return np.array([len(rows) for rows in keep.values()]), kept


def expected_cost(logits, widths, q, r, n_in, n_out):
    rng, layers, before = np.random.default_rng(0), [], n_in
    for c in widths:
        sizes = [int(each) for each in c]
        layers += [nn.Linear(before, sizes[-1], rng), WidthMix(*map(nn.BatchNorm, sizes), rng=rng)]
        before = sizes[-1]
    cost = WidthCost(nn.Sequential(*layers, nn.Linear(before, n_out, rng)), (n_in,))
    for mix, a in zip(cost.mixes.values(), logits):
        mix.logits.data = a
    cost.products = [replace(each, unit=unit) for each, unit in zip(cost.products, q)]
    return float(cost.expected()), list(cost.gradient().values())


def refit(X, W, b, keep):
    N = X.shape[1]
    Y = W @ X
    A = X @ X.T / N
    moments = Moments("0.W", W, len(keep), A, A, Y @ X.T / N, float(np.sum(Y * Y) / N), N)
    kept = np.flatnonzero(keep).tolist()
    return moments.refit(kept), b, 1 - moments.refit_error(kept) / moments.energy


PASTED = {
    "wid.1": scale_step,
    "wid.2": noisy_layer,
    "wid.3": expected_left,
    "wid.4": best_widths,
    "wid.5": expected_cost,
    "wid.6": refit,
}
