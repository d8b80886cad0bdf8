"""The file of a policy, `.agent-scope.json`: read, checked and made into a Policy."""

import os
import stat
from typing import TYPE_CHECKING, Any

from agent_pipes.core.stderr import prefix, write_line
from agent_pipes.core.strict_json import StrictJSON, quoted
from agent_pipes.scope.policy import Policy, PolicyError

if TYPE_CHECKING:
    from pathlib import Path

_LISTS = {"allow": list, "deny": list}
_FORM: dict[str, Any] = {
    "files": {"read": _LISTS, "write": _LISTS, "delete": _LISTS},
    "commands": _LISTS,
    "network": {"deny_all": bool, "allow": list},
    "unjudged": ("ignore", "warn", "deny"),
    "$schema": str,
}
"""Keys of a policy, and the types of their values."""

NO_POLICY = (
    "there is no such file; write one with agent-strace setup --policy standard, or name another "
    "with --policy"
)


def load_policy(path: "str | Path") -> Policy:
    """Return the policy in the file `path`. Raises PolicyError, which names the bad key."""
    file = StrictJSON(path, PolicyError)
    if not os.path.lexists(path):
        file.fail("", NO_POLICY)
    text = file.read()
    if not text.strip():
        file.fail("", "empty: nothing to enforce")
    content = file.parse(text)
    _check(file, content, _FORM, "")
    network = content.get("network", {})
    if network == {"allow": []}:
        file.fail("network.allow", "an empty list allows nothing at all: use deny_all instead")
    if network.get("deny_all") is False and network.get("allow"):
        _warn(f"{path}: network.allow has no effect while network.deny_all is false")
    if _is_writable_by_others(path):
        _warn(f"{path}: other users can edit it, and so change what it allows")
    return Policy(path, content)


def _warn(text: str) -> None:
    write_line(f"{prefix()}warning: {text}")


def _is_writable_by_others(path: "str | Path") -> bool:
    try:
        return bool(os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False


def _check(file: StrictJSON, content: object, form: Any, key: str) -> None:
    """Raise PolicyError for a value that is not of the form."""
    if isinstance(form, dict):
        for name, value in file.mapping(
            key, content, form, f"an object with {_listed(form)}"
        ).items():
            _check(file, value, form[name], f"{key}.{name}" if key else name)
    elif isinstance(form, tuple):
        if content not in form:
            file.fail(key, f"expected {', '.join(form)}, found {quoted(content)}")
    elif form is str:
        if not isinstance(content, str):
            file.fail_expected(key, "a string", content)
    elif form is bool:
        if not isinstance(content, bool):
            file.fail_expected(key, "true or false", content)
    else:
        patterns = file.strings(key, content, 'a list of strings, such as ["src/**"]')
        if not patterns and key.endswith("allow") and key != "network.allow":
            file.fail(
                key,
                'an empty list allows nothing at all: leave "allow" out to allow everything,'
                ' or deny ["/**"] to deny all',
            )


def _listed(form: dict[str, Any]) -> str:
    *most, last = [repr(name) for name in form if name not in ("unjudged", "$schema")]
    return f"{', '.join(most)} or {last}" if most else last
