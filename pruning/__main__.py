"""``python -m pruning demo | list | run NAME | verify``."""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from nn.backend import array_module
from nn.files import check_file, replacing
from pruning import ledger
from pruning.experiments import EXPERIMENTS, OLD_NAMES, obd_mlp, record_file, runner, scratch
from pruning.experiments.figures import obd_mlp as figures
from pruning.experiments.setup import check_seeds
from pruning.ledger import report

NEXT = """What next:
  make lab                                             the notebooks, from 01_backprop_by_hand on
  .venv/bin/python -m pruning demo --seed 1            another start
  .venv/bin/python -m pruning run obd_mlp --jobs 2     tanh and cross-entropy too"""

WIDEST = 160
"""Columns of the table of `verify`: in wider lines the eye loses the row."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    It is 0; 1 if `verify` found a formula wrong; 2 after an error that the user can mend; 130 after Ctrl-C or SIGTERM;
    141 if whoever read the output has gone, as `head` does.
    """
    options = _parser().parse_args(arguments)
    try:
        with _terminated_like_interrupted():
            found = options.command(options)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return 141
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; a `run` started again goes on where it stopped" if options.command is _run else ""
        print(f"interrupted{hint}", file=sys.stderr)
        return 130
    return found or 0


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: what was running in processes is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pruning", description="Prune a network and look at what happens.")
    commands = parser.add_subparsers(required=True, metavar="demo | list | run | verify")
    demo = commands.add_parser(
        "demo", help="train a net, prune it by OBD and by magnitude, print a table, draw figures"
    )
    demo.set_defaults(command=_demo)
    demo.add_argument("--seed", type=int, default=0, help="default 0")
    listing = commands.add_parser("list", help="the experiments")
    listing.set_defaults(command=_list)
    run = commands.add_parser("run", help="run an experiment, or the part of it that is missing")
    run.set_defaults(command=_run)
    run.add_argument("name", metavar="NAME", help=", ".join(EXPERIMENTS))
    run.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more; default 0")
    run.add_argument("--model", help="name of a model, where an experiment has several")
    run.add_argument(
        "--validation",
        action="store_true",
        help="report accuracies on held-out training images instead of the test images",
    )
    run.add_argument(
        "--scratch",
        action="store_true",
        help="train the small nets of the records that are in the folder once more, from new weights, and add records"
        " of that in NAME-scratch.jsonl",
    )
    run.add_argument("--jobs", type=int, default=1, help="processes; default 1")
    run.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a dask.distributed scheduler, whose workers run the cells, or local, which starts one with as many"
        " workers as --jobs says (pruning/experiments/cluster.md)",
    )
    verify = commands.add_parser("verify", help="put the formulas of the ledger on trial, right forms and wrong ones")
    verify.set_defaults(command=_verify)
    verify.add_argument("ids", nargs="*", metavar="ID", help="such as S0-F6; default all")
    verify.add_argument("--seed", type=int, default=0, help="default 0")
    verify.add_argument("--json", type=Path, help="write all that was measured to this file")
    verify.add_argument("--myst", type=Path, help="write the ledger to this file, as a page in MyST Markdown")
    for command in (demo, run):
        command.add_argument(
            "--data", default="digits", help="name of a data set (python -m nn.data list); default digits"
        )
        command.add_argument("--root", help="folder that contains the folder of the data set")
        command.add_argument(
            "--out", type=Path, default=Path("out"), help="folder for records and figures; default out"
        )
        command.add_argument("--device", default="cpu", help="cpu or gpu; default cpu")
    return parser


def _demo(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    array_module(options.device)
    record_file.make_folder(options.out)
    spec = obd_mlp.spec(options.data, options.seed, device=options.device)
    print(
        f"Training a {spec['activation']} net with hidden layers {spec['hidden']} on {spec['data']}, then pruning it."
    )
    record = runner.run_one("obd_mlp", spec, options.root, progress=True)
    trained = record["trained"]
    print(
        f"Trained: loss {trained['train_loss']:.4f}, test accuracy {100 * trained['test_accuracy']:.1f} %,"
        f" norm of the gradient {trained['gradient_norm']:.4f} (OBD takes it for zero).\n"
    )
    print(obd_mlp.table(record))
    record_file.write(options.out / "demo.jsonl", [record])
    curves = figures.loss_curves([record], options.out / "loss_curves.png")
    prediction = figures.predicted_against_true([record], options.out / "predicted_against_true.png")
    print(f"\nRecords: {options.out / 'demo.jsonl'}   Figures: {curves}, {prediction}")
    print(f"{time.perf_counter() - start:.0f} s.\n\n{NEXT}")


def _list(options: argparse.Namespace) -> None:
    for name, module in EXPERIMENTS.items():
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}")


def _run(options: argparse.Namespace) -> None:
    name = OLD_NAMES.get(options.name, options.name)
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known are {', '.join(EXPERIMENTS)}")
    if name != options.name:
        print(f"{options.name} is called {name} now", file=sys.stderr)
    if options.scheduler in (None, "local"):
        array_module(options.device)
    experiment = EXPERIMENTS[name]
    specs = experiment.specs(options.data, options.seed, options.device, options.model, options.validation)
    path = options.out / f"{name}.jsonl"
    if options.scratch:
        _add_scratch(experiment, specs, path, options)
        return
    records = runner.run(name, specs, path, options.jobs, options.root, options.scheduler)
    print(f"{len(records)} records are in {path}; figures:")
    print("\n".join(f"  {figure}" for figure in experiment.draw(records, options.out)))


def _add_scratch(
    experiment: ModuleType, specs: Sequence[dict[str, Any]], path: Path, options: argparse.Namespace
) -> None:
    records = scratch.pruned(experiment, specs, path)
    name = f"{path.stem}{scratch.SUFFIX}"
    cells, out = scratch.specs(experiment, records), path.with_name(f"{name}.jsonl")
    added = runner.run(name, cells, out, options.jobs, options.root, options.scheduler)
    print(f"{len(added)} records are in {out}; accuracies in %:")
    print(scratch.table(scratch.compared(experiment, records, added)))


def _verify(options: argparse.Namespace) -> int:
    check_seeds([options.seed])
    statements = ledger.chosen(options.ids)
    _prepare_files(options.json, options.myst)
    width = min(shutil.get_terminal_size((120, 24)).columns, WIDEST)
    print(report.header(width))
    outcomes = []
    for statement in tqdm(statements, unit="statement", leave=False, disable=None):
        outcomes.append(_judged(statement, options.seed))
        tqdm.write(report.lines(outcomes[-1], width))
    print(f"\n{report.summary(outcomes, width)}")
    for path, text in (
        (options.json, report.as_json(outcomes, options.seed)),
        (options.myst, report.as_myst(outcomes)),
    ):
        if path is not None:
            with replacing(path) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
    return int(not all(outcome.ok for outcome in outcomes))


def _prepare_files(json: Path | None, myst: Path | None) -> None:
    if json is not None and myst is not None and json.resolve() == myst.resolve():
        raise ValueError(f"expected two files for --json and --myst, got {json} for both")
    for option, path in (("--json", json), ("--myst", myst)):
        if path is not None:
            check_file(path)
            record_file.prepare(path, option=option)


def _judged(statement: ledger.Statement, seed: int) -> ledger.Outcome:
    try:
        return ledger.run(statement, seed)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise RuntimeError(f"{statement.id} could not be judged, for its code failed with {what}") from error


if __name__ == "__main__":
    sys.exit(main())
