"""Paths that a patch changes."""

import re

from agent_pipes.core.lazy_regex import pattern

_APPLY_PATCH = pattern(r"^\*\*\* (?:(?:Add|Update|Delete) File|Move to): (.+?)\s*$", re.M)
_UNIFIED = pattern(r"^(?:---|\+\+\+) ([^\t\n]+)|^rename (?:from|to) (.+)$", re.M)


def patched_files(text: str) -> list[str]:
    """Return the paths in an `apply_patch` patch or, failing that, in a unified diff."""
    if paths := _APPLY_PATCH.findall(text):
        return list(dict.fromkeys(paths))
    found: dict[str, None] = {}
    for path, renamed in _UNIFIED.findall(text):
        name = (path or renamed).strip()
        if name != "/dev/null":
            found[re.sub(r"^[abciw]/", "", name) if path else name] = None
    return list(found)
