"""`python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys

from .measurements import wire


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("wire", help="the claims about refold_async's own wire, under 40 s")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--loop", choices=wire.LOOPS, help="only on this one")
    arguments = parser.parse_args()
    return wire.main(arguments.rounds, (arguments.loop,) if arguments.loop else tuple(wire.LOOPS))


if __name__ == "__main__":
    sys.exit(main())
