"""The command line as it is installed, run in this process, where its libraries are loaded."""

import sys

import pytest

from frenchcat import cli


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run it and give its exit status."""
    monkeypatch.setattr(sys, "argv", ["frenchcat", *arguments])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)
