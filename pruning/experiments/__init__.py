"""Experiments: pure functions from a specification (a dict with the seed in it) to a record (a dict of numbers).

An experiment is a module with ``specs(data, seeds, device)``, ``run_cell(spec, root, progress)`` and
``draw(records, folder)``, listed here by name.
"""

from pruning.experiments import obd_mlp

EXPERIMENTS = {"obd_mlp": obd_mlp}
