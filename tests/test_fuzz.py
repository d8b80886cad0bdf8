"""Each fuzz target on inputs of about two seconds; `make fuzz` tries a million."""

import fuzz
import pytest


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_nothing_that_is_made_up_crashes_it(name):
    fuzz.fuzz(name, 200, derandomize=True)
