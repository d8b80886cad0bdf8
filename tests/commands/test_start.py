"""Start of each command: only the modules that its options need are loaded."""

import re
import signal
import subprocess
import sys
import tomllib

import pytest

from tests.helpers.support import ENVIRONMENT, ROOT

COMMANDS = sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])

HEAVY = {
    "base64", "concurrent.futures", "hashlib", "http.client", "ipaddress", "pathlib", "shutil", "socket", "sqlite3",
    "ssl", "subprocess", "tempfile", "urllib.parse",
}  # fmt: skip
"""Modules of the standard library that take a millisecond or more of each start."""

WORKERS = re.compile(
    r"agent_pipes\.(?:shell|sessions|scope|process|hooks|checks)(?:\.|$)"
    r"|agent_pipes\.agents\.(?:\w+\.|base_hooks)"
    r"|agent_pipes\.detect\.(?:runner|calls|turns|results|outcomes)"
    r"|agent_pipes\.cost\.(?:meter|price_table)"
)
"""Modules that do the work of a command, which the function that does it imports."""

MAX_OWN_MODULES = 30


def loaded(*words: str) -> set[str]:
    """Return the modules that a command loads."""
    command = [sys.executable, "-X", "importtime", ROOT / "bin" / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.M))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_at_its_start_what_its_options_need(name):
    found = loaded(name, "--version")
    assert "click" in found
    assert not found & HEAVY
    assert not [each for each in found if WORKERS.match(each)]
    assert len([each for each in found if each.startswith("agent_pipes.")]) <= MAX_OWN_MODULES


def test_watch_has_the_options_of_all_and_loads_the_work_of_none():
    found = loaded("agent-strace", "watch", "--help")
    assert "agent_pipes.detect.loop.command" in found
    assert not [each for each in found if WORKERS.match(each)]


@pytest.mark.parametrize("name", ["trace-tail", "trace-detect-loop", "agent-strace"])
def test_ctrl_c_while_a_command_is_loaded_prints_nothing(tmp_path, name):
    (tmp_path / "click.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][name]
    module = entry.partition(":")[0]
    script = tmp_path / name
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from {module} import main\nsys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGINT and done.stderr == b""
