"""How the nets of the lecture are trained: the first weights, Nesterov's step, and a rate that falls in stairs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nn
from pruning.ledger.core import Form, Formula

Array = np.ndarray
WHERE = "S0, Implementation"
STEPS, RATE, MOMENTUM, DECAY = 10, 0.05, 0.9, 0.01


def _draw_bowl(rng: np.random.Generator) -> dict[str, Array]:
    # E = 1/2 u^T A u - b^T u, with curvatures from 1 to 10.
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    return {"A": V * rng.uniform(1, 10, 5) @ V.T, "b": rng.standard_normal(5), "u": rng.standard_normal(5)}


def _nesterov(A: Array, b: Array, u: Array) -> Array:
    parameter, path = nn.Parameter(u.copy()), []
    optimizer = nn.SGD([parameter], RATE, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)
    for _ in range(STEPS):
        parameter.grad = A @ parameter.data - b
        optimizer.step()
        path.append(parameter.data.copy())
    return np.stack(path)


def _look_ahead(A: Array, b: Array, u: Array) -> Array:
    # Nesterov's own variables: the gradient is taken at z + mu w, where the momentum will have led.  That is u.
    z, w, path = u, 0 * u, []
    for _ in range(STEPS):
        ahead = z + MOMENTUM * w
        w = MOMENTUM * w - RATE * (A @ ahead - b + DECAY * ahead)
        z = z + w
        path.append(z + MOMENTUM * w)
    return np.stack(path)


def _torch_sgd(A: Array, b: Array, u: Array) -> Array:
    import torch

    parameter, path = torch.nn.Parameter(torch.tensor(u)), []
    optimizer = torch.optim.SGD([parameter], lr=RATE, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)
    for _ in range(STEPS):
        parameter.grad = torch.tensor(A) @ parameter.detach() - torch.tensor(b)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return np.stack(path)


def _walk(step: Callable[[Array, Array], Array], dampening: float = 0.0, decay: float = DECAY) -> Callable[..., Array]:
    # v <- mu v + (1 - dampening) g,  u <- u - eta step(g, v).
    def form(A: Array, b: Array, u: Array) -> Array:
        v, path = 0 * u, []
        for _ in range(STEPS):
            g = A @ u - b + decay * u
            v = MOMENTUM * v + (1 - dampening) * g
            u = u - RATE * step(g, v) - RATE * (DECAY - decay) * u
            path.append(u)
        return np.stack(path)

    return form


def _torch_form(g: Array, v: Array) -> Array:
    return g + MOMENTUM * v


def _other_point(A: Array, b: Array, u: Array) -> Array:
    # u = z + mu w with w = z - (the z before), solved for z along the path of u.
    z, found = u, []
    for point in _look_ahead(A, b, u):
        z = (point + MOMENTUM * z) / (1 + MOMENTUM)
        found.append(z)
    return np.stack(found)


def _draw_shape(rng: np.random.Generator) -> dict[str, Any]:
    return {"shape": (5, int(rng.integers(6, 10)), 3, int(rng.integers(1, 3))), "seed": int(rng.integers(1000))}


def _behind_relu(deviation: float, n_in: int) -> float:
    # The mean of relu(w^T x)^2 over n_in orthogonal w and their opposites, over the mean of x^2: 1 if it is kept.
    Q, x = np.linalg.qr(np.random.default_rng(0).standard_normal((n_in, n_in)))[0], np.linspace(1, 2, n_in)
    a = deviation * math.sqrt(n_in) * Q @ x
    return float(np.mean(np.maximum([a, -a], 0) ** 2) / np.mean(x**2))


def _with_deviation(deviation: float, shape: tuple[int, ...], seed: int) -> tuple[Array, float]:
    z = np.random.default_rng(seed).standard_normal(shape)
    return deviation * z, _behind_relu(deviation, math.prod(shape[1:]))


def _he(shape: tuple[int, ...], seed: int) -> tuple[Array, float]:
    W = nn.initializers.he_normal(shape, np.random.default_rng(seed))
    z = np.random.default_rng(seed).standard_normal(shape)
    return W, _behind_relu(float(np.mean(W / z)), math.prod(shape[1:]))


def _he_by_formula(shape: tuple[int, ...], seed: int) -> tuple[Array, float]:
    return _with_deviation(math.sqrt(2 / math.prod(shape[1:])), shape, seed)[0], 1.0


def _normal(deviation: Callable[[int, int, int], float]) -> Callable[..., tuple[Array, float]]:
    def form(shape: tuple[int, ...], seed: int) -> tuple[Array, float]:
        n_out, n_in, height, width = shape
        return _with_deviation(deviation(n_out, n_in, height * width), shape, seed)

    return form


def _torch_kaiming(shape: tuple[int, ...], seed: int) -> tuple[Array, float]:
    import torch

    # What torch multiplies its own random numbers with.
    one, other = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    theirs = torch.nn.init.kaiming_normal_(torch.empty(shape, dtype=torch.float64), generator=one)
    z = torch.empty(shape, dtype=torch.float64).normal_(generator=other)
    return _with_deviation(float((theirs / z).mean()), shape, seed)


def _draw_stairs(rng: np.random.Generator) -> dict[str, Any]:
    milestones = sorted(rng.choice(np.arange(2, 18), 3, replace=False).tolist())
    return {"rate": float(rng.uniform(0.05, 0.2)), "milestones": milestones, "factor": float(rng.uniform(0.1, 0.5))}


def _stairs(rate: float, milestones: Sequence[int], factor: float) -> Array:
    schedule = nn.step_decay(rate, milestones, factor)
    return np.array([schedule(epoch) for epoch in range(20)])


def _stairs_by_loop(when: Callable[[int, Sequence[int]], int]) -> Callable[..., Array]:
    # The rate is multiplied as often as `when` says that a milestone has just been reached.
    def form(rate: float, milestones: Sequence[int], factor: float) -> Array:
        found = []
        for epoch in range(20):
            for _ in range(when(epoch, milestones)):
                rate *= factor
            found.append(rate)
        return np.array(found)

    return form


def _torch_stairs(rate: float, milestones: Sequence[int], factor: float) -> Array:
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule, found = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma=factor), []
    for _ in range(20):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return np.array(found)


STATEMENTS = (
    Formula(
        id="S0-A5a",
        title="SGD with Nesterov's momentum",
        printed=r"v\leftarrow\mu v+g,\qquad w\leftarrow w-\eta(g+\mu v)",
        verdict="lost",
        remark="The slide has the name only; this is torch's form, Nesterov's look-ahead written for the point ahead.",
        where=WHERE,
        code="nn.SGD",
        notebook="01, section 6",
        draw=_draw_bowl,
        right=_nesterov,
        referees=(
            Form("look-ahead, in other variables", _look_ahead),
            Form("torch.optim.SGD", _torch_sgd, needs="torch"),
        ),
        wrong=(
            Form(
                "heavy ball", _walk(lambda g, v: v), "The step along v alone is momentum without Nesterov's look ahead."
            ),
            Form("no momentum", _walk(lambda g, v: g), "This is plain gradient descent."),
            Form(
                "dampened by 1 - mu", _walk(_torch_form, dampening=MOMENTUM), "A mean of gradients takes shorter steps."
            ),
            Form("decay apart", _walk(_torch_form, decay=0.0), "The decay belongs to g, and to the momentum with it."),
            Form(
                "the point behind",
                _other_point,
                "Nesterov's own variable lags: gradients are taken at the point ahead.",
            ),
        ),
    ),
    Formula(
        id="S0-A5b",
        title="He's initialisation",
        printed=r"w\sim\mathcal N(0,2/n_{in}),\qquad n_{in}=c\,k_hk_w",
        verdict="lost",
        remark="ReLU halves the mean square of what passes, and the 2 makes up for it; the slide has the name only.",
        where=WHERE,
        code="nn.initializers.he_normal",
        notebook="01, section 6",
        draw=_draw_shape,
        right=_he,
        referees=(
            Form("mean square kept after ReLU", _he_by_formula),
            Form("torch's kaiming_normal_", _torch_kaiming, needs="torch"),
        ),
        wrong=(
            Form(
                "1 / n_in (LeCun)",
                _normal(lambda n_out, n_in, k: math.sqrt(1 / (n_in * k))),
                "That is for linear and tanh units.",
            ),
            Form(
                "2 / n_out",
                _normal(lambda n_out, n_in, k: math.sqrt(2 / (n_out * k))),
                "That keeps the size of gradients.",
            ),
            Form(
                "kernel forgotten",
                _normal(lambda n_out, n_in, k: math.sqrt(2 / n_in)),
                "A unit reads k_h k_w pixels of each channel.",
            ),
            Form(
                "variance for deviation",
                _normal(lambda n_out, n_in, k: 2 / (n_in * k)),
                "2 / n_in is the variance, not the deviation.",
            ),
        ),
    ),
    Formula(
        id="S0-A5c",
        title="a learning rate that falls in stairs",
        printed=r"\eta_e=\eta_0\,\gamma^{\#\{m:\,e\ge m\}}",
        verdict="lost",
        remark="Epochs count from 0, and a milestone is the first epoch with the smaller rate.",
        where=WHERE,
        code="nn.step_decay",
        notebook="08, section 4.2",
        draw=_draw_stairs,
        right=_stairs,
        referees=(
            Form("multiplied on the way", _stairs_by_loop(lambda epoch, milestones: milestones.count(epoch))),
            Form("torch's MultiStepLR", _torch_stairs, needs="torch"),
        ),
        wrong=(
            Form(
                "an epoch late",
                _stairs_by_loop(lambda e, milestones: milestones.count(e - 1)),
                "The milestone itself has the smaller rate.",
            ),
            Form(
                "once only",
                _stairs_by_loop(lambda e, milestones: int(e == milestones[0])),
                "Every milestone multiplies again.",
            ),
            Form(
                "every epoch after the first",
                _stairs_by_loop(lambda e, milestones: int(e >= milestones[0])),
                "The rate falls at milestones alone, not at every epoch after the first of them.",
            ),
        ),
    ),
)
