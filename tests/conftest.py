import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

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
