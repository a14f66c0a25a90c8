"""The ``yoriai`` command from its first line on: signals are handled before all else."""

from __future__ import annotations

import contextlib
import sys

from yoriai import stopping


def main() -> None:
    """Call :func:`yoriai.cli.main`; a signal that comes while it is imported is heeded then."""
    try:
        with stopping.orderly_end() if "run" in sys.argv else contextlib.nullcontext():
            with stopping.deferred():
                from yoriai import cli
            cli.main()
    except KeyboardInterrupt:  # of a command that leaves signals to Python
        sys.exit(130)


if __name__ == "__main__":
    main()
