"""``python -m nn.data list`` says which data sets are there, ``python -m nn.data fetch NAME`` downloads one."""

import argparse
import sys
from collections.abc import Sequence

from nn.data.fetch import RESUME, fetch
from nn.data.load import find
from nn.data.sources import DATA_SETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 after an error that the user can mend, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fetch":
            print(fetch(options.name, options.cache, options.base_url, options.unverified))
        else:
            print("\n".join(_list()))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {RESUME}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nn.data", description="Data sets: what is there, and downloads.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names, where found, terms of use")
    command = commands.add_parser("fetch", help="download a data set and verify it")
    command.add_argument("name", metavar="NAME", help=f"one of {', '.join(DATA_SETS)}")
    command.add_argument("--cache", metavar="DIR", help="folder to put it in (default: the user cache)")
    command.add_argument("--base-url", metavar="URL", help="address of the files (default: the public one)")
    command.add_argument("--unverified", action="store_true", help="take files whose content cannot be verified")
    return parser


def _list() -> list[str]:
    lines = []
    for name, source in DATA_SETS.items():
        try:
            place = "part of this package" if source.embedded else f"found in {find(name)[0].parent}"
        except FileNotFoundError:
            place = "not found"
        lines.append(f"{name}: {place}; terms: {source.terms}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
