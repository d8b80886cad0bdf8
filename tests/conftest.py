import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# The commands run with the Python that runs the tests, whatever PATH has first.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# Messages that are shown once per directory are remembered there.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="agent-pipes-tests-")
# Our processes leave files for each other there, by sessions whose ids many tests share.
os.environ["XDG_RUNTIME_DIR"] = os.path.join(os.environ["XDG_STATE_HOME"], "run")

from tests.helpers.planting import planting, subreaping
from tests.helpers.support import FOREIGN_VARIABLES

for name in FOREIGN_VARIABLES:
    os.environ.pop(name, None)

RUNTIME_DIR = Path(os.environ["XDG_RUNTIME_DIR"])
RUNTIME_DIR.mkdir(mode=0o700)

atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# In the background SIGINT is ignored, under nohup SIGHUP; the commands would inherit that.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )

# A machine that is busy with something else fails no test.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

LONGEST = 120
"""Seconds that one test may take: one that hangs fails, and does not stop the others."""


@pytest.fixture(autouse=True)
def _no_test_hangs():
    def expired(number, frame):
        raise TimeoutError(f"the test took longer than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _nothing_is_left_for_the_next_test():
    yield
    shutil.rmtree(RUNTIME_DIR / "agent-pipes", ignore_errors=True)
    # A report shows the kills that a watch has recorded of a session.
    for record in (RUNTIME_DIR.parent / "agent-pipes").glob("killed*"):
        record.unlink()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine of its own: a directory to work in, and nobody's sessions but those made here."""
    for name in ("home", "proj", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "proj")
    return {
        "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"),
        "CODEX_HOME": str(tmp_path / "codex"),
        "MARK": str(tmp_path),
    }


@pytest.fixture
def victim():
    """A process that may be ended."""
    process = subprocess.Popen(["sleep", "120"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def plant():
    """Starts trees of stand-in processes, which are gone when the test is over."""
    with planting() as plant:
        yield plant


@pytest.fixture
def subreaper():
    """Ourselves, to whom orphans come while the test runs."""
    with subreaping() as us:
        if us is None:
            pytest.skip("this system has no subreapers")
        yield us
