"""Bodies of webhook requests, in the format of each service.

Text that an agent wrote must not mention anybody, be a link or imitate our own. Each service has a
plain form of text in which it cannot, which is used instead of escaping.
"""

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from agent_pipes.alert.batching import (
    HARMLESS_OUTCOMES,
    MAX_LINE_CHARS,
    AlertMessage,
    AlertRank,
    Batch,
)
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import escape, truncate
from agent_pipes.core.event import Event, digest
from agent_pipes.core.jsonl import Fields, dumps

MAX_BODY_BYTES = 16 << 10
"""Limit of an alert's body; a longer one loses its evidence, then all but its main fields."""

MAX_DISCORD_UNITS = 1980
"""UTF-16 units of a message; Discord's limit is 2,000."""

MAX_SUMMARY_CHARS = 1024
MAX_GROUP_CHARS = 255
MAX_DEDUP_KEY_CHARS = 255
"""Limits of PagerDuty's fields."""

MAX_NTFY_BYTES = 4000
"""Bytes of a message; ntfy makes one beyond 4,096 an attachment."""

MAX_TITLE_CHARS = 200

NTFY_RANKS = {
    AlertRank.WARNING: (3, "warning"),
    AlertRank.CRITICAL: (4, "rotating_light"),
    AlertRank.KILLED: (4, "octagonal_sign"),
    AlertRank.NOT_KILLED: (5, "sos"),
}
"""Priority (5 is the highest) and tag, the name of an emoji, by the rank of an alert."""

MAX_FIELD_CHARS = 1000
MAX_SESSION_CHARS = 64

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
"""Default URL of PagerDuty; accounts in the EU have another."""

PAGERDUTY_HOSTS = ("events.pagerduty.com", "events.eu.pagerduty.com")

MAX_OPEN_INCIDENTS = 10_000
"""Violations whose end is reported to PagerDuty."""

Payload = Callable[[Batch], bytes | None]
"""Makes the body of the request for a batch; None if none is to be sent."""


def form_for(host: str) -> str:
    """Return the format that the service at a host takes; `json` for an unknown one."""
    if host in ("hooks.slack.com", "hooks.slack-gov.com"):
        return "slack"
    if host.removeprefix("ptb.").removeprefix("canary.") in ("discord.com", "discordapp.com"):
        return "discord"
    # Workflows are at the first two, the retired connectors were at the third; all take cards.
    if host.endswith((".logic.azure.com", ".api.powerplatform.com", ".webhook.office.com")):
        return "teams"
    if host in PAGERDUTY_HOSTS:
        return "pagerduty"
    if host == "ntfy.sh":
        return "ntfy"
    return "json"


def payload(form: str, key: str = "") -> Payload:
    """Return the function that makes bodies in `form`, one of options.FORMATS.

    key: PagerDuty's routing key, or ntfy's topic.
    """
    if form == "pagerduty":
        return PagerDuty(key)
    return partial(ntfy, topic=key) if form == "ntfy" else _PAYLOADS[form]


def json_body(batch: Batch) -> bytes:
    """Return the alert's own fields and `text`, which services like Slack show."""
    if batch.count == 1:
        return _bounded(_fields(batch.alerts[0]))
    return _bounded(
        {
            "text": _slack_text(batch.lines),
            "source": "agent-pipes",
            "event_type": "alerts",
            "count": batch.count,
            "watchers": dict(batch.counts),
            "alerts": [_main_fields(_fields(alert)) for alert in batch.alerts],
        }
    )


def slack(batch: Batch) -> bytes:
    """Return a rich text block, in which nothing is markup; `text` is for notifications.

    https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
    """
    lines = _with_session(batch)
    section = {
        "type": "rich_text_section",
        "elements": [{"type": "text", "text": "\n".join(lines)}],
    }
    return dumps(
        {
            "text": _slack_text(lines),
            "mrkdwn": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "blocks": [{"type": "rich_text", "elements": [section]}],
        }
    )


def discord(batch: Batch) -> bytes:
    """Return a block of code, in which nothing is a link, a mention or formatting.

    https://docs.discord.com/developers/resources/webhook#execute-webhook
    """
    # Three backticks would end the block.
    text = "\n".join(_with_session(batch)).replace("``", "`\u200b`").replace("``", "`\u200b`")
    # Discord counts UTF-16 units; an emoji is two.
    while len(text.encode("utf-16-le", "surrogatepass")) // 2 > MAX_DISCORD_UNITS:
        text = truncate(text, len(text) - 20)
    return dumps({"content": f"```\n{text}\n```", "allowed_mentions": {"parse": []}, "flags": 4})


def teams(batch: Batch) -> bytes:
    """Return a card of text runs, which contain no Markdown; a TextBlock would make links.

    https://learn.microsoft.com/en-us/adaptive-cards/schema-explorer/text-run
    """
    # A text run evaluates functions such as {{DATE(…)}}.
    runs = [
        {"type": "TextRun", "text": line.replace("{{", "{\u200b{")} for line in _with_session(batch)
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [run]} for run in runs],
    }
    return dumps(
        {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": card,
                }
            ],
        }
    )


def ntfy(batch: Batch, topic: str) -> bytes:
    """Return a notification for telephones, as plain text.

    https://docs.ntfy.sh/publish/#publish-as-json
    """
    first = batch.alerts[0]
    priority, tag = NTFY_RANKS[batch.worst]
    # An app makes a link of what looks like one.
    text = "\n".join(batch.lines).replace("://", ":\u200b//")
    while len(text.encode(errors="replace")) > MAX_NTFY_BYTES:
        text = truncate(text, len(text) - 20)
    return dumps(
        {
            "topic": topic,
            "title": truncate(_who(first) if batch.count == 1 else "agent-pipes", MAX_TITLE_CHARS),
            "message": text,
            "priority": priority,
            "tags": ["hourglass_flowing_sand" if first.event.type == "waiting" else tag],
        }
    )


class PagerDuty:
    """Bodies of PagerDuty's Events v2: an incident per session and watcher.

    A kill of the agent resolves it. A kill that failed is another incident; a dry run is none.
    https://developer.pagerduty.com/docs/send-alert-event
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._dedup_keys: BoundedDict[str, str] = BoundedDict(MAX_OPEN_INCIDENTS)

    def __call__(self, batch: Batch) -> bytes | None:
        # PagerDuty groups alerts itself, so batches contain one.
        (alert,) = batch.alerts
        event = alert.event
        if event.type == "waiting":
            return None
        if event.type == "kill" and event.text("outcome") in HARMLESS_OUTCOMES:
            key = self._dedup_keys.get(event.parent)
            if not key:
                return None
            return dumps({"routing_key": self.key, "event_action": "resolve", "dedup_key": key})
        if event.type == "kill" and event.text("outcome") == "dry_run":
            return None
        dedup = _dedup_key(event.session, alert.name)
        if event.type == "violation" and event.id:
            self._dedup_keys[event.id] = dedup
        return self._trigger(alert, dedup)

    def _trigger(self, alert: AlertMessage, dedup: str) -> bytes:
        event = alert.event
        # The summary contains the agent's own words, escaped.
        seen = {key: value for key, value in event.data.items() if key not in ("message", "reason")}
        details = _main_fields(
            {"event_type": event.type, "event_id": event.id, "session_id": event.session, **seen}
        )
        fields: Fields = {
            "routing_key": self.key,
            "event_action": "trigger",
            "dedup_key": dedup,
            "client": "agent-pipes",
            "payload": {
                "summary": truncate(alert.text, MAX_SUMMARY_CHARS),
                "source": socket.gethostname() or "agent-pipes",
                "class": alert.name,
                "group": truncate(event.session, MAX_GROUP_CHARS),
                "severity": "warning" if alert.rank == AlertRank.WARNING else "critical",
                "custom_details": details,
            },
        }
        if event.time:
            fields["payload"]["timestamp"] = datetime.fromtimestamp(event.time, UTC).isoformat()
        return dumps(fields)


_PAYLOADS: dict[str, Payload] = {
    "json": json_body,
    "slack": slack,
    "discord": discord,
    "teams": teams,
}


def _dedup_key(session: str, name: str) -> str:
    key = f"{session}:{name}"
    return key if len(key) <= MAX_DEDUP_KEY_CHARS else digest(key.encode(errors="replace"))


def _with_session(batch: Batch) -> list[str]:
    """Return the lines; of a single alert also its agent, directory, host and session."""
    if batch.count != 1:
        return batch.lines
    alert = batch.alerts[0]
    session = truncate(alert.event.session, MAX_SESSION_CHARS)
    who = _who(alert)
    return [*batch.lines, f"{who}, session {session}" if session.isprintable() and session else who]


def _who(alert: AlertMessage) -> str:
    """Return the agent, its directory and the host."""
    place = f" in {truncate(escape(alert.cwd), MAX_SESSION_CHARS)}" if alert.cwd else ""
    return f"{escape(alert.agent) or 'agent'}{place} on {socket.gethostname()}"


def _slack_text(lines: list[str]) -> str:
    """Return text that mentions nobody, in Slack and in services that take its format."""
    text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Other services than Slack read @name without brackets as a mention.
    return re.sub(r"@(?=\w)", "@\u200b", text)


def _fields(alert: AlertMessage) -> Fields:
    event: Event = alert.event
    return {
        **event.data,
        "text": _slack_text([truncate(alert.text, MAX_LINE_CHARS)]),
        "source": "agent-pipes",
        "event_type": event.type,
        "event_id": event.id,
        "session_id": event.session,
        "timestamp": event.time,
        "host": socket.gethostname(),
        "agent": alert.agent,
        "cwd": alert.cwd,
        **({"watcher": alert.cause[0], "cause": alert.cause[1]} if alert.cause[0] else {}),
    }


_MAIN_FIELDS = frozenset(
    {
        "text",
        "source",
        "event_type",
        "event_id",
        "session_id",
        "timestamp",
        "watcher",
        "level",
        "message",
        "count",
        "value",
        "limit",
        "pid",
        "signal",
        "outcome",
        "reason",
        "host",
        "agent",
        "cwd",
        "cause",
    }
)


def _main_fields(fields: Fields) -> Fields:
    """Return the main fields, each cut to a bounded length."""
    short = {
        key: truncate(value, MAX_FIELD_CHARS) if isinstance(value, str) else value
        for key, value in fields.items()
        if key in _MAIN_FIELDS
    }
    return {key: value for key, value in short.items() if not isinstance(value, (dict, list))}


def _bounded(fields: Fields) -> bytes:
    body = dumps(fields)
    if len(body) > MAX_BODY_BYTES:
        fields.pop("evidence", None)
        body = dumps(fields)
    return body if len(body) <= MAX_BODY_BYTES else dumps(_main_fields(fields))
