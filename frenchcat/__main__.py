"""`frenchcat` and `python -m frenchcat`: handle Ctrl-C first, then import the command line."""

import sys

from frenchcat.interrupt import end_if_interrupted, stop_on_interrupt


def main() -> None:
    """Run the command line."""
    stop_on_interrupt(sys.argv[1:])
    try:
        from frenchcat.cli import main as run

        run()
    finally:
        end_if_interrupted()


if __name__ == "__main__":
    main()
