"""What reads the channels that stay: weights and bias, both refitted.

Judged by Gram and Schmidt, a column at a time, the constant first.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Answer = tuple[Array, Array, float]


def _layer(channels: int, size: int, stay: int, constants: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        K, patterns = channels * size, 5 * channels * size
        keep = rng.permutation(np.arange(channels) < stay)
        X = rng.standard_normal((K, K)) @ rng.standard_normal((K, patterns)) / np.sqrt(K)
        X += signed(rng, 0.5, 1.5, (K, 1))
        if constants:
            X[np.repeat(~keep, size)] = signed(rng, 0.5, 1.5, (K - stay * size, 1))
        return {"X": X, "W": signed(rng, 0.3, 1.5, (3, K)), "b": signed(rng, 0.3, 1.5, 3), "keep": keep}

    return draw


def _gram_schmidt(X: Array, W: Array, b: Array, keep: Array) -> Answer:
    size, N = X.shape[0] // len(keep), X.shape[1]
    rows = [c * size + j for c in range(len(keep)) if keep[c] for j in range(size)]
    basis = [np.ones(N), *X[rows]]
    Q: list[Array] = []
    mix: list[Array] = []  # each direction, in terms of the basis
    for k, v in enumerate(basis):
        e = np.eye(len(basis))[k]
        for _ in range(2):
            for q, m in zip(Q, mix):
                v, e = v - (q @ v) / (q @ q) * q, e - (q @ v) / (q @ q) * m
        Q.append(v)
        mix.append(e)
    found, error, spread = [], 0.0, 0.0
    for w, shift in zip(W, b):
        r = w @ X + shift
        spread += float(np.sum((r - r.mean()) ** 2))
        u = np.zeros(len(basis))
        for q, m in zip(Q, mix):
            u, r = u + (q @ r) / (q @ q) * m, r - (q @ r) / (q @ q) * q
        found.append(u)
        error += float(r @ r)
    U = np.array(found)
    return U[:, 1:], U[:, 0], 1 - error / spread


def _refit(
    constant: bool = True,
    weights: str = "all",
    centred: bool = True,
    share: Callable[[float, float, int, int], float] = lambda error, spread, N, O: 1 - error / spread,
    interleaved: bool = False,
    sign: int = 1,
) -> Callable[..., Answer]:
    def form(X: Array, W: Array, b: Array, keep: Array) -> Answer:
        size = X.shape[0] // len(keep)
        rows = np.tile(keep, size) if interleaved else np.repeat(keep, size)
        A, Y = X[rows], W @ X + b[:, None]
        V, c = W[:, rows], b
        if weights == "all":
            B = A - A.mean(axis=1, keepdims=True) if constant else A
            T = Y - Y.mean(axis=1, keepdims=True) if constant else Y - b[:, None]
            V = np.linalg.solve(B @ B.T, B @ T.T).T
        elif weights == "ridge":
            B, T = (Z - Z.mean(axis=1, keepdims=True) for Z in (A, Y))
            V = np.linalg.solve(B @ B.T + 0.01 * X.shape[1] * np.eye(len(A)), B @ T.T).T
        if constant:
            c = Y.mean(axis=1) - V @ A.mean(axis=1) * sign
        error = float(np.sum((V @ A + c[:, None] - Y) ** 2))
        spread = float(np.sum((Y - (Y.mean(axis=1, keepdims=True) if centred else 0)) ** 2))
        return V, c, share(error, spread, X.shape[1], len(W))

    return form


REFIT = Exercise(
    id="wid.6",
    function="refit",
    outputs=("V", "c", "share"),
    formula="min over V, c of ‖V X_S + c 1ᵀ − Y‖²: V = Cov(Y, X_S) Cov(X_S)⁻¹, c = mean(Y) − V mean(X_S);"
    "  share = 1 − ‖V X_S + c 1ᵀ − Y‖² / ‖Y − mean(Y)‖²",
    slide="S1, Channel Pruning, (4)",
    ledger="S1-F29, D40",
    section="notebook 16, sections 2 and 5",
    minutes=35,
    referee=_gram_schmidt,
    cases=(
        Case("two of three channels", 1, _layer(3, 1, 2), public=True),
        Case("channels of several columns", 2, _layer(4, 3, 2), draws=3),
        Case("one channel stays", 1, _layer(4, 2, 1), draws=2),
        Case("what goes is constant", 1, _layer(5, 2, 3, constants=True), draws=2),
    ),
    wrong=(
        Wrong(
            "bias stays",
            _refit(constant=False),
            "This refits the weights and leaves the bias as it was, as pruning.reconstruction does. The mean of what"
            " went is then made up for by weights.",
        ),
        Wrong(
            "not refitted",
            _refit(constant=False, weights="none"),
            "This keeps weights and bias as they are. What stays can stand in for what goes (S1-F29).",
        ),
        Wrong(
            "bias only",
            _refit(weights="none"),
            "This puts the mean of what went into the bias and leaves the weights. They are to be refitted, too.",
        ),
        Wrong(
            "ridge",
            _refit(weights="ridge"),
            "This shrinks the weights: a ridge term is in it. The least squares are asked for.",
        ),
        Wrong(
            "columns interleaved",
            _refit(interleaved=True),
            "This takes the columns as if those of one channel stood apart. They stand together: channel c has the rows"
            " c s to c s + s − 1 of X.",
        ),
        Wrong(
            "share of the second moment",
            _refit(centred=False),
            "This divides by the sum of the squares of Y. The share is that of the variance: of what a bias alone"
            " cannot do.",
        ),
        Wrong(
            "the error itself",
            _refit(share=lambda error, spread, N, O: error / spread),
            "This is the share that is lost. Asked for is the one that is kept.",
        ),
        Wrong(
            "sign of the mean",
            _refit(sign=-1),
            "This adds V mean(X_S) to the bias. The weights bring it already; it has to be taken off.",
        ),
    ),
    hint="A bias is the weight of a row of ones.",
    package="pruning.reconstruction.moments",
)
