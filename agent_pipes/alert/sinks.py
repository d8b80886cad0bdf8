"""Delivery queues of the sinks that take time: a webhook, a program."""

import os
import re
from collections.abc import Iterable

import click

from agent_pipes.alert.batching import Coalesced
from agent_pipes.alert.delivery import DeliveryQueue
from agent_pipes.alert.exec_sink import MAX_PROCESSES, Program
from agent_pipes.alert.formats import PAGERDUTY, PAGERDUTY_HOSTS, form_for, payload
from agent_pipes.alert.http import LOCAL, Endpoint, Sender
from agent_pipes.alert.options import split_command

ROUTING_KEY_VARIABLE = "AGENT_PIPES_PAGERDUTY_KEY"


def delivery_queues(
    to: Iterable[str],
    webhook: str | None = None,
    form: str | None = None,
    allow_http: bool = False,
    every: float = 0.0,
    program: str | None = None,
    program_option: str = "--exec",
) -> dict[str, DeliveryQueue]:
    """Return the queues by sink, not started. Raises click.UsageError if one cannot be used.

    every: seconds within which alerts to the webhook become one message; 0 for none.
    """
    queues: dict[str, DeliveryQueue] = {}
    if webhook is not None or form == "pagerduty":
        queues["webhook"] = _webhook_queue(webhook, form, allow_http, every)
    elif "webhook" in to:
        raise click.UsageError(
            "the webhook has no URL; "
            "set $AGENT_PIPES_WEBHOOK, the config's webhook.url, or --webhook"
        )
    if program is not None:
        runner = Program(split_command(program))
        queues["exec"] = DeliveryQueue(
            runner.name, runner, max_threads=MAX_PROCESSES, abandon=runner.abandon
        )
    elif "exec" in to:
        raise click.UsageError(f"there is no program to run; name it with {program_option}")
    return queues


def _webhook_queue(
    webhook: str | None, form: str | None, allow_http: bool, every: float
) -> DeliveryQueue:
    endpoint = Endpoint(PAGERDUTY if webhook is None else webhook, allow_http=allow_http)
    form = form or form_for(endpoint.host)
    key = ""
    if form == "pagerduty":
        key = _routing_key(endpoint)
    elif form == "ntfy":
        key = _topic(endpoint)
    # PagerDuty groups alerts itself, and resolves each of them.
    batching = Coalesced(every) if every and form != "pagerduty" else None
    return DeliveryQueue("the webhook", Sender(endpoint, payload(form, key)), batching=batching)


def _topic(endpoint: Endpoint) -> str:
    """Return the topic in the URL of the endpoint, which takes JSON at its server's root."""
    path, mark, query = endpoint.path.partition("?")
    folder, _, topic = path.rstrip("/").rpartition("/")
    if not re.fullmatch("[-_A-Za-z0-9]{1,64}", topic):
        raise click.UsageError("the webhook's URL names no topic: expected https://ntfy.sh/TOPIC")
    endpoint.path = f"{folder}/{mark}{query}"
    return topic


def _routing_key(endpoint: Endpoint) -> str:
    # An agent may be able to write the file with the URL; the key is in no file.
    if endpoint.host not in (*PAGERDUTY_HOSTS, *LOCAL):
        raise click.UsageError(
            f"PagerDuty's routing key is sent only to {' and '.join(PAGERDUTY_HOSTS)}"
        )
    key = os.environ.get(ROUTING_KEY_VARIABLE, "").strip()
    if not re.fullmatch("[!-~]{32}", key):
        raise click.UsageError(
            f"set ${ROUTING_KEY_VARIABLE} to PagerDuty's routing key, which has 32 characters"
        )
    return key
