"""The real clients are driven only where this folder is asked for by name: `make real`."""

import signal
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [Path(word.split("::")[0]).resolve() for word in config.args]
    if not any(HERE in (path, *path.parents) for path in asked):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(
                    pytest.mark.skip(reason="the real clients are driven by `make real`")
                )


@pytest.fixture(autouse=True)
def _patience():
    """A client may have to be fetched first."""
    signal.alarm(400)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Measurements, a line for each run."""
    reports = [
        each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, ())
    ]
    rows = [value for report in reports for name, value in report.user_properties if name == "row"]
    if rows:
        terminalreporter.section("the real clients")
        for row in [list(rows[0]), *(row.values() for row in rows)]:
            terminalreporter.write_line("".join(f"{cell!s:<11}" for cell in row))
