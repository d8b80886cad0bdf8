"""The hint of a violation names the option that raises its limit, in the command that runs."""

import re

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.core.options import Option
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.runner import DetectorRunner
from tests.helpers.detecting import raised
from tests.helpers.support import Stream


def failing(times: int) -> Stream:
    stream = Stream()
    for number in range(times):
        stream.bash("npm ci", f"Exit code 1\n{number}", failed=True)
    return stream


def test_a_command_alone_names_its_own_option():
    [found] = raised(DETECTORS["retry"], failing(5))
    assert found["hint"] == "raise the limit with --max"


def test_watch_names_its_option():
    events = DetectorRunner(
        map(from_fields, failing(5).events), [DETECTORS["retry"].configured({})]
    )
    hints = [event.text("hint") for event in events if event.type == "violation"]
    assert hints == ["raise the limit with --max-retries"]


@pytest.mark.parametrize("name", DETECTORS)
def test_each_option_of_watch_has_a_name_in_its_filter(name):
    options = [each for each in DETECTORS[name].options if isinstance(each, Option) and each.flag]
    for option in options:
        assert option.opts and re.fullmatch(r"--[\w-]+", option.flag)
