"""Two formulas to derive twice: an activation (back.1), and the loss of soft labels at a temperature (back.2).

Both are judged by difference quotients in decimal numbers of a hundred digits, where nothing cancels or overflows.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Triple = tuple[Array, Array, Array]
STEP = Decimal("1e-20")


def _quotients(f: Callable[[Decimal], Decimal], a: Decimal) -> tuple[Decimal, Decimal]:
    up, here, down = f(a + STEP), f(a), f(a - STEP)
    return (up - down) / (2 * STEP), (up - 2 * here + down) / (STEP * STEP)


# ---- back.1 ----------------------------------------------------------------------------------------------------------
def _near(low: float, high: float, either: bool = False, shape: tuple[int, ...] = ()) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        size = shape or (int(rng.integers(3, 6)), int(rng.integers(2, 5)))
        return {"a": signed(rng, low, high, size) if either else rng.uniform(low, high, size)}

    return draw


def _swish_in_decimals(a: Array) -> Triple:
    f, df, d2f = np.empty(a.shape), np.empty(a.shape), np.empty(a.shape)
    with localcontext(prec=100):
        for k in np.ndindex(a.shape):
            value = Decimal(float(a[k]))
            f[k] = value / (1 + (-value).exp())
            df[k], d2f[k] = _quotients(lambda v: v / (1 + (-v).exp()), value)
    return f, df, d2f


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def _swish(
    two: float = 2.0, first: float = 1.0, sign: float = -1.0, s: Callable[[Array], Array] | None = None
) -> Callable[[Array], Triple]:
    # sigma' is s(a) s(-a), or s(a) (1 - s(a)) for an s that is given.
    def form(a: Array) -> Triple:
        p, q = (s(a), 1 - s(a)) if s else (_sigmoid(a), _sigmoid(-a))
        return a * p, first * p + a * p * q, p * q * (two * first + sign * a * (p - q))

    return form


SWISH = Exercise(
    id="back.1",
    function="swish",
    outputs=("f", "df", "d2f"),
    formula="f = aσ(a):  f′ = σ + aσ′,  f″ = 2σ′ + aσ″,  with σ′ = σ(a)σ(−a) and σ″ = −σ′ tanh(a/2)",
    slide="S0, Computing the second derivative, for another f",
    ledger="S0-F5a, S0-F6",
    section="notebook 01, section 2",
    minutes=20,
    referee=_swish_in_decimals,
    cases=(
        Case("three numbers", 1, _near(0.5, 3, True, (3,)), public=True),
        Case("a matrix of numbers between -6 and 6", 1, _near(0, 6, True), draws=2),
        Case("numbers near -40", 1, _near(-42, -38), draws=2),
        Case("numbers near +40", 1, _near(38, 42), draws=2),
    ),
    wrong=(
        Wrong(
            "f'' without the 2",
            _swish(two=1.0),
            "This has σ′ once in f″. The product rule gives it twice: from σ, and from a σ′.",
        ),
        Wrong(
            "first factor taken for constant",
            _swish(first=0.0),
            "This differentiates σ alone and takes the a in front for a constant. The product rule has two terms.",
        ),
        Wrong(
            "sign of sigma''",
            _swish(sign=1.0),
            "This has σ″ with the other sign. The sigmoid bends upwards for a < 0, and downwards for a > 0.",
        ),
        Wrong(
            "cancellation at -40",
            _swish(s=lambda a: 1 - 1 / (1 + np.exp(a))),
            "This is right on paper, and what comes out of the machine is zero or noise: σ was computed as 1 minus a"
            " number that rounds to 1 (notebook 01, section 2).",
        ),
        Wrong(
            "s (1 - s)",
            _swish(s=_sigmoid),
            "This is right on paper, and what comes out of the machine is zero or noise: σ rounds to 1 for large a, and"
            " 1 − σ keeps no digit (notebook 01, section 2).",
        ),
    ),
    hint="Both derivatives are tiny on one side: at which a does 1 - s still hold digits?",
)


# ---- back.2 ----------------------------------------------------------------------------------------------------------
def _labels(kind: str, shape: tuple[int, int] = (0, 0)) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        K, N = shape if shape[0] else (int(rng.integers(3, 6)), int(rng.integers(4, 8)))
        y, T = signed(rng, 0.2, 2, (K, N)), float(rng.choice([0.5, 1.5, 2.0, 3.0]))
        if kind == "hard":
            t = np.eye(K)[:, rng.integers(K, size=N)]
        elif kind == "tenths":
            t = rng.permuted(np.tile([[0.2], [0.3], [0.5]], N), axis=0)
        else:
            t = rng.uniform(0.3, 1, (K, N)) * rng.permutation(np.linspace(0.5, 2, N))
        if kind == "large":  # all logits of a pattern near 1000 or near -1000, and one of them from each far away
            T = float(rng.choice([0.5, 1.25]))
            y += rng.permutation(np.where(np.arange(N) % 2, 1000.0, -1000.0))
            y[0, :2] *= -1
        return {"y": y, "t": t, "T": T}

    return draw


def _entropy_in_decimals(y: Array, t: Array, T: float) -> tuple[float, Array, Array]:
    g, h, N = np.empty(y.shape), np.empty(y.shape), y.shape[1]
    with localcontext(prec=100):
        total = Decimal(0)
        for n in range(N):
            z, labels = [Decimal(float(v)) for v in y[:, n]], [Decimal(float(v)) for v in t[:, n]]

            def E(k: int, v: Decimal, z: list[Decimal] = z, labels: list[Decimal] = labels) -> Decimal:
                exps = [(each / Decimal(T)).exp() for each in [*z[:k], v, *z[k + 1 :]]]
                return -sum((each * (e / sum(exps)).ln() for each, e in zip(labels, exps)), Decimal(0)) / N

            total += E(0, z[0])
            for k in range(len(z)):
                g[k, n], h[k, n] = _quotients(lambda v, k=k, E=E: E(k, v), z[k])  # type: ignore[misc]
    return float(total), g, h


def _entropy(
    shift: bool = True,
    log: bool = False,
    sums: bool = True,
    curve: Callable[[Array], Array] = lambda p: p * (1 - p),
    mean: bool = True,
    powers: tuple[int, int] = (1, 2),
) -> Callable[..., tuple[float, Array, Array]]:
    # `powers` of 1/T in g and h; `log`: the logarithm of the softmax itself.
    def form(y: Array, t: Array, T: float) -> tuple[float, Array, Array]:
        z = (y - y.max(axis=0) if shift else y) / T
        total = np.exp(z).sum(axis=0)
        p, s, N = np.exp(z) / total, t.sum(axis=0) if sums else 1.0, y.shape[1] if mean else 1
        E = -np.sum(t * np.log(p)) if log else np.sum(t * (np.log(total) - z))
        return float(E) / N, (s * p - t) / (N * T ** powers[0]), s * curve(p) / (N * T ** powers[1])

    return form


LOSS = Exercise(
    id="back.2",
    function="soft_cross_entropy",
    outputs=("E", "g", "h"),
    formula="E = −(1/N) Σₙ Σₖ t log p, p = softmax(y/T):  g = (Σt p − t)/(N T),  h = Σt p(1 − p)/(N T²)",
    slide="S0, Computing the second derivative, for another loss",
    ledger="D3a",
    section="notebook 01, section 3",
    minutes=25,
    referee=_entropy_in_decimals,
    cases=(
        Case("two patterns of three classes", 1, _labels("tenths", (3, 2)), public=True),
        Case("hard labels", 1, _labels("hard"), draws=2),
        Case("labels that do not sum to 1", 2, _labels("soft"), draws=3),
        Case("logits near 1000 and near -1000", 1, _labels("large"), draws=2),
    ),
    wrong=(
        Wrong(
            "overflow",
            _entropy(shift=False),
            "This is right on paper, and here exp overflows, or all of a column underflows. A number that is subtracted"
            " from all logits of a pattern changes nothing (D3a).",
        ),
        Wrong(
            "logarithm of zero",
            _entropy(log=True),
            "This takes the logarithm of a p that has become zero. Write log p as a difference before you compute it.",
        ),
        Wrong(
            "sum of labels ignored",
            _entropy(sums=False),
            "This takes the labels of a pattern to sum to 1. Where they do not, their sum stands in front of p, in both"
            " derivatives (D3a).",
        ),
        Wrong(
            "h = p",
            _entropy(curve=lambda p: p),
            "This has p for the slope of p in h. The softmax has its own logit in the denominator, too (D3a).",
        ),
        Wrong(
            "mean forgotten",
            _entropy(mean=False),
            "This is the sum over the patterns. E is their mean, and so are its derivatives.",
        ),
        Wrong(
            "derivatives towards y/T",
            _entropy(powers=(0, 0)),
            "These are the derivatives with respect to y/T. The chain rule has a step more, from y/T to y.",
        ),
        Wrong(
            "T once in h",
            _entropy(powers=(1, 1)),
            "This divides h by T as often as g. Each of the two derivatives goes through y/T.",
        ),
    ),
    hint="Subtract the largest logit of each column before exp.",
    package="nn.SoftmaxCrossEntropy",
)
