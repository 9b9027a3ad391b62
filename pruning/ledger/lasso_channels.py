"""Channels by the lasso: (2) and its constraint, (3) as a regression of c columns, the refit, and the rescaling."""

from collections.abc import Callable
from typing import Any

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula, Statement
from pruning.ledger.lasso import by_signs
from pruning.reconstruction import lasso_channels
from pruning.reconstruction.moments import Moments
from pruning.reconstruction.roots import root

Array = np.ndarray
WHERE = 'S1, the slides "Channel Pruning"'
CHANNELS = 4


def moments_of(X: Array, W: Array, Y: Array, c: int = CHANNELS) -> Moments:
    """Return the moments of a layer with the weights W (n, K) that reads the rows X (N, K) and should give Y (N, n)."""
    N = len(X)
    return Moments("1.W", W, c, X.T @ X / N, X.T @ X / N, Y.T @ X / N, float(np.sum(Y * Y) / N), N)


def parts(X: Array, W: Array, c: int = CHANNELS) -> Array:
    """Return Z (c, N, n), sample by sample: what each channel adds to each output."""
    size = X.shape[1] // c
    Z = np.zeros((c, len(X), len(W)))
    for i in range(c):
        for sample in range(len(X)):
            for j in range(i * size, (i + 1) * size):
                Z[i, sample] += X[sample, j] * W[:, j]
    return Z


def draw_layer(rng: np.random.Generator, c: int = CHANNELS, k: int = 2, n: int = 3, N: int = 30) -> dict[str, Array]:
    """Rows X (N, c k) of channels that resemble each other, weights W (n, c k) of several sizes, and a target Y (N, n).

    The target is that of other weights and other inputs: earlier layers have been pruned.
    """
    X = rng.standard_normal((N, c * k)) + 0.4 * rng.standard_normal((N, 1))
    W = rng.standard_normal((n, c * k)) * np.repeat(rng.permutation(np.linspace(0.5, 1.5, c)), k)
    dense = X + 0.4 * rng.standard_normal(X.shape)
    return {"X": X, "W": W, "Y": dense @ (W + 0.1 * rng.standard_normal(W.shape)).T}


# ---- S1-F27: the objective (2), and what its constraint is for -------------------------------------------------------
LAM = 0.3


def _draw_scaled(rng: np.random.Generator) -> dict[str, Array]:
    beta, t = rng.choice([-1, 1], CHANNELS) * rng.uniform(0.3, 1.5, CHANNELS), 10 ** rng.uniform(0.5, 2, CHANNELS)
    return {**draw_layer(rng), "beta": beta, "t": t}


def _normal_objective(X: Array, W: Array, Y: Array, beta: Array, t: Array) -> float:
    size = X.shape[1] // len(beta)
    factors, unit = lasso_channels.normalised(beta / t, W * np.repeat(t, size))
    made = moments_of(X, unit * np.repeat(factors, size), Y)
    return made.selection_error(range(len(beta))) / 2 + LAM * float(np.sum(np.abs(factors)))


def _objective(norm: Callable[[Array], float], rescaled: bool = False, mean: float = 0.5) -> Callable[..., float]:
    """(2) on the samples, each |beta_i| with the size of W_i before it is divided; `rescaled` leaves beta / t alone."""

    def form(X: Array, W: Array, Y: Array, beta: Array, t: Array) -> float:
        Z, loss = parts(X, W), 0.0
        for sample in range(len(X)):
            loss += mean * float(np.sum((Y[sample] - sum(b * z[sample] for b, z in zip(beta, Z))) ** 2)) / len(X)
        blocks = np.split(W, len(beta), axis=1)
        sizes = [abs(b) * (1 / s if rescaled else norm(block)) for b, s, block in zip(beta, t, blocks)]
        return loss + LAM * sum(sizes)

    return form


def _one_norm(X: Array, W: Array, Y: Array, beta: Array, t: Array) -> float:
    share = 1 / np.sqrt(np.sum((W * np.repeat(t, 2)) ** 2))  # one constraint for all of W: beta / t over this share
    return _objective(lambda W: 0.0)(X, W, Y, beta, t) + LAM * float(np.sum(np.abs(beta / t)) / share)


# ---- S1-F28: step (i), of c columns instead of N n rows --------------------------------------------------------------
def _draw_step(rng: np.random.Generator) -> dict[str, Array]:
    """Draw until some channels stay and some go."""
    while True:
        drawn = draw_layer(rng)
        sizes = np.abs(_on_rows(drawn["X"], drawn["W"], drawn["Y"])[0])
        if 0 < np.sum(sizes == 0) < CHANNELS and sizes[sizes > 0].min() > 1e-2:
            return drawn


def _lam(X: Array, W: Array, Y: Array) -> float:
    """Half of the lam at which all factors of (3) are zero."""
    return float(np.max([abs(np.sum(Z * Y)) for Z in parts(X, W)]) / len(X) / 2)


def _step(X: Array, W: Array, Y: Array) -> tuple[Array, Array]:
    made = moments_of(X, W, Y)
    return textbook.lasso(*root(made), _lam(X, W, Y)).beta, made.factors(range(CHANNELS))


def _on_rows(X: Array, W: Array, Y: Array, share: float = 1.0, bias: float = 0.0, **how: Any) -> tuple[Array, Array]:
    """By patterns of signs on all N n rows, and least squares on them."""
    rows, y = parts(X, how.get("weights", W)).reshape(CHANNELS, -1).T, how.get("target", Y).reshape(-1) + bias
    beta = by_signs(rows, y, _lam(X, W, Y) * share, 1 / (2 * len(X)))
    return beta, np.linalg.lstsq(rows, y, rcond=None)[0]


def _turned(X: Array, W: Array, Y: Array) -> tuple[Array, Array]:
    return _on_rows(X, W, Y, weights=W.reshape(len(W), CHANNELS, 2)[:, :, ::-1].reshape(W.shape))


# ---- S0-A4: two of four channels by the lasso, then the refit --------------------------------------------------------
def _draw_choice(rng: np.random.Generator) -> dict[str, Array]:
    """Draw until two channels have clearly entered, and other sizes would choose another two."""
    while True:
        drawn = draw_layer(rng)
        if np.sort(np.abs(_entered(**drawn)))[-2] < 0.02:
            continue
        sets = [np.flatnonzero(form(**drawn)[0]).tolist() for form in CHOOSE]
        if sets[0] not in sets[1:]:
            return drawn


def _by_lasso(X: Array, W: Array, Y: Array) -> Array:
    made = moments_of(X, W, Y)
    kept, refitted = lasso_channels.choose(made, 2), np.zeros_like(W)
    refitted[:, made.columns(kept)] = made.refit(kept)
    return refitted


def _entered(X: Array, W: Array, Y: Array) -> Array:
    """The last factors of at most two channels on the way down: lam in steps, by patterns of signs on all rows."""
    rows, start, last = parts(X, W).reshape(CHANNELS, -1).T, 2 * _lam(X, W, Y), np.zeros(CHANNELS)
    for share in np.geomspace(1, 1e-2, 50):
        beta = by_signs(rows, Y.reshape(-1), start * share, 1 / (2 * len(X)))
        if np.count_nonzero(beta) > 2:
            break
        last = beta
    return last


def _refitted(sizes: Callable[..., Array], fit: str = "least squares") -> Callable[..., Array]:
    """Return W' (n, K) of the two channels of the largest sizes."""

    def form(X: Array, W: Array, Y: Array) -> Array:
        beta = sizes(X, W, Y)
        columns = [2 * i + j for i in np.argsort(-np.abs(beta))[:2] for j in (0, 1)]
        found = np.zeros_like(W)
        target = Y if fit != "its own outputs" else X @ W.T
        found[:, columns] = np.linalg.lstsq(X[:, columns], target, rcond=None)[0].T
        if fit == "beta":
            found = np.where(found != 0, W * np.repeat(beta, 2), 0.0)
        return found * np.repeat(beta, 2) if fit == "twice" else found

    return form


def _weight_norms(X: Array, W: Array, Y: Array) -> Array:
    return np.array([np.linalg.norm(block) for block in np.split(W, CHANNELS, axis=1)])


def _least_squares(X: Array, W: Array, Y: Array) -> Array:
    return _on_rows(X, W, Y)[1]


CHOOSE = (_refitted(_entered), _refitted(_weight_norms), _refitted(_least_squares))


# ---- S1-F30: the rescaling -------------------------------------------------------------------------------------------
def _draw_dead(rng: np.random.Generator) -> dict[str, Array]:
    W = draw_layer(rng)["W"]
    W[:, 2:4] = 0.0  # a channel that has gone
    return {"beta": rng.uniform(0.3, 1.5, CHANNELS), "W": W}


def _rescaled(beta: Array, W: Array) -> tuple[Array, Array, Array]:
    factors, unit = lasso_channels.normalised(beta, W)
    return factors, unit, unit * np.repeat(factors, 2)


def _by_loops(beta: Array, W: Array, per_filter: bool = False, guarded: bool = True) -> tuple[Array, Array, Array]:
    factors, unit, product = np.zeros_like(beta), np.zeros_like(W), np.zeros_like(W)
    for i, b in enumerate(beta):
        block = W[:, 2 * i : 2 * i + 2]
        size = sum(float(w) ** 2 for w in block.flat) ** 0.5
        factors[i], product[:, 2 * i : 2 * i + 2] = b * size, b * block
        by = np.linalg.norm(block, axis=1, keepdims=True) if per_filter else np.float64(size)
        unit[:, 2 * i : 2 * i + 2] = block / (np.where(by > 0, by, 1) if guarded else by)
    return factors, unit, product if not per_filter else unit * np.repeat(factors, 2)


def _one_side(power: int, divided: bool) -> Callable[[Array, Array], tuple[Array, Array, Array]]:
    def form(beta: Array, W: Array) -> tuple[Array, Array, Array]:
        factors, unit, _ = _by_loops(beta, W)
        sizes = np.array([np.linalg.norm(block) for block in np.split(W, CHANNELS, axis=1)])
        factors, unit = beta * sizes**power, unit if divided else W
        return factors, unit, unit * np.repeat(factors, 2)

    return form


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S0-A4",
        title="channels by the lasso, then least squares",
        printed=r"\text{a lasso selects }S;\quad W'_S=\arg\min_{W'}\|Y-X_SW'^\top\|_F^2",
        verdict="right",
        remark="Two of four: the last set of two on the way down in lambda; its weights are fitted to the target.",
        where="S0, He et al.",
        code="pruning.reconstruction.lasso_channels.choose, pruning.reconstruction.moments.Moments.refit",
        notebook="16, section 3",
        tolerance=1e-11,
        draw=_draw_choice,
        draws=2,
        right=_by_lasso,
        referees=(Form("patterns of signs on all rows, lambda in steps; least squares", CHOOSE[0]),),
        wrong=(
            Form("the largest weights", CHOOSE[1], "The weights alone know neither the inputs nor the target."),
            Form("the largest least-squares factors", CHOOSE[2],
                 "Without lambda every factor is near 1: the size of Z_i, not that of beta_i, is what counts there."),
            Form("no refit", _refitted(_entered, "beta"), "The factors of the lasso are shrunk: (4) is still to come."),
            Form("refit, and beta", _refitted(_entered, "twice"), "Fitted on X_i itself, W' has beta in it already."),
            Form("fitted to its own outputs", _refitted(_entered, "its own outputs"),
                 "What earlier layers have lost is part of the error: the target is the dense net's output."),
        ),
    ),
    Formula(
        id="S1-F27",
        title="objective (2), with its constraint",
        printed=r"\frac1{2N}\Big\|Y-\sum_i\beta_iX_iW_i^\top\Big\|_F^2+\lambda\|\beta\|_1,\qquad\|W_i\|_F=1",
        verdict="right",
        remark="beta / t and t W compute the same: with the constraint so does (2), without it the penalty shrinks.",
        where=WHERE + ", (2)",
        code="pruning.reconstruction.lasso_channels.normalised",
        notebook="16, section 2",
        tolerance=1e-11,
        draw=_draw_scaled,
        right=_normal_objective,
        referees=(Form("samples by loops, |beta_i| ||W_i||_F", _objective(lambda W: float(np.linalg.norm(W)))),),
        wrong=(
            Form("no constraint", _objective(lambda W: 0.0, rescaled=True),
                 "The penalty of beta / t shrinks with 1 / t, and no output moves."),
            Form("||W_i||_F^2", _objective(lambda W: float(np.sum(W**2))), "The constraint is on the norm."),
            Form("spectral norm", _objective(lambda W: float(np.linalg.norm(W, 2))), "It is the Frobenius norm."),
            Form("one constraint for all of W", _one_norm, "Each channel has its own, or its size still escapes."),
            Form("without the half", _objective(lambda W: float(np.linalg.norm(W)), mean=1.0),
                 "lambda stands beside 1/(2N): it would have to be twice as large."),
        ),
    ),
    Formula(
        id="S1-F28",
        title="step (i) as a lasso of c columns",
        printed=r"\hat\beta=\arg\min_\beta\frac1{2N}\Big\|Y-\sum_i\beta_iZ_i\Big\|_F^2+\lambda\|\beta\|_1,"
        r"\quad Z_i=X_iW_i^\top",
        verdict="scale",
        remark="G and q are enough, whatever N is; for the mean over all N n rows lambda has to be lambda / n.",
        where=WHERE + ", (3)",
        code="pruning.reconstruction.roots.root, pruning.reconstruction.moments.Moments.factors",
        notebook="16, section 3",
        tolerance=1e-10,
        draw=_draw_step,
        right=_step,
        referees=(Form("patterns of signs, and least squares, on all rows", _on_rows),),
        wrong=(
            Form("lambda for all rows", lambda X, W, Y: _on_rows(X, W, Y, share=len(W)),
                 "The mean over N n rows is n times smaller, and so is the lambda that goes with it."),
            Form("lambda without a mean", lambda X, W, Y: _on_rows(X, W, Y, share=1 / len(X)),
                 "The sum over all rows is N times the mean: as a lambda of (3) the number is too small."),
            Form("bias left in Y", lambda X, W, Y: _on_rows(X, W, Y, bias=1.5), "No channel can make the bias."),
            Form("q = G 1", lambda X, W, Y: _on_rows(X, W, Y, target=X @ W.T),
                 "This is the layer's own output: pruned earlier layers have another target."),
            Form("kernels turned", _turned, "Each weight belongs to its own place in the patch."),
        ),
    ),
    Formula(
        id="S1-F30",
        title="the rescaling to ||W_i|| = 1",
        printed=r"\beta_i\leftarrow\beta_i\|W_i\|_F,\qquad W_i\leftarrow W_i/\|W_i\|_F",
        verdict="right if",
        remark="beta_i W_i does not change; a channel that has gone, with W_i = 0, has to be left as it is.",
        where=WHERE + ", below (4)",
        code="pruning.reconstruction.lasso_channels.normalised",
        notebook="16, section 5",
        draw=_draw_dead,
        right=_rescaled,
        referees=(Form("channel by channel, by loops", _by_loops),),
        wrong=(
            Form("a dead channel divided", lambda beta, W: _by_loops(beta, W, guarded=False), "0 / 0 is no number."),
            Form("beta / ||W_i||", _one_side(-1, True), "What W_i loses beta_i has to gain."),
            Form("beta as it was", _one_side(0, True), "Then the output changes: the product has to stay."),
            Form("W as it was", _one_side(1, False), "Then the norms are in the product twice."),
            Form("filter by filter", lambda beta, W: _by_loops(beta, W, per_filter=True),
                 "One norm for a channel's block of all filters: there is but one beta for them."),
        ),
    ),
)  # fmt: skip
