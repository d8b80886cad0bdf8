"""The tables of trace-detect-scope(1) are those that the code uses."""

import subprocess
import sys

from tests.helpers.support import ROOT


def test_the_tables_of_the_page_are_current():
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "make_scope_tables.py"), "--check"])
    assert done.returncode == 0, "run tests/make_scope_tables.py"
