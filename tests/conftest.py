"""What every test relies on: no hub, no usage reports, no colours that hide text, no deadlines."""

import os

import hypothesis

# A busy machine is no failure: examples are bounded in number, not in time.
hypothesis.settings.register_profile("frenchcat", deadline=None)
hypothesis.settings.load_profile("frenchcat")
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_ALBUMENTATIONS_UPDATE="1",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AUTH_MODE="disabled",
    COLUMNS="120",
)
