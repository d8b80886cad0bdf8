"""Tables of trace-detect-scope(1) and the schema of the config file are those of the code."""

import subprocess
import sys

import pytest

from tests.helpers.support import ROOT


@pytest.mark.parametrize("script", ["make_scope_tables.py", "make_config_schema.py"])
def test_what_is_made_from_the_code_is_current(script):
    done = subprocess.run([sys.executable, str(ROOT / "tests" / script), "--check"])
    assert done.returncode == 0, f"run tests/{script}"
