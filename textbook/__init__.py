"""The algorithms of the lecture's first half: regression with few coefficients, as functions on arrays."""
