"""`python -m frenchcat`, the same as `frenchcat`."""

from frenchcat.cli import main

if __name__ == "__main__":
    main()
