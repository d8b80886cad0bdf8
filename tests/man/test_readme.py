"""The README's detectors and pipelines, run as they are written there."""

import re
import shutil
import subprocess

import pytest

from tests.helpers.support import BIN, ENVIRONMENT, FIXTURES, ROOT, Stream

README = (ROOT / "README.md").read_text()
BLOCKS = [
    (language, re.sub(r"^ {3,4}", "", text, flags=re.M))
    for language, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```", README, re.M | re.S)
]


def block(part: str) -> str:
    """The one block that contains `part`."""
    (found,) = [text for _, text in BLOCKS if part in text]
    return found


def shell(script: str, directory) -> str:
    """Run a script with the suite in PATH; return its stderr, on which it must have no error."""
    path = f"{BIN}:{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=directory,
        env=ENVIRONMENT | {"PATH": path},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("awk", ["mawk -W interactive", "gawk", "original-awk"])
def test_the_detector_in_awk(awk, tmp_path):
    if not shutil.which(awk.split()[0]):
        pytest.skip(f"{awk.split()[0]} is not installed")
    stream = Stream().call("Write", {"file_path": "/p/migrations/1.py", "content": "x"})
    stream.call("Write", {"file_path": "/p/src/1.py", "content": "x"})
    (tmp_path / "events").write_bytes(stream.bytes)
    script = block("touched a migration")
    assert script.count("trace-tail |") == 1 and script.count("trace-kill") == 1
    script = re.sub(r"^  awk '", f"  {awk} '", script, flags=re.M)
    script = script.replace("trace-tail |", "cat events |").replace("trace-kill", "trace-alert")
    said = shell(script, tmp_path).splitlines()
    assert len(said) == 1 and "MigrationsWatcher: touched a migration" in said[0]


def test_the_detector_in_jq(tmp_path):
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    stream = Stream()
    stream.add("tool_result", {"tool_name": "Bash", "result": "x", "result_bytes": 2_000_000})
    stream.add("tool_result", {"tool_name": "Bash", "result": "x", "result_bytes": 10})
    (tmp_path / "events").write_bytes(stream.bytes)
    script = block("a result of over 1 MB").replace("trace-tail |", "cat events |")
    said = shell(script, tmp_path).splitlines()
    assert len(said) == 1 and "SizeWatcher: a result of over 1 MB" in said[0]


def test_a_pipeline_does_not_flood_the_terminal_with_events():
    shown = [text for language, text in BLOCKS if language in ("sh", "make", "cron")]
    commands = [
        line
        for text in shown
        for line in re.sub(r"(?:\\\n|\|\n)\s*", "| ", text).splitlines()
        if re.search(r"\| *trace-(?:kill|alert|status)\b", line)
    ]
    assert len(commands) >= 5
    for line in commands:
        assert re.search(r">\s*(?:/dev/null|\S+\.\w+)\s*(?:#.*)?$", line), line


def test_the_unit_writes_no_events_into_the_journal():
    assert "StandardOutput=null" in block("[Service]")


def test_the_rule_of_make_fails_with_the_reason(tmp_path):
    if not (shutil.which("make") and shutil.which("jq")):
        pytest.skip("make is not installed")
    agent = 'claude -p "review this" --output-format stream-json --verbose'
    rule = block("review:")
    assert agent in rule
    (tmp_path / "Makefile").write_text(rule.replace(agent, f"cat {FIXTURES / 'spiral.ndjson'}"))
    done = subprocess.run(
        ["make", "-s", "review"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT | {"PATH": f"{BIN}:{ENVIRONMENT['PATH']}"},
    )
    assert done.returncode == 2 and '"python -m pytest -q" failed 3 times' in done.stderr
    assert not re.search(r"^\{", done.stdout, re.M)
