"""A sweep of 32 small cells on two workers of dask.distributed, against the same one after the other.

The workers run before the clock does, as those of a cluster would.  They share the machine with the scheduler and the
command, so that two free cores are needed for a ratio near 1/2.

    python tests/benchmarks/cluster.py [--rounds N]
"""

import interleaved  # isort: skip  (sets the number of threads)

import contextlib
import itertools
import os
import tempfile
from pathlib import Path

import dask
import distributed

from pruning.experiments import cluster, obd_mlp, runner

CELLS = 32


def sweep(folder, **options):
    specs = [{**obd_mlp.spec(seed=seed, grid=(0.5,)), "epochs": 30, "retrain_epochs": 5} for seed in range(CELLS)]
    number = itertools.count()

    def run():
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            found = runner.run("obd_mlp", specs, folder / f"{next(number)}.jsonl", **options)
        runs.append([{**record, "time": None} for record in found])

    runs = []
    return run, runs


def main():
    with dask.config.set(cluster.MALLOC):
        local = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=60,
        )
    with local, tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("serial", "cluster")]
        (serial, alone), (workers, shared) = sweep(paths[0]), sweep(paths[1], scheduler=local.scheduler_address)
        contenders = {"two workers": workers, "serial": serial}
        interleaved.compare(contenders, [("two workers", "serial")], rounds=3)
    print(f"  equal records: {alone == shared}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
