"""``python -m merganser``: what is done once for an environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__, _merganser


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m merganser", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser(
        "adbc-install",
        help="write the manifest by which ADBC's driver managers find the driver of this package",
    )
    where = install.add_mutually_exclusive_group()
    where.add_argument("--venv", metavar="DIR", help="for this environment [default: the current]")
    where.add_argument("--user", action="store_true", help="for all that this user runs")
    where.add_argument("--system", action="store_true", help="for all users of this machine")
    chosen = parser.parse_args(arguments)
    place = "user" if chosen.user else "system" if chosen.system else chosen.venv or sys.prefix
    try:
        path = _merganser.write_adbc_manifest(place, _merganser.__file__)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}: connect to the driver merganser, or to merganser:///path/merganser.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
