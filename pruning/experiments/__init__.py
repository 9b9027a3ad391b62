"""Experiments: pure functions from a specification (a dict with the seed in it) to a record (a dict of numbers).

An experiment is a module with ``specs(data, seeds, device)`` and ``run_cell(spec, progress)``, listed here by name.
"""

from pruning.experiments import obd_mlp

EXPERIMENTS = {"obd_mlp": obd_mlp}
