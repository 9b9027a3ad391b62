"""The input channels of a layer: its outputs through E[x x^T], of one rank, of a set of channels, and the refit."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

import nn
from pruning.ledger.core import Form, Formula, Statement
from pruning.reconstruction import approximation

Array = np.ndarray
WHERE = 'S1, the slides "Channel Pruning"'


def _moments(rows: Array) -> Array:
    A: Array = rows.T @ rows / len(rows)
    return A


# ---- S1-F20b: rank r of W, or of W X ---------------------------------------------------------------------------------
def _draw_layer(rng: np.random.Generator) -> dict[str, Array]:
    sizes = 10 ** np.linspace(-0.5, 0.5, 8) * rng.choice([-1, 1], 8)
    mixed = np.linalg.qr(rng.standard_normal((8, 8)))[0] * sizes
    U, V = (np.linalg.qr(rng.standard_normal((size, 5)))[0] for size in (5, 8))
    return {"W": U * [3.0, 2.4, 1.8, 1.3, 0.9] @ V.T, "X": mixed @ rng.standard_normal((8, 60)) + 0.5}


def _nearest_outputs(W: Array, X: Array) -> Array:
    return np.asarray(approximation.of_rank(W, 2, _moments(X.T)) @ X)


def _truncated_outputs(W: Array, X: Array) -> Array:
    """Y less all but its two largest directions, found by powers of Y Y^T: no decomposition of W, and no A."""
    Y = np.array([[sum(w[j] * x[j] for j in range(len(x))) for x in X.T] for w in W])
    kept, rest = np.zeros_like(Y), Y
    for _ in range(2):
        power = rest @ rest.T
        for _ in range(12):  # the 4096th power
            power = power @ power / np.linalg.norm(power) ** 2
        u = power[:, np.argmax(np.diag(power))]
        step = np.outer(u / np.linalg.norm(u), u / np.linalg.norm(u)) @ rest
        kept, rest = kept + step, rest - step
    return kept


def _in_metric(metric: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    def form(W: Array, X: Array) -> Array:
        U = np.linalg.svd(W @ metric(X), full_matrices=False)[0][:, :2]
        return np.asarray(U @ U.T @ W @ X)

    return form


def _not_taken_back(W: Array, X: Array) -> Array:
    values, vectors = np.linalg.eigh(_moments(X.T))
    root = vectors * np.sqrt(values) @ vectors.T
    U, s, V = np.linalg.svd(W @ root, full_matrices=False)
    return np.asarray(U[:, :2] * s[:2] @ V[:2] @ X)


# ---- S1-F26: objective (1) of every pair of channels, before and after the best W ------------------------------------
def _draw_convolution(rng: np.random.Generator) -> dict[str, Array]:
    """x (4, 5, 5, 6), channels that resemble each other; W (3, 4, 2, 2) and its bias."""
    x = rng.standard_normal((4, 5, 5, 6)) + rng.standard_normal((1, 5, 5, 6)) + 0.5
    return {"x": x, "W": rng.standard_normal((3, 4, 2, 2)), "b": rng.uniform(1, 2, 3)}


def _objectives(x: Array, W: Array, b: Array) -> Array:
    A, flat = _moments(nn.im2col(x, (2, 2)).T), W.reshape(len(W), -1)
    both = [[approximation.on_channels(flat, each, 4, M) for M in (None, A)] for each in combinations(range(4), 2)]
    return np.array([[approximation.change(flat, other, A) / 2 for other in pair] for pair in both])


def _patches(x: Array) -> list[list[Array]]:
    """X_i of every channel: a row (kh, kw) for each place of each image."""
    places = [(n, i, j) for n in range(x.shape[3]) for i in range(4) for j in range(4)]
    return [[np.array([x[c, i + k, j + m, n] for k in (0, 1) for m in (0, 1)]) for n, i, j in places] for c in range(4)]


def _by_patches(
    x: Array, W: Array, b: Array, bias: float = 0.0, per_output: bool = False, kernel_first: bool = False
) -> Array:
    X = [np.array(rows) for rows in _patches(x)]
    slices = W.reshape(len(W), 4, 4) if not kernel_first else np.moveaxis(W, 1, -1).reshape(len(W), 4, 4)
    Wi = np.moveaxis(slices, 1, 0)
    Y, N = sum(X[c] @ W[:, c].reshape(len(W), 4).T for c in range(4)) + bias * b, len(X[0])
    found = []
    for kept in combinations(range(4), 2):
        before = Y - sum(X[c] @ Wi[c].T for c in kept)
        columns = np.hstack([X[c] for c in kept])
        after = Y - columns @ np.linalg.lstsq(columns, Y, rcond=None)[0]
        found.append([np.sum(each**2) / (2 * N * (len(W) if per_output else 1)) for each in (before, after)])
    return np.array(found)


def _transposed(x: Array, W: Array, b: Array) -> Array:
    return _by_patches(x, W.swapaxes(2, 3), b)


def _removed(x: Array, W: Array, b: Array) -> Array:
    return _by_patches(x, W, b)[::-1]  # the other two of four


# ---- S1-F29: the refit (4) of what the lasso kept, as weights for the inputs themselves ------------------------------
def _draw_kept(rng: np.random.Generator) -> dict[str, Array]:
    drawn = _draw_convolution(rng)
    beta = np.append(rng.uniform(0.3, 0.8, 2), [0.0, rng.uniform(1.3, 2)])
    return {**drawn, "beta": rng.permutation(beta)}


def _refit(x: Array, W: Array, b: Array, beta: Array) -> Array:
    A, kept = _moments(nn.im2col(x, (2, 2)).T), np.flatnonzero(beta).tolist()
    return approximation.on_channels(W.reshape(len(W), -1), kept, 4, A)


def _fitted(x: Array, W: Array, b: Array, beta: Array, bias: float = 0.0, centred: bool = False) -> Array:
    """Least squares on the patches, X_i beta_i of the kept channels; W' (3, 16) belongs to these."""
    X = [np.array(rows) for rows in _patches(x)]
    Y = sum(X[c] @ W[:, c].reshape(len(W), 4).T for c in range(4)) + bias * b
    kept = np.flatnonzero(beta)
    columns = np.hstack([beta[c] * X[c] for c in kept])
    if centred:
        columns, Y = columns - columns.mean(axis=0), Y - Y.mean(axis=0)
    found = np.zeros((len(W), 4, 4))
    found[:, kept] = np.linalg.lstsq(columns, Y, rcond=None)[0].T.reshape(len(W), len(kept), 4)
    return found.reshape(len(W), 16)


def _folded(power: int, **how: Any) -> Callable[..., Array]:
    def form(x: Array, W: Array, b: Array, beta: Array) -> Array:
        return np.asarray(np.repeat(beta, 4) ** power * _fitted(x, W, b, beta, **how))

    return form


def _masked(x: Array, W: Array, b: Array, beta: Array) -> Array:
    return np.asarray(W.reshape(len(W), -1) * np.repeat(beta != 0, 4))


def _dead_blocks(x: Array, W: Array, b: Array, beta: Array) -> Array:
    alive = np.where(beta == 0, 1.0, beta)
    return np.asarray(np.repeat(alive, 4) * _fitted(x, W, b, alive))


def _dead_block_solved(x: Array, W: Array, b: Array, beta: Array) -> Array:
    rows = nn.im2col(x, (2, 2)).T * np.repeat(beta, 4)
    try:
        found = np.linalg.solve(rows.T @ rows, rows.T @ nn.im2col(x, (2, 2)).T @ W.reshape(len(W), -1).T).T
    except np.linalg.LinAlgError:
        return np.full((len(W), 16), np.nan)
    return np.asarray(np.repeat(beta, 4) * found)


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S1-F20b",
        title="rank r of W, or of W X",
        printed=r"\min_{\mathrm{rank}\,W'\le r}\|W X-W'X\|_F:\quad W'=U_rU_r^\top W,\qquad WA^{1/2}=U\Sigma V^\top",
        verdict="lost",
        remark="The slide asks which is better: of one rank, nobody's outputs are nearer than those of U U^T W.",
        where='S1, the slide "Which is better?"',
        code="pruning.reconstruction.approximation.of_rank",
        notebook="16, section 8",
        tolerance=1e-11,
        draw=_draw_layer,
        right=_nearest_outputs,
        referees=(Form("W X less all but two directions, by powers", _truncated_outputs),),
        wrong=(
            Form("the nearest W", _in_metric(lambda X: np.eye(len(X))),
                 "It asks for W ~ W': the same only where the inputs have one size and no correlation."),
            Form("A for its root", _in_metric(lambda X: _moments(X.T)),
                 "The error is ||(W - W') A^1/2||: with A itself the large inputs count twice."),
            Form("covariance for A", _in_metric(lambda X: np.linalg.cholesky(np.cov(X))),
                 "Without a bias that is fitted too, the mean of the inputs is part of the outputs."),
            Form("variances alone", _in_metric(lambda X: np.diag(np.sqrt(np.mean(X**2, axis=1)))),
                 "Inputs that go together add up in the outputs: A is more than its diagonal."),
            Form("A^1/2 not taken back", _not_taken_back, "What is truncated is W A^1/2: W' is that times A^-1/2."),
        ),
    ),
    Formula(
        id="S1-F26",
        title="objective (1), for every pair of four channels",
        printed=r"\arg\min_{\beta,W}\frac1{2N}\Big\|Y-\sum_{i=1}^c\beta_iX_iW_i^\top\Big\|_F^2,\quad\|\beta\|_0\le c'",
        verdict="right",
        remark="With beta of zeros and ones it is tr(D A D^T) / 2; Y is without its bias, and N counts places.",
        where=WHERE + ", (1)",
        code="pruning.reconstruction.approximation.change, pruning.reconstruction.approximation.on_channels",
        notebook="16, section 2",
        draw=_draw_convolution,
        right=_objectives,
        referees=(Form("patches by loops, residuals of the outputs", _by_patches),),
        wrong=(
            Form("1/(2 N n)", lambda x, W, b: _by_patches(x, W, b, per_output=True),
                 "N counts the rows of Y; its n columns are added up, and a lambda for the mean would be another."),
            Form("bias left in Y", lambda x, W, b: _by_patches(x, W, b, bias=1.0),
                 "No channel can make the bias: it stays in the next layer, and out of Y."),
            Form("weights as (kh, kw, c)", lambda x, W, b: _by_patches(x, W, b, kernel_first=True),
                 "X_i and W_i are slices of one channel: columns run channel by channel."),
            Form("kernels transposed", _transposed, "Each weight belongs to its own place in the patch."),
            Form("the error of what goes", _removed, "The channels in the set are those that stay."),
        ),
    ),
    Formula(
        id="S1-F29",
        title="the refit (4)",
        printed=r"\arg\min_{W'}\|Y-X'(W')^\top\|_F^2,\qquad X'=[\beta_1X_1\ \beta_2X_2\ \dots\ \beta_cX_c]",
        verdict="right if",
        remark="Channels with beta = 0 have to be left out, or X'^T X' has no inverse; beta_i goes into W_i.",
        where=WHERE + ", (4)",
        code="pruning.reconstruction.approximation.on_channels",
        notebook="16, section 5",
        tolerance=1e-11,
        draw=_draw_kept,
        right=_refit,
        referees=(Form("least squares on patches by loops", _folded(1)),),
        wrong=(
            Form("beta not folded", _folded(0), "W' belongs to beta_i X_i: a net that is fed X_i needs beta_i W_i'."),
            Form("beta applied twice", _folded(2), "Its columns have beta in them already, and W' makes up for it."),
            Form("bias left in Y", _folded(1, bias=1.0), "Weights that have to make a constant do it badly."),
            Form("inputs centred", _folded(1, centred=True), "Without a bias to be fitted, the means stay in."),
            Form("no refit", _masked, "The channels that stay have to speak for those that went."),
            Form("dead blocks fitted", _dead_blocks, "A channel with beta = 0 is gone: it may not help any more."),
            Form("dead blocks kept", _dead_block_solved, "X'^T X' is singular: it has rows and columns of zeros."),
        ),
    ),
)  # fmt: skip
