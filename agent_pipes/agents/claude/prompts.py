"""Origin of a prompt of Claude Code's: a person, or a substitute for one."""

from agent_pipes.agents.fields import string
from agent_pipes.core.jsonl import Fields

STAND_INS = (
    ("Stop hook feedback", "hook"),
    ("<task-notification", "notification"),
    ("<scheduled-wakeup", "schedule"),
    ("<agent-message", "agent"),
    ("<teammate-message", "agent"),
    ("<channel", "agent"),
    ("This session is being continued from a previous conversation", "compaction"),
)
"""Beginnings of prompts that no person typed, and their origins."""

NOT_PROMPTS = (
    "<command-",
    "<local-command",
    "<bash-",
    "<system-reminder",
    "<user-prompt-submit-hook",
    "[Request interrupted",
    "[Image",
    "Caveat: The messages below",
    "Base directory for this skill",
)
"""Beginnings of texts in a user's line that are no prompts: the client's own, or commands."""

_KINDS = {
    "human": "person",
    "auto-continuation": "autopilot",
    "task-notification": "notification",
    "scheduled": "schedule",
    "peer": "agent",
    "teammate": "agent",
    "channel": "agent",
}


def origin_of(record: Fields, sidechain: bool, text: str, *, expansion: bool = False) -> str:
    """Return the origin of a user's line, "" if it is no prompt.

    expansion: the line before was a slash command, whose text this line may be.
    Newer versions record the origin; the texts are measured over 425 recorded sessions.
    """
    hidden = ("isVisibleInTranscriptOnly", "turnCompanion", "isSynthetic")
    recorded = record.get("origin")
    kind = string(recorded, "kind") if type(recorded) is dict else ""
    if kind == "human":
        return "person"
    if sidechain or any(record.get(key) is True for key in hidden):
        return ""
    if record.get("isCompactSummary") is True:
        return "compaction"
    beginning = text.lstrip()
    for start, origin in STAND_INS:
        if beginning.startswith(start):
            return origin
    if beginning.startswith(NOT_PROMPTS):
        return ""
    if kind:
        return _KINDS.get(kind, "notification")
    if record.get("isMeta") is True:
        # Prompts of /loop and of schedules are marked as the client's own, as expansions are.
        return "" if expansion else "schedule"
    return "notification" if record.get("promptSource") == "system" else "person"
