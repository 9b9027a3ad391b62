"""ADMM against all sign patterns, against the unscaled form typed from the Lagrangian, and against its wrong forms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referees.lasso_by_signs import lambda_max, lasso_by_signs, regression, relative

import nn.backend
from textbook.proximal import soft_threshold
from textbook.splitting import (
    BALANCED_ITERATIONS,
    admm,
    lasso_admm,
    least_squares_in_l1_ball,
    least_squares_prox,
    least_squares_with_k_nonzeros,
)

SHAPES = [(11, 5), (19, 4), (4, 6)]  # the last is wide


def lasso_proxes(X, y, lam):
    return least_squares_prox(X, y), lambda v, rho: soft_threshold(v, lam / rho)


def gradient(X, y, b):
    return -X.T @ (y - X @ b) / len(y)


class Unscaled:
    """ADMM for the lasso from the unscaled Lagrangian f(x) + g(z) + w^T (x - z) + (rho/2) ||x - z||^2.

    Solved afresh in every iteration, with the multiplier w = rho u.  The keyword arguments put one mistake in.
    """

    def __init__(self, X, y, lam, rho, alpha=1.0, sign=1, update_z=True, threshold_over_rho=True):
        self.__dict__.update(X=X, y=y, lam=lam, rho=rho, alpha=alpha, sign=sign, update_z=update_z)
        self.threshold = (lambda rho: lam / rho) if threshold_over_rho else (lambda rho: lam)
        self.z = self.w = np.zeros(X.shape[1])

    def step(self):
        (n, p), rho = self.X.shape, self.rho
        H, q = self.X.T @ self.X / n, self.X.T @ self.y / n
        self.x = np.linalg.solve(H + rho * np.eye(p), q - self.w + rho * self.z)
        mixed = self.alpha * self.x + (1 - self.alpha) * self.z
        before, v = self.z, mixed + self.w / rho
        if self.update_z:
            self.z = np.sign(v) * np.clip(np.abs(v) - self.threshold(rho), 0, None)
        self.w = self.w + self.sign * rho * (mixed - self.z)
        self.primal, self.dual = np.linalg.norm(self.x - self.z), rho * np.linalg.norm(self.z - before)
        return self

    def scales(self):
        return max(np.linalg.norm(self.x), np.linalg.norm(self.z)), np.linalg.norm(self.w)


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_finds_the_lasso(shape, fraction):
    X, y = regression(sum(shape), *shape)
    lam = fraction * lambda_max(X, y)
    solution = lasso_admm(X, y, lam)
    assert relative(solution.beta, lasso_by_signs(X, y, lam)) <= 1e-9
    assert solution.gap <= 1e-10 * 0.5 * np.mean(y**2) and solution.kkt <= 1e-9 * lam


@pytest.mark.parametrize("balance", [3.0, math.inf])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.8])
@pytest.mark.parametrize("rho", [0.1, 1.0, 10.0])
def test_no_parameter_moves_the_limit(rho, alpha, balance):
    X, y = regression(0, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    solution = lasso_admm(X, y, lam, rho, alpha, balance)
    assert relative(solution.beta, lasso_by_signs(X, y, lam)) <= 1e-9
    assert solution.n_iter < 10_000


def test_lam_zero_is_least_squares_and_a_large_lam_is_zero():
    X, y = regression(0, 11, 4)
    assert relative(lasso_admm(X, y, 0).beta, np.linalg.lstsq(X, y, rcond=None)[0]) <= 1e-10
    for lam in (1.001 * lambda_max(X, y), math.inf):
        solution = lasso_admm(X, y, lam)
        assert not solution.beta.any() and solution.gap == 0 == solution.kkt and solution.n_iter < 1000


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [1.0, 1.6])
@pytest.mark.parametrize("start", [1e-3, 1e3])
def test_every_iterate_is_that_of_the_unscaled_form(start, alpha, shape):
    X, y = regression(1, *shape)
    lam = 0.1 * lambda_max(X, y)
    seen, rhos = [], []
    split = admm(*lasso_proxes(X, y, lam), np.zeros(shape[1]), start, alpha, balance=2.0, max_iter=60,
                 callback=lambda *state: seen.append(state))  # fmt: skip
    other = Unscaled(X, y, lam, start, alpha)
    for (x, z, u, rho), primal, dual in zip(seen, split.primal, split.dual):
        other.step()
        assert rho == other.rho
        np.testing.assert_allclose(x, other.x, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(z, other.z, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(rho * u, other.w, rtol=1e-8, atol=1e-10)  # also just after rho has changed
        assert primal == pytest.approx(other.primal, rel=1e-6, abs=1e-10)
        assert dual == pytest.approx(other.dual, rel=1e-6, abs=1e-10)
        rhos.append(rho)
        r, s = other.primal / other.scales()[0], other.dual / other.scales()[1]
        other.rho *= 2.0 if r > 2 * s else 0.5 if s > 2 * r else 1.0
    assert len(set(rhos)) > 5
    np.testing.assert_allclose(split.rho * split.u, other.w, rtol=1e-8, atol=1e-10)


def test_wrong_forms_fail():
    X, y = regression(0, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    best = lasso_by_signs(X, y, lam)

    def after(iterations, rho=1.0, **mistake):
        run = Unscaled(X, y, lam, rho, **mistake)
        for _ in range(iterations):
            run.step()
        return run

    assert relative(after(500).z, best) <= 1e-12
    # u - x + z: the two copies push each other away.
    assert after(200, sign=-1).primal > 1e10
    # z never updated, as printed where the z-step assigns to another letter: the weights are pulled to zero and erased.
    frozen = after(2000, 50.0, update_z=False)
    assert np.linalg.norm(frozen.x) <= 1e-12 and not frozen.z.any() and np.linalg.norm(frozen.w) > 0.1
    # The threshold lam instead of lam/rho: the lasso of lam * rho.
    assert relative(after(5000, 5.0, threshold_over_rho=False).z, lasso_by_signs(X, y, 5 * lam)) <= 1e-9
    assert relative(lasso_by_signs(X, y, 5 * lam), best) > 0.1


@pytest.mark.parametrize("start", [1e-3, 1e3])
@pytest.mark.parametrize("seed", range(3))
def test_a_u_that_is_not_rescaled_goes_in_circles(seed, start):
    X, y = regression(seed, 19, 5)
    lam = 0.05 * lambda_max(X, y)
    best = lasso_by_signs(X, y, lam)
    right = admm(*lasso_proxes(X, y, lam), np.zeros(5), start, balance=3.0)
    assert right.converged and right.n_iter < 200 and relative(right.z, best) <= 1e-8
    run = Unscaled(X, y, lam, start)
    for _ in range(600):
        run.step()
        r, s = run.primal / run.scales()[0], run.dual / run.scales()[1]
        factor = 2.0 if r > 3 * s else 0.5 if s > 3 * r else 1.0
        run.rho, run.w = run.rho * factor, run.w * factor  # u kept, so that the multiplier w = rho u jumps
    assert relative(run.z, best) > 1e-2


def test_at_the_fixed_point_the_loss_still_has_a_gradient():
    for shape in SHAPES:
        X, y = regression(3, *shape)
        lam = 0.1 * lambda_max(X, y)
        split = admm(*lasso_proxes(X, y, lam), np.zeros(shape[1]), 0.3, tol_abs=1e-15, tol_rel=1e-15)
        g = gradient(X, y, split.x)
        assert np.linalg.norm(g) > 0.05
        np.testing.assert_allclose(g + split.rho * split.u, 0, atol=1e-13)
        np.testing.assert_allclose(split.x, split.z, atol=1e-13)
        np.testing.assert_allclose(split.rho * np.abs(split.u)[split.z != 0], lam, rtol=1e-12)


def test_the_dual_residual_is_what_the_gradient_lacks():
    # Without over-relaxation, in every iteration: grad f(x) + rho u = rho (previous z - z), with the rho in it.
    X, y = regression(4, 11, 5)
    lam, seen = 0.05 * lambda_max(X, y), []
    split = admm(*lasso_proxes(X, y, lam), np.zeros(5), 7.0, max_iter=30, callback=lambda *s: seen.append(s))
    lacking = [np.linalg.norm(gradient(X, y, x) + rho * u) for x, _, u, rho in seen]
    np.testing.assert_allclose(split.dual, lacking, rtol=1e-9, atol=1e-13)
    assert split.dual[5] > 1e-3


@given(seed=st.integers(0, 10**6), exponent=st.floats(-2, 2))
def test_the_distance_to_the_solution_never_grows(seed, exponent):
    """Boyd et al., appendix A: rho ||u - u*||^2 + rho ||z - z*||^2 falls, by at least rho (||r||^2 + ||dz||^2)."""
    X, y = regression(seed, 7, 3)
    lam, rho, seen = 0.1 * lambda_max(X, y), 10.0**exponent, []
    best = lasso_by_signs(X, y, lam)
    u_best = -gradient(X, y, best) / rho
    split = admm(*lasso_proxes(X, y, lam), np.zeros(3), rho, max_iter=25, callback=lambda *s: seen.append(s))
    V = np.array([rho * (np.sum((u - u_best) ** 2) + np.sum((z - best) ** 2)) for _, z, u, _ in seen])
    progress = rho * split.primal**2 + split.dual**2 / rho
    assert np.all(np.diff(V) <= -progress[1:] + 1e-9 * V[0])


@pytest.mark.parametrize(("tol_abs", "tol_rel"), [(0.0, 1e-6), (1e-5, 0.0), (1e-7, 1e-7)])
def test_it_stops_when_both_residuals_are_small_and_not_before(tol_abs, tol_rel):
    X, y = regression(5, 11, 5)
    seen, lam = [], 0.1 * lambda_max(X, y)
    split = admm(*lasso_proxes(X, y, lam), np.zeros(5), 2.0, 1.5, tol_abs=tol_abs, tol_rel=tol_rel,
                 callback=lambda *s: seen.append(s))  # fmt: skip
    norm = np.linalg.norm
    small = []
    for (x, z, u, rho), previous in zip(seen, [np.zeros(5)] + [z for _, z, _, _ in seen]):
        primal = norm(x - z) <= math.sqrt(5) * tol_abs + tol_rel * max(norm(x), norm(z))
        dual = rho * norm(z - previous) <= math.sqrt(5) * tol_abs + tol_rel * rho * norm(u)
        small.append(primal and dual)
    assert split.converged and small[-1] and not any(small[:-1])
    assert split.n_iter == len(seen) == len(split.primal) == len(split.dual)
    short = admm(*lasso_proxes(X, y, lam), np.zeros(5), 2.0, max_iter=4)
    assert not short.converged and short.n_iter == 4


def test_rho_stays_after_the_first_iterations():
    # A prox that makes the primal residual large for ever: rho doubles for as long as it may.
    seen = []
    admm(lambda v, _: v + 1, lambda v, _: 0.999 * v, np.ones(2), balance=2.0, max_iter=BALANCED_ITERATIONS + 50,
         callback=lambda *s: seen.append(s[3]))  # fmt: skip
    assert len(set(seen[BALANCED_ITERATIONS:])) == 1 and len(set(seen)) > 5


def test_rho_starts_at_the_mean_eigenvalue():
    X, y = regression(6, 11, 5)
    mean = np.trace(X.T @ X) / 11 / 5
    for solve, argument in ((least_squares_in_l1_ball, 1), (least_squares_with_k_nonzeros, 1)):
        default, given, other = (solve(X, y, argument, rho) for rho in (None, mean, 5 * mean))
        np.testing.assert_allclose(default.primal[:30], given.primal[:30], rtol=1e-6, atol=1e-12)
        assert abs(other.primal[0] / given.primal[0] - 1) > 0.1


def test_the_units_of_the_problem_do_not_matter():
    X, y = regression(6, 11, 5)
    lam = 0.1 * lambda_max(X, y)
    reference = lasso_admm(X, y, lam)
    assert lasso_admm(X, y, lam, rho=100 * np.mean(X * X), balance=math.inf).n_iter > 2 * reference.n_iter
    for a, b in [(2.0**-10, 2.0**7), (2.0**600, 2.0**-400), (2.0**-600, 2.0**-100)]:
        started = lasso_admm(a * X, b * y, a * (b * lam), rho=np.mean((a * X) ** 2)) if 1e-9 < a < 1e9 else reference
        assert started.n_iter == reference.n_iter
        other = lasso_admm(a * X, b * y, a * (b * lam))
        assert other.n_iter == reference.n_iter
        np.testing.assert_array_equal(other.beta, reference.beta * (b / a))
        assert other.objective == reference.objective * b * b
    # Nor do they for the balancing of rho, where the residuals themselves would be compared with other results.
    counts = {
        admm(*lasso_proxes(a * X, y, a * lam), np.zeros(5), a * a, balance=2.0, tol_abs=0.0, tol_rel=1e-9).n_iter
        for a in (2.0**-6, 1.0, 2.0**6)
    }
    assert len(counts) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rho", [1e-4, 1.0, 1e4])
def test_the_prox_of_least_squares_is_stationary(shape, rho):
    X, y = regression(7, *shape)
    v = np.random.default_rng(0).standard_normal(shape[1])
    x = least_squares_prox(X, y)(v, rho)
    np.testing.assert_allclose(gradient(X, y, x) + rho * (x - v), 0, atol=1e-12 * max(1, rho))
    far = gradient(X, y, 0 * x) + rho * (0 * x - v)
    assert np.linalg.norm(far) > 0.1


@pytest.mark.parametrize("shape", SHAPES)
def test_one_factorisation_serves_every_rho(shape, monkeypatch):
    X, y = regression(8, *shape)
    calls, rhos = [], set()
    for name in ("eigh", "solve", "inv", "cholesky", "svd", "qr"):
        f = getattr(np.linalg, name)
        monkeypatch.setattr(np.linalg, name, lambda *a, f=f, name=name, **k: (calls.append(name), f(*a, **k))[1])
    lam = 0.1 * lambda_max(X, y)
    admm(*lasso_proxes(X, y, lam), np.zeros(shape[1]), 1e-3, balance=2.0, callback=lambda *s: rhos.add(s[3]))
    assert calls == ["eigh"] and len(rhos) > 3


@pytest.mark.parametrize("rho", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_l1_ball_of_radius_of_the_lasso_gives_the_lasso(shape, rho):
    X, y = regression(9, *shape)
    lam = 0.2 * lambda_max(X, y)
    best = lasso_by_signs(X, y, lam)
    split = least_squares_in_l1_ball(X, y, np.abs(best).sum(), rho)
    assert split.converged and relative(split.z, best) <= 1e-9
    assert split.rho * np.abs(split.u).max() == pytest.approx(lam, rel=1e-9)  # the radius's own lam
    np.testing.assert_allclose(gradient(X, y, split.x) + split.rho * split.u, 0, atol=1e-9 * lam)


def test_l1_balls_of_radius_nothing_and_too_large():
    X, y = regression(10, 11, 4)
    ols = np.linalg.lstsq(X, y, rcond=None)[0]
    for radius in (1.5 * np.abs(ols).sum(), math.inf):
        split = least_squares_in_l1_ball(X, y, radius)
        assert relative(split.z, ols) <= 1e-9 and np.abs(split.u).max() * split.rho <= 1e-9
    assert not least_squares_in_l1_ball(X, y, 0).z.any()


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0, -40), (40, 0), (-40, 20), (0, 560), (560, 0), (-560, 0), (-500, -500)])
def test_the_units_do_not_matter_to_the_constraints_either(a, b):
    X, y = regression(6, 11, 5)
    for solve, argument in ((least_squares_in_l1_ball, 0.7), (least_squares_with_k_nonzeros, 2)):
        reference = solve(X, y, argument)
        bound = np.ldexp(argument, b - a) if solve is least_squares_in_l1_ball else argument
        other = solve(np.ldexp(X, a), np.ldexp(y, b), bound)
        assert other.converged == reference.converged and other.n_iter == reference.n_iter > 10
        for name in "xzu":
            np.testing.assert_array_equal(getattr(other, name), np.ldexp(getattr(reference, name), b - a))
        np.testing.assert_array_equal(other.primal, np.ldexp(reference.primal, b - a))
        np.testing.assert_array_equal(other.dual, np.ldexp(reference.dual, b + a))
        if abs(a) < 500:
            assert other.rho == np.ldexp(reference.rho, 2 * a)
            given = solve(np.ldexp(X, a), np.ldexp(y, b), bound, rho=np.ldexp(0.3, 2 * a))
            assert given.n_iter == solve(X, y, argument, rho=0.3).n_iter != reference.n_iter


def test_the_start_is_in_the_units_of_the_coefficients():
    X, y = regression(3, 19, 8, noise=1.0)
    z = np.random.default_rng(0).standard_normal(8)
    near, far = (least_squares_with_k_nonzeros(X, y, 3, z=start, max_iter=1) for start in (z, 1e3 * z))
    scaled = least_squares_with_k_nonzeros(X * 2.0**30, y * 2.0**-30, 3, z=z * 2.0**-60, max_iter=1)
    np.testing.assert_array_equal(scaled.x, near.x * 2.0**-60)
    assert relative(far.x, near.x) > 1


def test_what_comes_back_is_certified_where_it_underflows_too():
    X, y = regression(6, 11, 5)
    solution = lasso_admm(2.0**600 * X, 2.0**-500 * y, 2.0**100 * 0.1 * lambda_max(X, y))
    assert not solution.beta.any()  # 2^-1100 is no number
    assert solution.kkt == pytest.approx(0.9 * 2.0**100 * lambda_max(X, y), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda X, y: lasso_admm(X, y, 0), "float32"),
        (lambda X, y: least_squares_in_l1_ball(X.astype(float) * 1e-200, y.astype(float) * 1e200, math.inf), "float64"),
        (lambda X, y: least_squares_with_k_nonzeros(X.astype(float) * 1e-200, y.astype(float) * 1e200, 2), "float64"),
    ],
)
def test_coefficients_beyond_the_dtype_are_refused(call, name):
    X, y = (a.astype(np.float32) for a in regression(6, 11, 5))
    with pytest.raises(ValueError, match=f"coefficients are numbers of {name}, at most .* got one of"):
        call(X * np.float32(1e-30), y * np.float32(1e12))


def test_the_rho_of_admm_is_1_unless_told():
    X, y = regression(6, 11, 5)
    default, one, two = (admm(*lasso_proxes(X, y, 0.1), np.zeros(5), *rho, max_iter=20) for rho in ((), (1.0,), (2.0,)))
    assert default.rho == 1.0
    np.testing.assert_array_equal(default.primal, one.primal)
    assert not np.allclose(default.primal, two.primal)


def best_k(X, y, k):
    """Residual sum of squares of the best subset of k columns, by trying all."""
    fits = [residual(X, y, list(A)) for A in itertools.combinations(range(X.shape[1]), k)]
    return min(fits)


def residual(X, y, A):
    return np.sum((y - X[:, A] @ np.linalg.lstsq(X[:, A], y, rcond=None)[0]) ** 2)


def test_with_k_nonzeros_it_is_stationary_where_it_converges_and_not_the_best_subset():
    ratios, converged = {0.03: [], 1.0: [], 30.0: []}, []
    for seed in range(6):
        X, y = regression(seed, 19, 8, noise=1.0)
        for rho in ratios:
            split = least_squares_with_k_nonzeros(X, y, 3, rho * np.mean(X * X), max_iter=400)
            A = np.flatnonzero(split.z)
            assert A.size <= 3
            converged.append((rho, split.converged))
            if split.converged:
                np.testing.assert_allclose(split.z[A], np.linalg.lstsq(X[:, A], y, rcond=None)[0], rtol=1e-6)
            ratios[rho].append(residual(X, y, A) / best_k(X, y, 3))
    assert min(min(r) for r in ratios.values()) >= 1 - 1e-12
    assert max(ratios[30.0]) > 1.2  # nothing guarantees the best subset,
    assert any(abs(a - b) > 0.05 for a, b in zip(ratios[1.0], ratios[30.0]))  # rho decides what is found,
    assert not all(done for rho, done in converged if rho == 0.03)  # nor is convergence guaranteed


def test_the_start_decides_what_k_nonzeros_are_found():
    X, y = regression(3, 19, 8, noise=1.0)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(10):
        split = least_squares_with_k_nonzeros(X, y, 3, 5 * np.mean(X * X), 3 * rng.standard_normal(8))
        found.add(tuple(np.flatnonzero(split.z)))
    assert len(found) > 1


def test_all_or_no_coefficients():
    X, y = regression(12, 11, 4)
    assert relative(least_squares_with_k_nonzeros(X, y, 4).z, np.linalg.lstsq(X, y, rcond=None)[0]) <= 1e-9
    assert not least_squares_with_k_nonzeros(X, y, 0, max_iter=50).z.any()
    rough, fine = (least_squares_with_k_nonzeros(X, y, 4, tol=tol).n_iter for tol in (1e-3, 1e-9))
    assert rough < fine


@pytest.mark.parametrize("shape", SHAPES)
def test_every_library(shape, library):
    X, y = regression(13, *shape)
    lam = 0.1 * lambda_max(X, y)
    there = library.xp.asarray(X), library.xp.asarray(y)
    ours, reference = lasso_admm(*there, lam), lasso_admm(X, y, lam)
    assert type(ours.beta) is type(there[0]) and ours.n_iter == reference.n_iter
    np.testing.assert_allclose(nn.backend.to_numpy(ours.beta), reference.beta, rtol=1e-12, atol=1e-13)
    for solve, argument in ((least_squares_in_l1_ball, 0.7), (least_squares_with_k_nonzeros, 2)):
        ours, reference = solve(*there, argument), solve(X, y, argument)
        for name in "xzu":
            a, b = getattr(ours, name), getattr(reference, name)
            np.testing.assert_allclose(nn.backend.to_numpy(a), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rho": 0}, ValueError, "rho to be positive and finite, got 0"),
        ({"rho": -1.5}, ValueError, "rho of at least 0, got -1.5"),
        ({"rho": math.inf}, ValueError, "rho to be positive and finite, got inf"),
        ({"rho": "1"}, TypeError, "rho to be a real number, got str"),
    ],
)
@pytest.mark.parametrize("solve", [lasso_admm, least_squares_in_l1_ball, least_squares_with_k_nonzeros])
def test_bad_rho(solve, arguments, error, message):
    with pytest.raises(error, match=message):
        solve(np.eye(3), np.ones(3), 1, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": 0}, ValueError, "alpha between 0 and 2, got 0"),
        ({"alpha": 2}, ValueError, "alpha between 0 and 2, got 2"),
        ({"alpha": math.nan}, ValueError, "alpha of at least 0, got nan"),
        ({"balance": 1}, ValueError, "balance above 1, got 1"),
        ({"max_iter": 0}, ValueError, "max_iter of at least 1, got 0"),
        ({"max_iter": 1.0}, TypeError, "max_iter to be an integer, got float"),
    ],
)
def test_bad_parameters(arguments, error, message):
    with pytest.raises(error, match=message):
        lasso_admm(np.eye(3), np.ones(3), 0.1, **arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda X, y: lasso_admm(X, y, -0.1), ValueError, "lam of at least 0, got -0.1"),
        (lambda X, y: lasso_admm(X, y, math.nan), ValueError, "lam of at least 0, got nan"),
        (lambda X, y: lasso_admm(X, y, 0.1, tol=-1.0), ValueError, "tol of at least 0, got -1.0"),
        (lambda X, y: lasso_admm(X, y[:2], 0.1), ValueError, "as many values of y as rows of X, got 2 and 3"),
        (lambda X, y: lasso_admm(X, y[:, None], 0.1), ValueError, r"y of shape \(n,\), got shape \(3, 1\)"),
        (lambda X, y: lasso_admm(X * np.inf, y, 0.1), ValueError, r"finite numbers, got inf at X\[0, 0\]"),
        (lambda X, y: least_squares_in_l1_ball(X, y, -1.0), ValueError, "radius of at least 0, got -1.0"),
        (
            lambda X, y: least_squares_with_k_nonzeros(X, y, 3),
            ValueError,
            "k from 0 to 2, got 3",
        ),
        (
            lambda X, y: least_squares_with_k_nonzeros(X, y, -1),
            ValueError,
            "k from 0 to 2, got -1",
        ),
        (lambda X, y: least_squares_with_k_nonzeros(X, y, 1.0), TypeError, "k to be an integer, got float"),
        (lambda X, y: least_squares_with_k_nonzeros(X, y, 1, z=y), ValueError, r"z of shape \(2,\), got shape \(3,\)"),
        (lambda X, y: admm(None, None, y), TypeError, r"prox_f to be a function \(v, rho\) -> array, got NoneType"),
        (lambda X, y: admm(abs, 3, y), TypeError, r"prox_g to be a function \(v, rho\) -> array, got int"),
        (lambda X, y: admm(abs, abs, y, max_iter=2**63), ValueError, "max_iter of at most 1000000000, got 9223372"),
        (lambda X, y: admm(None, None, "z"), TypeError, "z to be an array, got str"),
        (lambda X, y: admm(None, None, [math.nan]), ValueError, r"finite numbers, got nan at z\[0\]"),
        (lambda X, y: admm(None, None, y, tol_rel=-1), ValueError, "tol_rel of at least 0, got -1"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 2)), np.ones(3))
