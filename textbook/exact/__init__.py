"""The fast exact solvers behind `textbook.lasso`, `lasso_path`, `lasso_at_most` and `group_lasso`."""
