"""Scales, noise, gates: nets that find their own size."""
