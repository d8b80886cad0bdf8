"""Config file and policy of a directory, as watch, backtest, the guard and doctor read them."""

from pathlib import Path
from typing import Any

from agent_pipes.alert.options import ALERT_OPTIONS
from agent_pipes.core import config
from agent_pipes.core.options import Option
from agent_pipes.cost.options import PRICING_OPTIONS
from agent_pipes.detect.registry import DETECTORS

DEFAULT_POLICY = Path(".agent-scope.json")


def config_options() -> list[Option]:
    """Return the options that have a key in the config file: detectors, prices and alerts."""
    options = [option for detector in DETECTORS.values() for option in detector.options]
    return [option for option in (*options, *PRICING_OPTIONS, *ALERT_OPTIONS) if option.key]


def load_config(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the config file's values by key, and the watchers off. Raises ConfigError."""
    return config.load(path, config_options(), DETECTORS)
