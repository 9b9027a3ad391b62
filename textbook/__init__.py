"""The algorithms of the lecture's first half: regression with few coefficients, as functions on arrays.

Everywhere the objective is (1/2n) ||y - X beta||^2 + lam penalty(beta), X (n, p) with samples in rows, y (n,); a lam of
the slides, which leave out the 1/2n, is 2 n times ours.

============================================== =====================================================================
function                                       slide, or what for
============================================== =====================================================================
lp_norm, unit_ball                             the lp norms, and which of them are none
local_sensitivity                              one-at-a-time differences
least_squares, normal_equations, ridge         least squares and ridge
best_subset, orthogonal_matching_pursuit       regression with at most k coefficients
soft_threshold, hard_threshold, ...            the lasso of one variable, and its relatives (`textbook.proximal`)
lasso_coordinate_descent                       the lasso's loop as the slide has it, for reading
lasso                                          the same problem to rounding, for using
lasso_path, lasso_at_most                      the lasso at every lam; with at most k coefficients
group_lasso_coordinate_descent, group_lasso    the same two for groups of coefficients
ista, fista                                    the lasso by proximal gradient steps
admm, lasso_admm, ...                          the alternating direction method of multipliers
lasso_lambda_max, group_lasso_lambda_max       the smallest lam with a zero solution
lasso_gap, lasso_kkt, group_lasso_gap, ...     how near any beta is to the minimum, with the problem alone
============================================== =====================================================================
"""

from textbook.certificates import (
    group_lasso_gap,
    group_lasso_kkt,
    group_lasso_lambda_max,
    lasso_gap,
    lasso_kkt,
    lasso_lambda_max,
)
from textbook.coordinate_descent import group_lasso_coordinate_descent, lasso_coordinate_descent
from textbook.exact.grouped_working_set import group_lasso
from textbook.exact.homotopy import lasso_at_most, lasso_path
from textbook.exact.working_set import lasso
from textbook.forward_backward import fista, ista
from textbook.matching_pursuit import Subset, best_subset, orthogonal_matching_pursuit
from textbook.norms import lp_norm, unit_ball
from textbook.proximal import (
    group_soft_threshold,
    half_threshold,
    hard_threshold,
    keep_largest,
    keep_largest_columns,
    keep_largest_rows,
    project_l1_ball,
    soft_threshold,
)
from textbook.regression import LeastSquares, least_squares, normal_equations, ridge
from textbook.sensitivity import local_sensitivity
from textbook.solution import Solution, SolutionPath
from textbook.splitting import admm, lasso_admm, least_squares_in_l1_ball, least_squares_with_k_nonzeros

__all__ = [
    "LeastSquares",
    "Solution",
    "SolutionPath",
    "Subset",
    "admm",
    "best_subset",
    "fista",
    "group_lasso",
    "group_lasso_coordinate_descent",
    "group_lasso_gap",
    "group_lasso_kkt",
    "group_lasso_lambda_max",
    "group_soft_threshold",
    "half_threshold",
    "hard_threshold",
    "ista",
    "keep_largest",
    "keep_largest_columns",
    "keep_largest_rows",
    "lasso",
    "lasso_admm",
    "lasso_at_most",
    "lasso_coordinate_descent",
    "lasso_gap",
    "lasso_kkt",
    "lasso_lambda_max",
    "lasso_path",
    "least_squares",
    "least_squares_in_l1_ball",
    "least_squares_with_k_nonzeros",
    "local_sensitivity",
    "lp_norm",
    "normal_equations",
    "orthogonal_matching_pursuit",
    "project_l1_ball",
    "ridge",
    "soft_threshold",
    "unit_ball",
]
