"""Experiments: pure functions from a specification (a dict with the seed in it) to a record (a dict of numbers).

An experiment is a module with ``specs(data, seeds, device, model, validation)``, ``run_cell(spec, root, progress,
folder)`` and ``draw(records, folder)``, listed here by name.
"""

from pruning.experiments import (
    admm_lenet5,
    filters,
    lenet_record,
    obd_lenet1990,
    obd_mlp,
    obs_mlp,
    sparse_speed,
    structured_sparsity,
    train,
)

EXPERIMENTS = {
    "admm": admm_lenet5,
    "filters": filters,
    "lenet-record": lenet_record,
    "obd": obd_lenet1990,
    "obd_mlp": obd_mlp,
    "obs_mlp": obs_mlp,
    "sparse-speed": sparse_speed,
    "ssl": structured_sparsity,
    "train": train,
}
