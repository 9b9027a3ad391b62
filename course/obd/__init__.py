"""Optimal Brain Damage."""
