"""Channels in front of a layer with a free bias: the lasso of their factors (select.1), and the refit (select.2).

The lecture's layer has no bias, and neither has that of `pruning.reconstruction`; a free one changes every formula.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Fit = Callable[[Array, Array, Array], tuple[Array, Array]]


def _signals(rng: np.random.Generator, c: int, K: int, O: int, N: int) -> tuple[Array, Array]:
    # Channels (c, K, N) that resemble each other, and a target (O, N); the means of both are not zero.
    X = rng.standard_normal((c, K, N)) + 0.4 * rng.standard_normal(N) + rng.uniform(1, 2, (c, K, 1))
    Y = np.einsum("ock,ckn->on", rng.standard_normal((O, c, K)), X) / K + rng.uniform(3, 5, (O, 1))
    return X, Y + rng.standard_normal((O, N))


# ---- select.1: a lasso of c columns ------------------------------------------------------------------------------
def _layer(c: int, K: int, O: int, N: int, constant: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        X, Y = _signals(rng, c, K, O, N)
        if constant:
            X[0], X[1] = rng.uniform(1, 2, (K, 1)), 0.0
        W = signed(rng, 0.5, 1.5, (O, c, K))
        return {"X": X, "W": W, "Y": Y}

    return draw


def _error(X: Array, W: Array, Y: Array, beta: Array) -> float:
    # The least (1/2N) sum of squares that any bias leaves, by least squares on a column of ones, output by output.
    ones, total = np.ones((Y.shape[1], 1)), 0.0
    for o, target in enumerate(Y):
        missing = target - sum(b * (W[o, i] @ X[i]) for i, b in enumerate(beta))
        bias = np.linalg.lstsq(ones, missing, rcond=None)[0]
        total += float(np.sum((missing - ones @ bias) ** 2))
    return total / (2 * Y.shape[1])


def _by_differences(X: Array, W: Array, Y: Array) -> tuple[Array, Array, float]:
    # A parabola in beta: its second differences are G, and the slope at zero is -q, for steps of any size.
    c = len(X)
    E = [[_error(X, W, Y, np.eye(c)[i] + np.eye(c)[j]) for j in range(c)] for i in range(c)]
    up = [_error(X, W, Y, unit) for unit in np.eye(c)]
    down = [_error(X, W, Y, -unit) for unit in np.eye(c)]
    here = _error(X, W, Y, np.zeros(c))
    G = np.array([[E[i][j] - up[i] - up[j] + here for j in range(c)] for i in range(c)])
    mean_of_rows = np.mean(Y**2) / 2  # a solver's error of beta = 0 without a bias, beside He's
    return G, (np.array(down) - np.array(up)) / 2, float(mean_of_rows / (np.sum(Y**2) / (2 * Y.shape[1])))


def _gram(
    centre: str = "outputs",
    mean: Callable[[int, int], float] = lambda O, N: 1 / N,
    scale: Callable[[int, int], float] = lambda O, N: 1 / O,
    target: Callable[[Array, Array], Array] = lambda Y, Z: Y,
) -> Callable[..., tuple[Array, Array, float]]:
    def form(X: Array, W: Array, Y: Array) -> tuple[Array, Array, float]:
        Z, (O, N) = np.einsum("ock,ckn->con", W, X), Y.shape
        y = target(Y, Z)
        axes = {"outputs": (-1,), "all": (-2, -1), "none": ()}[centre]
        if axes:
            Z, y = Z - Z.mean(axis=axes, keepdims=True), y - y.mean(axis=axes, keepdims=True)
        G, q = np.einsum("ion,jon->ij", Z, Z), np.einsum("ion,on->i", Z, y)
        return mean(O, N) * G, mean(O, N) * q, scale(O, N)

    return form


GRAM = Exercise(
    id="select.1",
    function="channel_gram",
    outputs=("G", "q", "scale"),
    formula="with Z_i = W_i X_i and the mean over samples taken off every output of Z_i and Y:  G_ij = <Z_i, Z_j>/N,"
    "  q_i = <Z_i, Y>/N;  λ of a mean over all N n_out rows = λ/n_out",
    slide="S1, Channel Pruning, (3)",
    ledger="S1-F28",
    section="notebook 16, section 3",
    minutes=40,
    referee=_by_differences,
    cases=(
        Case("two channels of one column", 1, _layer(2, 1, 2, 4), public=True),
        Case("more channels, several columns each", 2, _layer(5, 3, 4, 30), draws=3),
        Case("one output", 1, _layer(3, 2, 1, 12), draws=2),
        Case("a channel that is constant, and one that is zero", 1, _layer(4, 2, 3, 15, constant=True)),
    ),
    wrong=(
        Wrong(
            "no bias",
            _gram(centre="none"),
            "This is the lecture's layer, without a bias, as pruning.reconstruction has it. A free bias takes something"
            " off every output before β sees it.",
        ),
        Wrong(
            "one bias for all outputs",
            _gram(centre="all"),
            "This has one bias in common for all outputs. Every output has its own.",
        ),
        Wrong(
            "mean over all rows",
            _gram(mean=lambda O, N: 1 / (O * N)),
            "This has 1/(N n_out) in G and q. In (3) it is 1/(2N): the sum over outputs is no mean (S1-F28).",
        ),
        Wrong(
            "no mean",
            _gram(mean=lambda O, N: 1.0),
            "This has sums over samples without 1/N (S1-F28).",
        ),
        Wrong(
            "half",
            _gram(mean=lambda O, N: 0.5 / N),
            "This has 1/(2N). The half goes when the square is differentiated.",
        ),
        Wrong(
            "degrees of freedom",
            _gram(mean=lambda O, N: 1 / (N - 1)),
            "This has 1/(N − 1), as a covariance of a sample has. The error is a mean over N.",
        ),
        Wrong(
            "lambda unmapped",
            _gram(scale=lambda O, N: 1.0),
            "This hands λ over as it is. A mean over all N n_out rows is a smaller error, and the same λ would weigh"
            " more beside it (S1-F28).",
        ),
        Wrong(
            "lambda the other way round",
            _gram(scale=lambda O, N: float(O)),
            "This has the factor of λ upside down: which of the two errors is the smaller one (S1-F28)?",
        ),
        Wrong(
            "lambda by N too",
            _gram(scale=lambda O, N: 1 / (O * N)),
            "This divides λ by N as well. Both errors have 1/N already (S1-F28).",
        ),
        Wrong(
            "the layer's own output",
            _gram(target=lambda Y, Z: Z.sum(axis=0)),
            "This has q = G·1: the target is the layer's own output. Given is a Y of its own, because layers in front"
            " were pruned (S1-F28).",
        ),
    ),
    hint="For a given β, which bias of output o is best, and what is left of the error with it?",
    package="pruning.reconstruction.moments.Moments.G, pruning.reconstruction.moments.Moments.q",
)


# ---- select.2: the refit -----------------------------------------------------------------------------------------
def _factors(c: int, K: int, O: int, N: int, off: int) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        X, Y = _signals(rng, c, K, O, N)
        beta = rng.permutation(np.linspace(0.4, 0.7, c)) * rng.choice([-1.0, 1.0], c)
        beta[rng.permutation(c)[:off]] = 0.0
        return {"X": X, "beta": beta, "Y": Y}

    return draw


def _by_residuals(X: Array, beta: Array, Y: Array) -> tuple[Array, Array]:
    # A coefficient is the slope on what no other column, nor the ones, can say of its own column.
    (c, K, N), O = X.shape, len(Y)
    columns = {(i, k): beta[i] * X[i, k] for i in range(c) for k in range(K) if beta[i]}
    W, b = np.zeros((O, c, K)), Y.mean(axis=1)
    for (i, k), column in columns.items():
        others = np.stack([np.ones(N), *(v for key, v in columns.items() if key != (i, k))], axis=1)
        own = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
        W[:, i, k] = Y @ own / (own @ own)
        b = b - W[:, i, k] * column.mean()
    return W, b


def _refit(power: int = 1, live: bool = True, bias: str = "free", jitter: float = 0.0, alone: bool = False) -> Fit:
    # `power` of beta in the columns; `alone`: every channel by itself.
    def form(X: Array, beta: Array, Y: Array) -> tuple[Array, Array]:
        (c, K, N), W = X.shape, np.zeros((len(Y), *X.shape[:2]))
        on = np.flatnonzero(beta) if live else np.arange(c)
        columns, means = beta[:, None, None] ** power * X, Y.mean(axis=1, keepdims=True)
        for group in [[i] for i in on] if alone else [list(on)]:
            A, y = columns[group].reshape(-1, N), Y
            if bias in ("free", "mean of Y"):
                A, y = A - A.mean(axis=1, keepdims=True), Y - means
            found = np.linalg.solve(A @ A.T + jitter * np.eye(len(A)), A @ y.T).T
            W[:, group] = found.reshape(len(Y), -1, K)
        missing = Y - np.einsum("ock,ckn->on", W, columns)
        return W, means[:, 0] if bias == "mean of Y" else 0 * means[:, 0] if bias == "none" else missing.mean(axis=1)

    return form


REFIT = Exercise(
    id="select.2",
    function="refit",
    outputs=("W", "b"),
    formula="on the channels with β_i ≠ 0:  min over W, b of |Y − Σ β_i W_i X_i − b|², the other W_i = 0",
    slide="S1, Channel Pruning, (4)",
    ledger="S1-F29",
    section="notebook 16, sections 2 and 5",
    minutes=30,
    referee=_by_residuals,
    cases=(
        Case("both channels are on", 1, _factors(2, 1, 2, 6, off=0), public=True),
        Case("two of five channels are off", 2, _factors(5, 2, 3, 30, off=2), draws=3),
        Case("all channels are off", 1, _factors(3, 2, 2, 12, off=3)),
    ),
    wrong=(
        Wrong(
            "beta not multiplied in",
            _refit(power=0),
            "These weights read X_i itself, so that β has no work left. The columns of (4) are those of β_i X_i, and"
            " the layer multiplies with β (S1-F29).",
        ),
        Wrong(
            "channels that are off get weights",
            _refit(power=0, live=False),
            "This fits on all channels as if β were 1. A channel with β_i = 0 is gone, and its weights are zero"
            " (S1-F29).",
        ),
        Wrong(
            "all blocks in one solve",
            _refit(live=False),
            "This solves the normal equations of all blocks. With a β_i = 0 they are singular: such blocks have to be"
            " dropped first (S1-F29).",
        ),
        Wrong(
            "a ridge against the singular",
            _refit(live=False, jitter=1.0),
            "This adds a number to the diagonal, so that a singular system can be solved. That is ridge regression, and"
            " shrinks what stays, too; drop the zero blocks (S1-F29).",
        ),
        Wrong(
            "no bias",
            _refit(bias="none"),
            "This has no bias, as the lecture's (4) and pruning.reconstruction. Here it is fitted together with W.",
        ),
        Wrong(
            "bias only afterwards",
            _refit(bias="afterwards"),
            "This fits W without a bias, and the bias to what is left. Both are to be fitted together.",
        ),
        Wrong(
            "bias is the mean of Y",
            _refit(bias="mean of Y"),
            "This takes the mean of Y for the bias. The channels have means of their own, and W carries them along.",
        ),
        Wrong(
            "channel by channel",
            _refit(alone=True),
            "This fits each channel by itself, as if it were the only one. They resemble each other, and have to be"
            " fitted together (S1-F29).",
        ),
    ),
    hint="A bias is a weight on a column of ones.",
    package="pruning.reconstruction.moments.Moments.refit",
)
