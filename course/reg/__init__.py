"""From least squares to sparsity."""
