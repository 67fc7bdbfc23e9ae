"""A pytest plugin for environments without PyTorch: tests that need it are skipped, by name.

`make test-3.13` loads it. Where PyTorch is installed it changes nothing.
"""

import pytest

REASON = "needs PyTorch, which is not installed"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Skip a module that cannot be imported without PyTorch."""
    report = yield
    if report.failed and "No module named 'torch'" in str(report.longrepr):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 1, f"Skipped: {REASON}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Skip a test whose fixtures import PyTorch."""
    return (yield from _skip_without_torch())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that imports PyTorch while it runs."""
    return (yield from _skip_without_torch())


def _skip_without_torch():
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip(REASON)
