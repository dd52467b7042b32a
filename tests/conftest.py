"""What every test relies on: no hub, no usage reports, no colours that hide text, no deadlines."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import Phase

# A busy machine is no failure: examples are bounded in number, not in time.
hypothesis.settings.register_profile("frenchcat", deadline=None)
# Where code is broken on purpose, one example says enough: a smaller one takes minutes to find.
hypothesis.settings.register_profile(
    "mutants", deadline=None, phases=(Phase.explicit, Phase.generate), database=None
)
hypothesis.settings.load_profile(os.environ.get("FRENCHCAT_HYPOTHESIS", "frenchcat"))
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_ALBUMENTATIONS_UPDATE="1",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AUTH_MODE="disabled",
    COLUMNS="120",
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background; what the tests start would inherit it and never answer Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
KINDS = {
    "browser": ("index/page",),
    "server": ("curate/download", "index/service", "index/page", "end_to_end"),
}
"""Marker -> folders whose tests are of that kind; single tests name theirs themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder."""
    for item in items:
        folder = item.path.parent.relative_to(ROOT).as_posix()
        for kind, folders in KINDS.items():
            if any(folder == one or folder.startswith(f"{one}/") for one in folders):
                item.add_marker(kind)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped but what needs a GPU: a part that is missing fails."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        if "GPU" not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where nothing may be missing: {reason}"
    return report
