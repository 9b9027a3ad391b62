"""The primal steps on a working set of groups, one by one, and that they do without the dual method where they can."""

import fuzz_group_lasso as fuzz
import numpy as np
import pytest

from textbook import group_lasso
from textbook.exact import block_newton
from textbook.exact.block_newton import Columns, Gram
from textbook.exact.blocks import Blocks


def problem(seed=0, n=15, sizes=(3, 1, 4, 2), scale=1.0):
    """A quadratic around a random w0 in both forms, and its blocks."""
    rng = np.random.default_rng(seed)
    p = sum(sizes)
    X, w0, c = rng.standard_normal((n, p)) * scale, rng.standard_normal(p), rng.standard_normal(p)
    blocks = Blocks(np.array(sizes), rng.uniform(0.3, 1.5, len(sizes)))
    return [Gram(X.T @ X / n, w0, c), Columns(np.ascontiguousarray(X.T), w0, c)], blocks, rng


def objective(f, blocks, w):
    d = w - f.w0
    return 0.5 * d @ f.product(d) - f.c @ d + blocks.lam @ blocks.norms(w)


def minimum(f, blocks):
    """By plain proximal gradient steps, many of them."""
    G = np.column_stack([f.product(e) for e in np.eye(len(f.w0))])
    step, w = 1 / np.linalg.eigvalsh(G)[-1], np.zeros(len(f.w0))
    for _ in range(20_000):
        z = w - step * (G @ (w - f.w0) - f.c)
        w = z * blocks.spread(np.maximum(0, 1 - step * blocks.lam / blocks.norms(z)))
    return w


@pytest.mark.parametrize("seed", range(3))
def test_both_forms_have_the_same_gradient_and_diagonal(seed):
    (gram, columns), blocks, rng = problem(seed)
    w, h = rng.standard_normal(10), 1e-6
    np.testing.assert_allclose(gram.gradient(w), columns.gradient(w), atol=1e-13)
    np.testing.assert_allclose(gram.diagonal(), columns.diagonal(), rtol=1e-13)
    smooth = Blocks(blocks.sizes, np.zeros(4))
    slopes = [(objective(gram, smooth, w + h * e) - objective(gram, smooth, w - h * e)) / (2 * h) for e in np.eye(10)]
    np.testing.assert_allclose(gram.gradient(w), slopes, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_the_change_is_the_difference_of_the_objectives(seed):
    for f in problem(seed)[0]:
        _, blocks, rng = problem(seed)
        w, d = rng.standard_normal((2, 10))
        w[:3] = 0
        change = block_newton._change(f, blocks, w, d, f.gradient(w))
        for t in (0.0, 0.3, 1.0, 2.0):
            assert change(t) == pytest.approx(objective(f, blocks, w + t * d) - objective(f, blocks, w), abs=1e-12)


def crossing(seed):
    """A segment along which two blocks go through zero, one of them a single number, or neither."""
    (f, _), blocks, rng = problem(seed)
    w = rng.standard_normal(10)
    d = rng.standard_normal(10) * 3
    d[3], d[4:8] = -w[3] / rng.uniform(0.1, 0.9), -w[4:8] / rng.uniform(0.1, 0.9)
    gradient = f.gradient(w)
    if gradient @ d + blocks.lam @ (blocks.dots(w, d) / blocks.norms(w)) > 0:
        f.c += 4 * d / (d @ d) * (gradient @ d + 10)  # then the objective falls at first
    return f, blocks, w, d, f.gradient(w)


@pytest.mark.parametrize("seed", range(25))
def test_no_point_of_the_segment_is_lower(seed):
    f, blocks, w, d, gradient = crossing(seed)
    turns = blocks.dots(w, w + d) < 0
    kinks = -blocks.dots(w, d)[turns] / blocks.dots(d, d)[turns]
    length = block_newton._lowest(f, blocks, w, d, gradient, kinks)
    values = [objective(f, blocks, w + t * d) for t in np.linspace(0, 1, 4001)]
    lowest = min(*values, *(objective(f, blocks, w + t * d) for t in kinks))
    assert 0 <= length <= 1
    assert objective(f, blocks, w + length * d) <= lowest + 1e-6 * abs(lowest)


def test_the_segment_may_end_at_a_kink_exactly():
    found = 0
    for seed in range(60):
        f, blocks, w, d, gradient = crossing(seed)
        turns = blocks.dots(w, w + d) < 0
        kinks = -blocks.dots(w, d)[turns] / blocks.dots(d, d)[turns]
        length = block_newton._lowest(f, blocks, w, d, gradient, kinks)
        values = [objective(f, blocks, w + t * d) for t in kinks]
        others = [objective(f, blocks, w + t * d) for t in np.linspace(0, 1, 2001)]
        if min(values) < min(others) - 1e-7:
            found += 1
            assert length in kinks
    assert found >= 3


@pytest.mark.parametrize("seed", range(25))
def test_a_step_along_a_direction_is_never_up(seed):
    f, blocks, w, d, gradient = crossing(seed)
    before = objective(f, blocks, w)
    new = block_newton._along(f, blocks, w, d, gradient)
    assert objective(f, blocks, new) < before
    # Blocks that turn are at zero, or the whole step is the best point of its segment, with what is near zero at zero.
    turns = blocks.dots(w, w + d) < 0
    dropped = (w + d) * blocks.spread(~turns)
    if objective(f, blocks, dropped) < before:
        np.testing.assert_array_equal(new, dropped)
    else:
        assert objective(f, blocks, new) <= min(objective(f, blocks, w + t * d) for t in np.linspace(0, 1, 501)) + 1e-6
    straight = block_newton._along(
        f, blocks, w, -1e-3 * (gradient + blocks.spread(blocks.lam / blocks.norms(w)) * w), gradient
    )
    np.testing.assert_array_equal(straight, w - 1e-3 * (gradient + blocks.spread(blocks.lam / blocks.norms(w)) * w))


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("seed", range(4))
def test_the_step_lengths_are_safe_and_not_much_shorter(seed, scale):
    for f in problem(seed, scale=scale)[0]:
        _, blocks, _ = problem(seed)
        step = block_newton._steps(f, blocks)
        G = np.column_stack([f.product(e) for e in np.eye(10)])
        root = np.sqrt(blocks.spread(step))
        largest = np.linalg.eigvalsh(root[:, None] * G * root)[-1]
        assert 0.8 <= largest <= 1.001
        traces = [np.trace(G[a : a + s, a : a + s]) for a, s in zip(blocks.starts, blocks.sizes)]
        np.testing.assert_allclose(step * traces, step[0] * traces[0])
    nothing = Gram(np.zeros((10, 10)), np.zeros(10), np.zeros(10))
    np.testing.assert_array_equal(block_newton._steps(nothing, blocks), 1.0)


@pytest.mark.parametrize("form", [0, 1])
def test_accelerated_steps_are_faster_than_plain_ones(form):
    """60 of them are nearer to the minimum than 600 plain ones, on columns that correlate."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 10)) + 3 * rng.standard_normal((40, 1))
    blocks, w0, c = Blocks(np.array([3, 1, 4, 2]), np.full(4, 0.05)), np.zeros(10), X.T @ rng.standard_normal(40) / 40
    f = [Gram(X.T @ X / 40, w0, c), Columns(np.ascontiguousarray(X.T), w0, c)][form]
    f.proximal_steps = 60
    step = block_newton._steps(f, blocks)
    w, plain = block_newton._accelerated(f, blocks, w0, step), w0
    for _ in range(600):
        z = plain - blocks.spread(step) * f.gradient(plain)
        plain = z * blocks.spread(np.maximum(0, 1 - step * blocks.lam / blocks.norms(z)))
    least = objective(f, blocks, minimum(f, blocks))
    assert 0 <= objective(f, blocks, w) - least < 0.5 * (objective(f, blocks, plain) - least)


@pytest.mark.parametrize("seed", range(6))
def test_newton_ends_at_the_minimum_from_its_groups(seed, monkeypatch):
    """Four steps are enough where the nonzero blocks stay."""
    monkeypatch.setattr(block_newton, "NEWTON_STEPS", 4)
    for f in problem(seed)[0]:
        _, blocks, rng = problem(seed)
        expected = minimum(f, blocks)
        w, unique = block_newton._newton(f, blocks, expected * (1 + 0.02 * rng.standard_normal(10)), 1e-12)
        assert unique and 0 < np.count_nonzero(expected)
        np.testing.assert_allclose(w, expected, atol=1e-9)
        assert block_newton.violation(f, blocks, w) <= 1e-12


def test_newton_says_where_the_solution_is_not_unique():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((12, 3)), 2, axis=1)
    blocks, nothing, c = Blocks(np.ones(6, int), np.full(6, 1e-3)), np.zeros(6), X.T @ rng.standard_normal(12) / 12
    for f in (Gram(X.T @ X / 12, nothing, c), Columns(np.ascontiguousarray(X.T), nothing, c)):
        w = np.sign(c) * (1 + rng.random(6))
        same, unique = block_newton._newton(f, blocks, w, 1e-12)
        assert not unique and np.array_equal(same, w)


@pytest.mark.parametrize("seed", range(4))
def test_the_violation_is_zero_at_the_minimum_only(seed):
    for f in problem(seed)[0]:
        _, blocks, _ = problem(seed)
        w = minimum(f, blocks)
        assert abs(block_newton.violation(f, blocks, w)) <= 1e-9 or not w.any()
        for start, size, lam in zip(blocks.starts, blocks.sizes, blocks.lam):
            other = w.copy()
            other[start : start + size] += 0.01
            g = f.gradient(other)
            pieces = [slice(a, a + s) for a, s in zip(blocks.starts, blocks.sizes)]
            off = [
                np.linalg.norm(g[k] + m * other[k] / np.linalg.norm(other[k])) / m
                if other[k].any()
                else np.linalg.norm(g[k]) / m - 1
                for k, m in zip(pieces, blocks.lam)
            ]
            assert block_newton.violation(f, blocks, other) == pytest.approx(max(off), rel=1e-10)
            assert lam > 0


def unique(seed):
    kind, X, _, _, _, _ = fuzz.problem(seed)
    return kind in ("gaussian", "column scales", "group scales") and X.shape[0] > X.shape[1]


@pytest.mark.parametrize("seed", [seed for seed in range(150) if unique(seed)])
def test_where_columns_are_independent_the_primal_steps_are_enough(seed, monkeypatch):
    def needed(*_):
        raise AssertionError("the dual method was called")

    monkeypatch.setattr("textbook.exact.dual_newton.minimise", needed)
    _, X, y, groups, lam, weights = fuzz.problem(seed)
    solution = group_lasso(X, y, groups, lam, weights)
    assert fuzz.relative_gap(X, y, groups, lam, weights, solution.beta) <= 1e-13
