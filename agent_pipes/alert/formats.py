"""An alert in the words of the service that takes it. What an agent wrote is shown there, and does nothing else.

It must not address anybody, lead anywhere or look like something of ours: each service has a form of text in which it
cannot, and that one is used, rather than a list of what is to be escaped.
"""

import re
import socket
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from agent_pipes.alert.batching import DONE, LONGEST, WARNING, Alert, Batch, cut
from agent_pipes.core.event import Event, digest
from agent_pipes.core.jsonl import Fields, dumps

BODY = 16 << 10
"""Bytes of an alert at most; a longer one loses its evidence, then its text's end."""

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
"""Where PagerDuty takes events, unless the URL says otherwise (an account in the EU has another)."""

PAGERDUTY_HOSTS = ("events.pagerduty.com", "events.eu.pagerduty.com")

REMEMBERED = 10_000
"""Violations of which PagerDuty is told when they are over."""

Payload = Callable[[Batch], bytes | None]
"""The body of the request that tells of a batch; None where there is nothing to tell."""


def form_for(host: str) -> str:
    """The form that the service behind a URL's host takes; `json` where it is none of those known."""
    if host in ("hooks.slack.com", "hooks.slack-gov.com"):
        return "slack"
    if host.removeprefix("ptb.").removeprefix("canary.") in ("discord.com", "discordapp.com"):
        return "discord"
    # A workflow's URL is at one of the first two; those of the retired connectors, which were at the third, took cards too.
    if host.endswith((".logic.azure.com", ".api.powerplatform.com", ".webhook.office.com")):
        return "teams"
    if host in PAGERDUTY_HOSTS:
        return "pagerduty"
    return "json"


def payload(form: str, key: str = "") -> Payload:
    """What makes the bodies in `form`, one of FORMS; `key` is PagerDuty's routing key."""
    return PagerDuty(key) if form == "pagerduty" else _PAYLOADS[form]


def json_body(batch: Batch) -> bytes:
    """The alert's own fields, and `text`, which Slack and what understands Slack show; a burst as a list of them."""
    if batch.count == 1:
        return _bounded(_fields(batch.alerts[0]))
    return _bounded(
        {
            "text": _slack_text(batch.lines),
            "source": "agent-pipes",
            "event_type": "alerts",
            "count": batch.count,
            "watchers": dict(batch.counts),
            "alerts": [_bare(_fields(alert)) for alert in batch.alerts],
        }
    )


def slack(batch: Batch) -> bytes:
    """A rich text block, whose text is taken as it is; `text` is what a notification shows, and is escaped.

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
    """A block of code, in which nothing is a link, a mention or formatting, and no mention that would be heard.

    https://docs.discord.com/developers/resources/webhook#execute-webhook
    """
    # The block ends at the next three backticks: there are none in it.
    text = "\n".join(_with_session(batch)).replace("``", "`\u200b`").replace("``", "`\u200b`")
    # Characters are counted as JavaScript counts them, of which an emoji is two.
    while len(text.encode("utf-16-le", "surrogatepass")) // 2 > 1980:
        text = cut(text, len(text) - 20)
    return dumps({"content": f"```\n{text}\n```", "allowed_mentions": {"parse": []}, "flags": 4})


def teams(batch: Batch) -> bytes:
    """A card of rich text, whose runs of text know no markdown: that of a TextBlock would make links.

    https://learn.microsoft.com/en-us/adaptive-cards/schema-explorer/text-run
    """
    # What is left of markup in a run are functions such as {{DATE(…)}}.
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


class PagerDuty:
    """Events v2: one alert for each session and watcher, resolved when the agent has been ended for it.

    That it could not be ended is an alert of its own, and the worst there is. A dry run ends nothing, and says nothing.
    https://developer.pagerduty.com/docs/send-alert-event
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.told: OrderedDict[str, str] = OrderedDict()

    def __call__(self, batch: Batch) -> bytes | None:
        # It joins what belongs together by itself: no batch of several comes here.
        (alert,) = batch.alerts
        event = alert.event
        if event.type == "kill" and event.text("outcome") in DONE:
            told = self.told.get(event.parent)
            return (
                dumps({"routing_key": self.key, "event_action": "resolve", "dedup_key": told})
                if told
                else None
            )
        if event.type == "kill" and event.text("outcome") == "dry_run":
            return None
        dedup = _dedup_key(event.session, alert.name)
        if event.type == "violation" and event.id:
            self.told[event.id] = dedup
            if len(self.told) > REMEMBERED:
                self.told.popitem(last=False)
        return self._trigger(alert, dedup)

    def _trigger(self, alert: Alert, dedup: str) -> bytes:
        event = alert.event
        # What an agent wrote stands in the summary, in a form in which it can be read.
        seen = {key: value for key, value in event.data.items() if key not in ("message", "reason")}
        details = _bare(
            {"event_type": event.type, "event_id": event.id, "session_id": event.session, **seen}
        )
        fields: Fields = {
            "routing_key": self.key,
            "event_action": "trigger",
            "dedup_key": dedup,
            "client": "agent-pipes",
            "payload": {
                "summary": cut(alert.text, 1024),
                "source": socket.gethostname() or "agent-pipes",
                "class": alert.name,
                "group": cut(event.session, 255),
                "severity": "warning" if alert.rank == WARNING else "critical",
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

FORMS = (*_PAYLOADS, "pagerduty")


def _dedup_key(session: str, name: str) -> str:
    key = f"{session}:{name}"
    return key if len(key) <= 255 else digest(key.encode(errors="replace"))


def _with_session(batch: Batch) -> list[str]:
    """The lines, and for a single alert which session it is of."""
    session = batch.alerts[0].event.session if batch.count == 1 else ""
    return [
        *batch.lines,
        *([f"session {cut(session, 64)}"] if session.isprintable() and session else []),
    ]


def _slack_text(lines: list[str]) -> str:
    """Text that addresses nobody, in Slack and in what takes Slack's form."""
    text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A name behind an @ is heard by others than Slack without any brackets around it.
    return re.sub(r"@(?=\w)", "@\u200b", text)


def _fields(alert: Alert) -> Fields:
    event: Event = alert.event
    return {
        **event.data,
        "text": _slack_text([cut(alert.text, LONGEST)]),
        "source": "agent-pipes",
        "event_type": event.type,
        "event_id": event.id,
        "session_id": event.session,
        "timestamp": event.time,
    }


_KEPT = frozenset(
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
    }
)


def _bare(fields: Fields) -> Fields:
    """Of the fields those that say most, and nothing in them that is long."""
    short = {
        key: cut(value, 1000) if isinstance(value, str) else value
        for key, value in fields.items()
        if key in _KEPT
    }
    return {key: value for key, value in short.items() if not isinstance(value, (dict, list))}


def _bounded(fields: Fields) -> bytes:
    body = dumps(fields)
    if len(body) > BODY:
        fields.pop("evidence", None)
        body = dumps(fields)
    return body if len(body) <= BODY else dumps(_bare(fields))
