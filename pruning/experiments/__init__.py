"""Experiments: pure functions from a specification (a dict with the seed in it) to a record (a dict of numbers).

An experiment is a module with ``specs(data, seeds, device, model, validation)``, ``run_cell(spec, root, progress,
folder)``, ``draw(records, folder)`` and ``FIELDS``, what ``run_cell`` returns at least; its command is the name of its
file.  ``small_nets(record)`` says which nets `scratch` trains from new weights beside its records.  What several of
them begin with is in `setup`, what they draw with in `figures`; `runner` runs the cells, on this machine or on those of
a `cluster`, `versions` says what they were run with and `record_file` keeps the records.
"""

from types import ModuleType

from pruning.experiments import (
    accelerators,
    admm_lenet5,
    adversarial,
    factorised_l0,
    filters,
    from_scratch,
    l0,
    lenet_record,
    obd_lenet1990,
    obd_mlp,
    obs_mlp,
    oracle_ranks,
    parameter_efficiency,
    reconstruction,
    rethinking,
    scaling_factors,
    self_adaptive,
    slimming,
    soft_filters,
    sparse_speed,
    structured_sparsity,
    train,
    transformable,
    variational_dropout,
)

EXPERIMENTS: dict[str, ModuleType] = {
    "accelerators": accelerators,
    "admm_lenet5": admm_lenet5,
    "adversarial": adversarial,
    "factorised_l0": factorised_l0,
    "filters": filters,
    "from_scratch": from_scratch,
    "l0": l0,
    "lenet_record": lenet_record,
    "obd_lenet1990": obd_lenet1990,
    "obd_mlp": obd_mlp,
    "obs_mlp": obs_mlp,
    "oracle_ranks": oracle_ranks,
    "parameter_efficiency": parameter_efficiency,
    "reconstruction": reconstruction,
    "rethinking": rethinking,
    "scaling_factors": scaling_factors,
    "self_adaptive": self_adaptive,
    "slimming": slimming,
    "soft_filters": soft_filters,
    "sparse_speed": sparse_speed,
    "structured_sparsity": structured_sparsity,
    "train": train,
    "transformable": transformable,
    "variational_dropout": variational_dropout,
}
OLD_NAMES = {
    "admm": "admm_lenet5",
    "lenet-record": "lenet_record",
    "obd": "obd_lenet1990",
    "sparse-speed": "sparse_speed",
    "ssl": "structured_sparsity",
}
"""Names that some of them, and the files of their records, had before they were called like their modules."""
