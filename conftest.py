"""What all tests share: the profile ``near``, a last moment to begin, and a word on slow tests."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import pytest

try:
    from hypothesis import settings
except ImportError:  # a plugin's own tests need pytest only
    settings = None

LONG_SECONDS = 10
"""A test that takes longer is to be marked ``slow``."""

# The same examples every time, and no limit of time for one: the machine may be busy. Few of them
# for the time between two saves; a test that names its own number keeps it.
if settings is not None:
    settings.register_profile("yoriai", derandomize=True, deadline=None, max_examples=60)
    settings.load_profile("yoriai")
    settings.register_profile("near", derandomize=True, deadline=None, max_examples=8)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--begin-within",
        type=float,
        default=0,
        metavar="SECONDS",
        help="begin no test later than this after the first; the rest is skipped, and counted",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    limit = item.config.getoption("--begin-within")
    if not limit:
        return
    began = item.config.stash.setdefault(BEGAN, time.monotonic())
    if time.monotonic() - began > limit:
        pytest.skip(f"left to CI: {limit:g} seconds were over")


BEGAN = pytest.StashKey[float]()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which unmarked tests took long. It is no failure: the machine may be busy."""
    seconds: dict[str, float] = defaultdict(float)
    before: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and "slow" not in report.keywords:
                seconds[report.nodeid] += report.duration
                if report.when == "setup":
                    before[report.nodeid] += report.duration
    long = sorted((n for n in seconds if seconds[n] > LONG_SECONDS), key=lambda n: -seconds[n])
    if long:
        terminalreporter.section("took over ten seconds and is not marked slow", yellow=True)
    for name in long:
        terminalreporter.line(f"{seconds[name]:6.1f} s  {name}  (setup {before[name]:.1f} s)")
