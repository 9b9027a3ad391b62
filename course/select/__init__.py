"""Problem set "select": what a constraint, a lasso or a threshold leaves, and the weights that are then fitted."""
