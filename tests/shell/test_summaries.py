"""Outcome of a command whose status is hidden, read from its tool's summary."""

import pytest

from agent_pipes.shell import normalize
from agent_pipes.shell.answers import is_answer
from agent_pipes.shell.summaries import failure_count, summary_outcome, tool_of

PYTEST_FAILED = "FAILED tests/test_a.py::test_b\n==== 1 failed, 3 passed in 0.12s ===="
PYTEST_PASSED = "==== 4 passed in 0.11s ===="


@pytest.mark.parametrize(
    ("command", "text", "outcome"),
    [
        ("pytest -q 2>&1 | tail -20", PYTEST_FAILED, "failed"),
        ("pytest -q 2>&1 | tail -20", PYTEST_PASSED, "passed"),
        ("cd app && CI=1 uv run pytest | head -50", PYTEST_FAILED, "failed"),
        ("timeout 60 python3 -m pytest -x | cat", PYTEST_FAILED, "failed"),
        ("npm test || true", "Tests:       1 failed, 3 passed, 4 total", "failed"),
        ("npm test > out.log 2>&1; tail -5 out.log", "Tests: 4 passed, 4 total", "passed"),
        ("go test ./... | head", "FAIL\texample.com/x\t0.1s", "failed"),
        ("make check; echo $?", "making\n2", "failed"),
        ("make check; echo EXIT=$?", "making\nEXIT=0", "passed"),
        ("(cd a && cargo test) 2>&1 | tail", "test result: ok. 3 passed; 0 failed", "passed"),
        ("tsc --noEmit | head -5", "", "passed"),
        # After a grep, silence tells nothing.
        ("tsc --noEmit | grep error", "", None),
        ("pytest | grep -v skipped", "collecting", None),
        # The status is that of the tool.
        ("pytest -q", PYTEST_FAILED, None),
        ("cd app && pytest -q && echo done", PYTEST_PASSED, None),
        ("set -o pipefail; pytest | tail", PYTEST_FAILED, None),
        # No test, build, lint or type-check command.
        ("cat pytest.ini | head", PYTEST_FAILED, None),
        ("grep -rn pytest . | head", PYTEST_FAILED, None),
        ("pytest --version | head -1", "pytest 8.0", None),
    ],
)
def test_the_outcome_of_a_command(command, text, outcome):
    assert summary_outcome(command, text) == outcome


def test_the_largest_number_of_failures_counts():
    assert failure_count(tool_of("cargo test"), "1 failed\ntest result: FAILED. 6 failed") == 6
    assert failure_count(tool_of("pytest -q"), PYTEST_FAILED) == 1
    assert failure_count(tool_of("pytest -q"), "no summary") is None
    assert failure_count(tool_of("ls"), "6 failed") is None


@pytest.mark.parametrize(
    ("command", "status", "text", "answer"),
    [
        ("rg -n TODO src", 1, "", True),
        ("rg -n '[' src", 2, "regex parse error", False),
        ("cd app && grep -rn x . | sort | grep y", 1, "", True),
        ("git diff --exit-code", 1, "diff --git a b", True),
        ("git -C app diff --quiet", 1, "", True),
        ("git log --exit-code", 1, "", False),
        ("test -f build/out", 1, "", True),
        ("[ -d build ]", 1, "", True),
        ("which mandoc", 1, "mandoc not found", True),
        ("command -v uv", 1, "", True),
        ("git ls-remote origin | rg main", 1, "fatal: Could not resolve hostname", False),
        ("curl -sf localhost:8080/health", 7, "", True),
        ("systemctl is-active web", 3, "inactive", True),
        ("ls missing", 1, "", False),
        ("npm test", 1, "", False),
        ("grep x y && npm test", 1, "", False),
    ],
)
def test_an_answer_is_no_failure(command, status, text, answer):
    assert is_answer(command, status, text) is answer


@pytest.mark.parametrize(
    ("command", "compared"),
    [
        ("npm test > /tmp/out_0.log 2>&1; tail -5 /tmp/out_0.log", "npm test"),
        ("make all &> build-7.log && cat build-7.log", "make all"),
        ("make > a.log; ls", "make ; ls"),
        ("make > build/out.bin; ls", "make > build/out.bin ; ls"),
        ("make 2>&1 | tee run-3.log | tail -5", "make"),
        ("cat a; cat b", "cat a ; cat b"),
        ("sort x > y", "sort x > y"),
    ],
)
def test_a_log_file_that_is_shown_at_once_is_left_out_of_comparison(command, compared):
    assert normalize(command) == compared
