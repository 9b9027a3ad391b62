r"""Layer compensation: scores of different layers, made comparable by a constant a layer (Chin et al. 2018).

All filters are ranked together by  I(filter) + beta_layer,  and the lowest go until the budget is met
(`widths.together`).  In a layer the order is that of I; the constants only say how many of each layer go, and a common
shift of all of them says nothing.  They are found by evolution, the loss after a short training as fitness.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from nn.arguments import nonnegative, number, whole
from nn.backend import Array, to_numpy
from nn.initializers import check_generator
from pruning.masks import check_arrays


def compensated(scores: Mapping[str, Array], constants: Mapping[str, float]) -> dict[str, Array]:
    """Return I + beta_layer for every filter.

    Parameters
    ----------
    constants : {name: beta_layer}.

    Raises
    ------
    TypeError
        If the scores are not arrays by name, or a constant is no number.
    ValueError
        If a layer has no constant, or a constant or score is not finite.
    """
    check_arrays("scores", scores)
    for name in scores:
        if name not in constants or not np.isfinite(number(constants[name], f"the constant of {name}")):
            raise ValueError(f"expected a finite constant for {name}, got {constants.get(name)!r}")
        if not np.isfinite(to_numpy(scores[name])).all():
            raise ValueError(f"expected finite scores of {name}, got NaN or infinity")
    return {name: score + float(constants[name]) for name, score in scores.items()}


def evolve(
    fitness: Callable[[dict[str, float]], float],
    names: Iterable[str],
    spread: float,
    rng: np.random.Generator,
    population: int = 8,
    tournament: int = 3,
    steps: int = 24,
) -> tuple[dict[str, float], float]:
    """Return the best constants that were met, and their fitness (low is good), by regularised evolution.

    It starts with zeros, the plain ranking, beside constants drawn at random.  In each step the best of a few drawn
    from the population has a child, in which the constant of one layer moves; the oldest dies, however good.  The
    first layer's constant stays 0: a common shift changes no ranking.

    Parameters
    ----------
    fitness : of {name: constant}, such as the loss of the net that these leave, after a short training.
    names : of the layers.
    spread : standard deviation of a constant drawn, and of a move; in the unit of the scores.
    rng : draws all.
    population, tournament, steps : how many live, compete, and are born.

    Raises
    ------
    TypeError
        If `rng` is no generator, or a fitness no number.
    ValueError
        If there are fewer than two layers, one is named twice, a number is outside its range, or a fitness is NaN.

    Notes
    -----
    Real et al. 2019, Regularized evolution for image classifier architecture search; Chin et al. 2018 use it.
    """
    check_generator(rng, outline=False)
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    layers, spread = list(names), nonnegative(spread, "spread")
    population, steps = whole(population, "population", 1), whole(steps, "number of steps", 0)
    tournament = whole(tournament, "tournament", 1)
    if len(layers) < 2 or tournament > population:
        raise ValueError(
            f"expected two layers or more and a tournament of at most {population}, got {len(layers)} and {tournament}"
        )
    if len(set(layers)) < len(layers):
        raise ValueError(f"expected two different layers or more, got {', '.join(layers)}")
    zeros = dict.fromkeys(layers, 0.0)
    first = [zeros, *({**zeros, **_draw(layers[1:], spread, rng)} for _ in range(population - 1))]
    alive = deque((_judged(fitness, constants), constants) for constants in first)
    best = min(alive, key=lambda each: each[0])
    for _ in range(steps):
        drawn = [alive[i] for i in rng.choice(population, tournament, replace=False)]
        parent = min(drawn, key=lambda each: each[0])[1]
        moved = layers[int(rng.integers(1, len(layers)))]
        child = {**parent, moved: parent[moved] + spread * float(rng.standard_normal())}
        alive.append((_judged(fitness, child), child))
        alive.popleft()
        best = min(best, alive[-1], key=lambda each: each[0])
    return best[1], best[0]


def _judged(fitness: Callable[[dict[str, float]], float], constants: dict[str, float]) -> float:
    # NaN is neither above nor below: the first one would stay the best for good.
    found = number(fitness(constants), "the fitness")
    if np.isnan(found):
        raise ValueError(f"expected a number for the fitness of {constants}, got NaN")
    return found


def _draw(layers: list[str], spread: float, rng: np.random.Generator) -> dict[str, float]:
    return {name: spread * float(rng.standard_normal()) for name in layers}
