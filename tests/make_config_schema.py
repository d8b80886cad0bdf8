#!/usr/bin/env python3
"""Write the JSON Schema of .agent-watch.json from the options of the detectors and alerts.

    make_config_schema.py [--check]

With --check nothing is written, and the status is 1 if the file is not current.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent_pipes.core.options import Option  # noqa: E402
from agent_pipes.detect.configuration import config_options  # noqa: E402
from agent_pipes.detect.registry import DETECTORS  # noqa: E402

PATH = ROOT / "agent_pipes" / "data" / "config.schema.json"
ADDRESS = "https://raw.githubusercontent.com/agent-pipes/agent-pipes/main/agent_pipes/data/"
STRINGS = {"type": "array", "items": {"type": "string"}}


def value_of(option: Option) -> dict[str, Any]:
    """Return the schema of one key."""
    described = {"description": option.help.split(".")[0] + "."} if option.help else {}
    if option.multiple:
        return described | {"anyOf": [{"type": "string"}, STRINGS]}
    if option.is_flag:
        return described | {"type": "boolean"}
    if choices := getattr(option.type, "choices", None):
        return described | {"enum": list(choices)}
    numbers = option.type.name in ("N", "TIME", "DOLLARS")
    return described | {"type": ["number", "string"] if numbers else ["string", "number"]}


def section(prefix: str) -> dict[str, Any]:
    """Return the schema of the object with the keys `prefix.…`."""
    keys = {
        str(option.key).removeprefix(f"{prefix}."): value_of(option)
        for option in config_options()
        if str(option.key).startswith(f"{prefix}.")
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(sorted(keys.items())),
    }


def schema() -> dict[str, Any]:
    watchers = {name: {"anyOf": [{"type": "boolean"}, section(name)]} for name in DETECTORS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{ADDRESS}config.schema.json",
        "title": "Limits of agent-strace watch (.agent-watch.json)",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "$schema": {
                "type": "string",
                "description": "The address of this schema, for editors.",
            },
            "watchers": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict(sorted(watchers.items())),
            },
            "webhook": section("webhook"),
            "on_violation": {"anyOf": [{"type": "string"}, STRINGS]},
        },
    }


def main() -> int:
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if "--check" in sys.argv:
        return int(not PATH.exists() or PATH.read_text() != text)
    PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
