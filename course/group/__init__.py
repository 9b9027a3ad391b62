"""Group lasso and structured sparsity."""
