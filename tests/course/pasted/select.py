"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import numpy as np

import nn
from pruning.penalties import admm, projections, slimming
from pruning.pipeline.scratch_budget import scratch_e
from pruning.reconstruction.moments import Moments
from textbook.splitting import least_squares_prox


def project_n_of_m(W, n, m):
    return projections.weights(W.size * n // m)(W)


def admm_step(H, g, W, Y, U, rho, k):
    # A root of H for X: X'X / p = H, X'y / p = g.
    p = len(g)
    X = np.sqrt(p) * np.linalg.cholesky(H).T
    net = nn.Sequential(nn.Linear(p, 1, np.random.default_rng(0), bias=False))
    split = admm.ADMM(net, {"0.W": projections.weights(k)}, float(rho[0]))
    split.Y["0.W"], split.U["0.W"] = Y[None], U[None]
    W = least_squares_prox(X, np.linalg.solve(X.T, p * g))(Y - U, rho[0])
    split.parameters["0.W"].data = W[None]
    split.update()
    return W, split.Y["0.W"][0], split.U["0.W"][0]


def _moments(X, W, Y):
    rows, N = X.reshape(-1, X.shape[2]), X.shape[2]
    A = rows @ rows.T / N
    return Moments("1.W", W.reshape(len(W), -1), len(X), A, A, Y @ rows.T / N, float(np.sum(Y * Y) / N), N)


def channel_gram(X, W, Y):
    made = _moments(X, W, Y)
    return made.G, made.q, 1 / len(Y)


def refit(X, beta, Y):
    (c, K, _), kept = X.shape, np.flatnonzero(beta)
    made, W = _moments(X, np.zeros((len(Y), c, K)), Y), np.zeros((len(Y), c * K))
    W[:, made.columns(kept)] = made.refit(kept)
    return W.reshape(len(Y), c, K), np.zeros(len(Y))


def slim(gammas, norms, share):
    layers = []
    for c_in, gamma in zip((1, *map(len, gammas)), gammas):
        layers += [nn.Linear(c_in, len(gamma), np.random.default_rng(0)), nn.BatchNorm(len(gamma)), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(len(gammas[-1]), 1, np.random.default_rng(0)))
    for scale, gamma in zip(slimming.scales(net).values(), gammas):
        scale.data = gamma
    stays = slimming.keep(net, share).values()
    return [np.isin(np.arange(len(gamma)), rows) * 1.0 for gamma, rows in zip(gammas, stays)]


def scratch_b(epochs, milestones, full, pruned):
    whole = scratch_e(epochs, milestones.tolist())
    r = full[0] / pruned
    return r * whole.epochs, r * np.array(whole.milestones)


PASTED = {
    "admm.1": project_n_of_m,
    "admm.2": admm_step,
    "select.1": channel_gram,
    "select.2": refit,
    "slim.1": slim,
    "slim.2": scratch_b,
}
