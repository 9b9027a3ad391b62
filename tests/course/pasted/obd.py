"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import numpy as np

import nn
from pruning.masks import smallest
from pruning.scores import obs


def boundary_hessian(y, df, d2f, d, c):
    loss = nn.SquaredError()
    loss.forward(y, d)
    gy, hy = loss.backward(), loss.backward_hessian()
    return df * df * hy + d2f * gy  # nn.Activation.backward_hessian


def scaled_linear_hessian(W, s, x, ha):
    layer, scale = nn.Linear(W.shape[1], W.shape[0], None), nn.Scale(len(s), len(s))
    layer.W.data, layer.b.data, scale.s.data = W, 0 * s, s
    scale.forward(layer.forward(x))
    scale.backward_hessian(ha, ha)
    _, hx = layer.backward_hessian(ha, ha)
    return layer.W.hess_diag, scale.s.hess_diag, layer.b.hess_diag, hx


def delete(u, h, mask, m):
    s = np.maximum(h, 0) * u * u / 2
    sparsity = 1 - (mask.sum() - m * len(u)) / mask.size
    return s, smallest({"W": s}, sparsity, dead={"W": mask})["W"]


def pair_price(u, h, hkl, g):
    change = h * u * u / 2
    return float(np.sum(change - g * u))


def block(H, w, Q, g):
    Hinv = nn.curvature.matrix.invert(H)
    return obs.block_saliency(w, Hinv, Q), obs.delete(w, Hinv, Q)[0] - w


def greedy_obs(Hinv, W, m):
    layer = nn.Linear(W.shape[1], W.shape[0], None, bias=False)
    layer.W.data = W
    _, predicted = obs.prune(nn.Sequential(layer), Hinv, m / W.size)
    return layer.W.data, predicted


PASTED = {
    "obd.1": boundary_hessian,
    "obd.2": scaled_linear_hessian,
    "obd.3": delete,
    "obd.4": pair_price,
    "obs.1": block,
    "obs.2": greedy_obs,
}
