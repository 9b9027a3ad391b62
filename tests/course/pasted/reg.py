"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import numpy as np

import textbook


def ridge(X, y, v, lam):
    return textbook.ridge(X, y, lam).beta


def prox_elastic(w, lam, mu):
    return w - np.minimum(np.maximum(w, -lam), lam)  # textbook.soft_threshold


def prox_root(w, h, lam, p):
    return textbook.half_threshold(w, lam) if p else textbook.hard_threshold(w, lam)


def project_weighted_ball(w, a, t):
    return textbook.project_l1_ball(w, t)


def omp(X, y, k):
    fit = textbook.orthogonal_matching_pursuit(X, y, k)
    return fit.beta, 0.0


PASTED = {
    "reg.1": ridge,
    "reg.2": prox_elastic,
    "reg.3": prox_root,
    "reg.4": project_weighted_ball,
    "reg.5": omp,
}
