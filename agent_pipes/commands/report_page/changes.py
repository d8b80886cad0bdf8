"""Text that an edit, a write or a patch removes and adds, read from a call's arguments."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent_pipes.core.jsonl import Fields
from agent_pipes.detect.calls import PATHS, Call

CONTEXT_LINES = 2
"""Unchanged lines shown before and after a change."""

MAX_DIFF_CHARS = 40_000
"""Characters of either side of a change that are compared; the rest is left out."""

MAX_COMPARED = 1_000_000
"""Pairs of lines that are compared; larger changes are shown as removed and added whole."""

_PATCH_FILE = re.compile(r"\*\*\* (?:Add|Update|Delete) File: (.+)")


@dataclass(slots=True, frozen=True)
class Change:
    """One replaced text of a file; `whole` if the call writes the whole file."""

    path: str
    removed: str
    added: str
    whole: bool = False

    def replaced_by(self, later: "Change") -> bool:
        """Return True if `later` replaces exactly the text that this change has added."""
        if self.path != later.path:
            return False
        if later.whole:
            return self.whole
        return bool(self.added.strip()) and self.added.strip() == later.removed.strip()

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield (sign, line) of the difference; the sign is `-`, `+`, a blank, or `@` for a gap."""
        before = self.removed[:MAX_DIFF_CHARS].splitlines()
        after = self.added[:MAX_DIFF_CHARS].splitlines()
        if len(before) * len(after) > MAX_COMPARED:
            yield from (("-", line) for line in before)
            yield from (("+", line) for line in after)
            return
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for place, group in enumerate(matcher.get_grouped_opcodes(CONTEXT_LINES)):
            if place:
                yield "@", ""
            for kind, i1, i2, j1, j2 in group:
                if kind == "equal":
                    yield from ((" ", line) for line in before[i1:i2])
                else:
                    yield from (("-", line) for line in before[i1:i2])
                    yield from (("+", line) for line in after[j1:j2])

    def counts(self) -> tuple[int, int]:
        """Return the number of lines added and removed."""
        signs = [sign for sign, _ in self.lines()]
        return signs.count("+"), signs.count("-")


def changes_of(call: Call) -> list[Change]:
    """Return the changes that a call's arguments describe; empty for other calls."""
    arguments = call.arguments
    patch = arguments.get("input", arguments.get("patch"))
    if isinstance(patch, str) and patch.lstrip().startswith("*** Begin Patch"):
        return list(_patch_changes(patch))
    path = next((value for key, value in arguments.items() if key in PATHS), None)
    if not isinstance(path, str):
        return []
    edits = arguments.get("edits")
    if isinstance(edits, list):
        parts = [edit for edit in edits if isinstance(edit, dict)]
        return [change for edit in parts for change in _edit(path, edit)]
    return _edit(path, arguments)


def _edit(path: str, fields: Fields) -> list[Change]:
    old = _first_text(fields, "old_string", "old_str", "oldText", "oldString")
    new = _first_text(fields, "new_string", "new_str", "newText", "newString")
    if old is not None and new is not None:
        return [Change(path, old, new)]
    content = _first_text(fields, "content", "file_text", "contents")
    return [] if content is None else [Change(path, "", content, whole=True)]


def _first_text(fields: Fields, *names: str) -> str | None:
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def _patch_changes(patch: str) -> Iterator[Change]:
    path = ""
    removed: list[str] = []
    added: list[str] = []
    for line in [*patch.splitlines(), "*** End Patch"]:
        if line.startswith("*** "):
            if path and (removed or added):
                yield Change(path, "\n".join(removed), "\n".join(added))
            match = _PATCH_FILE.match(line)
            if match or line == "*** End Patch":
                path, removed, added = match[1] if match else "", [], []
        elif line[:1] == "-":
            removed.append(line[1:])
        elif line[:1] == "+":
            added.append(line[1:])
