"""Backprop: formulas, layers, and a test of them."""
