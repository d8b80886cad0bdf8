"""Steps on a violation: flags before one watcher's config before that of all."""

import json
from pathlib import Path

import click
import pytest

from agent_pipes.commands.preset import Preset
from agent_pipes.core.config import ConfigError
from agent_pipes.core.steps import OnViolation, StepList
from agent_pipes.detect.configuration import load_config
from tests.helpers.support import run

LADDER = ("nudge", "pause", "kill")


def preset(config: dict, tmp_path: Path, steps: tuple[str, ...] | None = None) -> Preset:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    values, off = load_config(file)
    return Preset({}, values, off, steps=steps)


def names(found: Preset) -> list[str]:
    return [str(part.name) for part, _ in found.parts({})]


def test_the_ladder_for_all_is_that_of_each_watcher(tmp_path):
    found = preset({"on_violation": ["nudge", "pause", "kill"]}, tmp_path)
    assert set(found.steps.values()) == {LADDER} and "retry" in found.steps
    assert found.actions["retry"] == ("terminal",)
    order = names(found)
    assert order.index("trace-detect-stall") < order.index("trace-nudge")
    assert order.index("trace-nudge") < order.index("trace-kill") < order.index("trace-alert")


def test_a_watchers_own_ladder_and_its_kill_come_before_that_of_all(tmp_path):
    config = {
        "on_violation": ["pause"],
        "watchers": {
            "retry": {"on_violation": "nudge"},
            "scope": {"alert": "kill"},
            "cost": {"alert": ["file", "webhook"]},
        },
        "webhook": {"url": "https://example.invalid/x"},
    }
    found = preset(config, tmp_path)
    assert found.steps["retry"] == ("nudge",)
    assert "scope" not in found.steps and "kill" in found.actions["scope"]
    assert (found.steps["cost"], found.actions["cost"]) == (("pause",), ("file", "webhook"))
    assert found.steps["loop"] == ("pause",)


def test_a_flag_comes_before_all_of_it(tmp_path):
    config = {"on_violation": ["pause"], "watchers": {"scope": {"alert": "kill"}}}
    found = preset(config, tmp_path, ("nudge",))
    assert set(found.steps.values()) == {("nudge",)} and not found.kills
    assert "kill" not in found.actions["scope"]
    only_alerts = preset(config, tmp_path, ())
    assert (only_alerts.steps, only_alerts.kills) == ({}, False)


def test_a_plain_kill_needs_no_steps(tmp_path):
    found = preset({}, tmp_path, ("kill",))
    assert (found.steps, found.kills) == ({}, True)
    assert "trace-nudge" not in names(found)


@pytest.mark.parametrize(
    "config",
    [
        {"on_violation": "stop"},
        {"on_violation": ["nudge", "kil"]},
        {"on_violation": 3},
        {"on_violation": [True]},
        {"watchers": {"cost": {"on_violation": ["paws"]}}},
        {"on_violations": ["kill"]},
    ],
)
def test_a_step_that_is_none_stops_the_start(tmp_path, config):
    with pytest.raises(ConfigError, match="on_violation"):
        preset(config, tmp_path)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("kill", ("kill",)), ("nudge, Pause,kill", LADDER), ("pause", ("pause",))],
)
def test_steps_are_separated_by_commas(text, steps):
    assert StepList().convert(text, None, None) == steps == OnViolation().convert(text, None, None)


def test_alert_is_no_step():
    assert OnViolation().convert("alert", None, None) == ()
    with pytest.raises(click.BadParameter, match="nudge, pause, kill"):
        StepList().convert("alert", None, None)


def test_the_pipeline_of_a_ladder_is_explained(tmp_path):
    done = run("agent-strace", "watch", "--on-violation", "nudge,kill", "--explain", cwd=tmp_path)
    text = done.stdout.decode()
    assert "--steps nudge --steps kill" in text and "trace-nudge |" in text
    assert run("agent-strace", "watch", "--on-violation", "stop", cwd=tmp_path).returncode == 2
