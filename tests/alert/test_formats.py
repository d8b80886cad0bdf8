"""Messages to each service in its own form; an agent's text has no effect there."""

import functools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.alert import formats
from agent_pipes.alert.batching import AlertMessage, Batch, Coalesced, single
from agent_pipes.alert.lines import line_of
from agent_pipes.alert.options import FORMATS
from agent_pipes.core.display import escape
from agent_pipes.core.event import Event, make, violation
from tests.helpers.support import SESSION, START, run, start, until
from tests.helpers.webhooks import server, violated, webhook, with_status

KEY = "0123456789abcdef0123456789abcdef"

HOSTILE = 'ran "`` ```\n@everyone <!channel> <@U024BE7LH> [here](https://evil.example) *bold* {{DATE(2020-01-01T00:00:00Z)}} \x1b[2J\u202e"'


def violated_now(
    message: str = "failed 3 times",
    watcher: str = "retry",
    level: str = "critical",
    session: str = SESSION,
    **seen: object,
) -> Event:
    trigger = make("error", START, session, {})
    return violation(trigger, watcher, message, time=START, session=session, level=level, **seen)


def ended(trigger: Event, outcome: str) -> Event:
    return make(
        "kill",
        START + 1,
        trigger.session,
        {"pid": 7, "outcome": outcome, "reason": "so it was"},
        parent=trigger.id,
    )


def told(event: Event) -> Batch:
    return single(AlertMessage(event, escape(line_of(event, kills=False))))


def sent(form: str, *messages: str, key: str = "") -> dict:
    """Return the one message that a service gets about violations with these texts."""
    batch = Batch(within_s=60)
    for message in messages:
        event = violated_now(message)
        batch.add(AlertMessage(event, escape(line_of(event, kills=False))))
    body = formats.payload(form, key)(batch)
    assert body is not None
    return json.loads(body)


@pytest.mark.parametrize(
    "host, form",
    [
        ("hooks.slack.com", "slack"),
        ("discord.com", "discord"),
        ("discordapp.com", "discord"),
        ("canary.discord.com", "discord"),
        ("prod-12.westeurope.logic.azure.com", "teams"),
        ("default0a1b.63.environment.api.powerplatform.com", "teams"),
        ("acme.webhook.office.com", "teams"),
        ("events.pagerduty.com", "pagerduty"),
        ("events.eu.pagerduty.com", "pagerduty"),
        ("ntfy.sh", "ntfy"),
        ("example.com", "json"),
        ("hooks.slack.com.example.com", "json"),
        ("notdiscord.com", "json"),
        ("logic.azure.com.example", "json"),
        ("127.0.0.1", "json"),
    ],
)
def test_the_form_is_told_by_the_host(host, form):
    assert formats.form_for(host) == form


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_that_can_be_named_makes_a_body(form):
    assert formats.payload(form, KEY)(told(violated_now()))


def test_json_has_the_text_and_every_field():
    with server(with_status(200)) as (port, taken):
        assert webhook(port, violated(evidence=["e1", "e2"]), "--format", "json").returncode == 0
    got = json.loads(taken[0][2])
    assert (
        got["text"].startswith("⚠️  RetryWatcher:")
        and got["evidence"] == ["e1", "e2"]
        and got["source"] == "agent-pipes"
    )
    assert got["message"] == '"python -m pytest" failed 3 times'


def test_ntfy_gets_a_notification_for_its_topic():
    with server(with_status(200)) as (port, taken):
        url = f"http://127.0.0.1:{port}/my-topic?auth=QmVhcmVy"
        done = run("trace-alert", "--webhook", url, "--format", "ntfy", input=violated().bytes)
    assert done.returncode == 0, done.stderr
    path, headers, body = taken[0]
    assert (path, headers["Content-Type"]) == ("/?auth=QmVhcmVy", "application/json")
    got = json.loads(body)
    assert got.keys() == {"topic", "title", "message", "priority", "tags"}
    assert (got["topic"], got["priority"], got["tags"]) == ("my-topic", 4, ["rotating_light"])
    assert got["title"].startswith("agent in /home/dev/proj on ")
    assert got["message"] == '⚠️  RetryWatcher: "python -m pytest" failed 3 times'


def test_ntfy_rings_by_how_bad_it_is_and_keeps_to_its_size():
    trigger = violated_now()
    ranks = [
        violated_now(level="warning"),
        trigger,
        ended(trigger, "killed"),
        ended(trigger, "failed"),
    ]
    make_body = formats.payload("ntfy", "t")
    assert [json.loads(make_body(told(each)) or b"")["priority"] for each in ranks] == [3, 4, 4, 5]
    wait = make(
        "waiting", START, SESSION, {"for": "permission", "message": "waits for your answer"}
    )
    got = json.loads(make_body(told(wait)) or b"")
    assert (got["priority"], got["tags"]) == (3, ["hourglass_flowing_sand"])
    assert got["message"] == "⏳ the agent waits for your answer"
    long = json.loads(make_body(told(violated_now("😀" * 5000))) or b"")["message"]
    assert len(long.encode()) <= 4000
    assert (
        "https://evil" not in json.loads(make_body(told(violated_now(HOSTILE))) or b"")["message"]
    )


@pytest.mark.parametrize("path", ["", "/", "/a%20b", "/a.b"])
def test_ntfy_needs_a_topic(path):
    done = run("trace-alert", "--webhook", f"https://ntfy.sh{path}", input=violated().bytes)
    assert done.returncode == 2 and b"names no topic: expected https://ntfy.sh/TOPIC" in done.stderr


def test_pagerduty_is_not_told_of_a_wait():
    wait = make(
        "waiting", START, SESSION, {"for": "permission", "message": "waits for your answer"}
    )
    assert formats.payload("pagerduty", KEY)(told(wait)) is None


def test_slack_gets_text_that_is_taken_as_it_is():
    got = sent("slack", HOSTILE)
    ((section,),) = [block["elements"] for block in got["blocks"]]
    assert got["blocks"][0]["type"] == "rich_text" and section["type"] == "rich_text_section"
    ((text),) = section["elements"]
    assert text["type"] == "text" and set(text) == {"type", "text"}
    assert "<!channel>" in text["text"] and "session " + SESSION in text["text"]
    assert got["mrkdwn"] is False and got["unfurl_links"] is False


@pytest.mark.parametrize("form", ["slack", "json"])
def test_the_text_that_slack_and_its_like_parse_addresses_nobody(form):
    text = sent(form, HOSTILE)["text"]
    assert (
        "&lt;!channel&gt;" in text
        and "<" not in text
        and "@everyone" not in text
        and "@\u200beveryone" in text
    )


def test_discord_gets_a_block_of_code_and_no_mention():
    got = sent("discord", HOSTILE)
    assert got["allowed_mentions"] == {"parse": []} and got["flags"] == 4
    begin, *inside, end = got["content"].split("\n")
    assert begin == "```" and end == "```" and "``" not in "\n".join(inside)


@given(
    st.lists(
        st.text(alphabet=st.sampled_from("`a\n😀\u202e@<>&{"), max_size=700), min_size=1, max_size=9
    )
)
def test_discord_gets_2000_characters_at_most_and_never_the_end_of_the_block(messages):
    content = sent("discord", *messages)["content"]
    assert len(content.encode("utf-16-le")) // 2 <= 2000
    assert content.startswith("```\n") and content.endswith("\n```") and content.count("```") == 2


def test_teams_gets_a_card_in_which_nothing_is_markdown():
    got = sent("teams", HOSTILE)
    assert got["type"] == "message"
    (attachment,) = got["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard" and card["version"] == "1.4"
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"} and all(
        set(run) == {"type", "text"} for run in runs
    )
    assert "[here](https://evil.example)" in runs[0]["text"] and "{{" not in runs[0]["text"]


@pytest.mark.parametrize("form", ["json", "slack", "discord", "teams"])
def test_nobody_is_sent_what_a_terminal_or_a_page_would_obey(form):
    body = json.dumps(sent(form, HOSTILE) | {"message": ""}, ensure_ascii=False)
    assert "\u202e" not in body and "\\u001b" not in body


@pytest.mark.parametrize("form", ["json", "slack", "discord", "teams"])
def test_a_burst_is_one_message_with_counts_and_the_first_lines(form):
    body = json.dumps(
        sent(form, *(f"number {number} failed" for number in range(20))), ensure_ascii=False
    )
    assert "20 more in 1m: retry 20" in body
    assert "number 4 failed" in body and "number 5 failed" not in body and "… and 15 more" in body


def test_a_burst_as_json_says_how_many_and_whose():
    got = sent("json", "one", "two")
    assert got["event_type"] == "alerts" and got["count"] == 2 and got["watchers"] == {"retry": 2}
    assert [each["message"] for each in got["alerts"]] == ["one", "two"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_body_is_bounded_whatever_a_violation_holds(form):
    event = violated_now(
        "😀" * 100_000,
        watcher="w" * 100_000,
        evidence=tuple(f"e{number}" for number in range(10_000)),
        session="s" * 100_000,
        seen={"a": "b" * 100_000},
    )
    body = formats.payload(form, KEY)(told(event))
    assert body is not None and len(body) <= formats.MAX_BODY_BYTES
    json.loads(body)


# PagerDuty.


def pagerduty(*events: Event) -> list[dict | None]:
    payload = formats.payload("pagerduty", KEY)
    return [json.loads(body) if (body := payload(told(event))) else None for event in events]


def test_pagerduty_gets_an_alert_for_each_session_and_watcher():
    first, again, other, warned = pagerduty(
        violated_now("one"),
        violated_now("two"),
        violated_now(watcher="cost"),
        violated_now(watcher="cost", level="warning"),
    )
    assert first["routing_key"] == KEY and first["event_action"] == "trigger"
    assert (
        first["dedup_key"] == again["dedup_key"] == f"{SESSION}:retry"
        and other["dedup_key"] == f"{SESSION}:cost"
    )
    assert first["payload"]["summary"] == "⚠️  RetryWatcher: one" and first["payload"]["source"]
    assert [each["payload"]["severity"] for each in (first, warned)] == ["critical", "warning"]
    assert re.fullmatch(r"2026-11-22T14:54:38(\.0+)?\+00:00", first["payload"]["timestamp"])


@pytest.mark.parametrize("outcome", ["terminated", "killed", "interrupted", "not_running"])
def test_pagerduty_is_told_that_it_is_over_when_the_agent_has_ended(outcome):
    raised = violated_now()
    _, over = pagerduty(raised, ended(raised, outcome))
    assert over == {"routing_key": KEY, "event_action": "resolve", "dedup_key": f"{SESSION}:retry"}


@pytest.mark.parametrize("outcome", ["failed", "refused", "something new"])
def test_pagerduty_is_alerted_when_the_agent_could_not_be_ended(outcome):
    raised = violated_now()
    _, alerted = pagerduty(raised, ended(raised, outcome))
    assert (
        alerted["event_action"] == "trigger"
        and alerted["dedup_key"] == f"{SESSION}:kill"
        and alerted["payload"]["severity"] == "critical"
    )
    assert "could NOT kill agent (pid 7)" in alerted["payload"]["summary"]


def test_pagerduty_is_not_told_of_a_dry_run_nor_of_the_end_of_what_it_was_not_told_of():
    raised = violated_now()
    assert pagerduty(raised, ended(raised, "dry_run"))[1] is None
    assert pagerduty(ended(raised, "terminated")) == [None]


def test_a_dedup_key_fits_whatever_the_session_is_called():
    first, second = pagerduty(violated_now(session="s" * 300), violated_now(session="s" * 301))
    assert len(first["dedup_key"]) <= 255 and first["dedup_key"] != second["dedup_key"]
    assert len(pagerduty(violated_now("m" * 5000))[0]["payload"]["summary"]) <= 1024


def test_pagerduty_by_the_command():
    stream = violated()
    stream.add(
        "kill",
        {"pid": 7, "outcome": "terminated", "reason": "ended"},
        parent=stream.events[-1]["event_id"],
    )
    with server(with_status(202)) as (port, taken):
        environment = {
            "AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/v2/enqueue",
            "AGENT_PIPES_PAGERDUTY_KEY": KEY,
        }
        done = run("trace-alert", "--format", "pagerduty", input=stream.bytes, env=environment)
    assert done.returncode == 0 and KEY.encode() not in done.stdout + done.stderr
    assert [json.loads(body)["event_action"] for _, _, body in taken] == ["trigger", "resolve"]


@pytest.mark.parametrize("key", ["", "SECRET", "SECRET" * 10, "SECRET 89abcdef0123456789abcdefab"])
def test_pagerduty_without_a_key_that_can_be_one_stops_the_start(key):
    done = run(
        "trace-alert --format pagerduty",
        input=violated().bytes,
        env={"AGENT_PIPES_PAGERDUTY_KEY": key},
    )
    assert (
        done.returncode == 2
        and done.stdout == b""
        and b"AGENT_PIPES_PAGERDUTY_KEY" in done.stderr
        and b"SECRET" not in done.stderr
    )


def test_pagerdutys_key_goes_to_pagerduty_single(tmp_path):
    # The URL may stand in a config file that an agent has written.
    (tmp_path / ".agent-watch.json").write_text(
        '{"webhook": {"url": "https://evil.example/collect", "format": "pagerduty"}}'
    )
    done = run(
        "agent-strace watch -- echo ran", env={"AGENT_PIPES_PAGERDUTY_KEY": KEY}, cwd=tmp_path
    )
    assert (
        done.returncode == 2
        and done.stdout == b""
        and b"is sent only to" in done.stderr
        and b"evil.example" not in done.stderr
    )


# In the preset.


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explained(*flags: str) -> str:
    done = run(
        "agent-strace",
        "watch",
        *flags,
        "--explain",
        env={"AGENT_PIPES_WEBHOOK": "https://hooks.slack.com/SECRET"},
    )
    assert done.returncode == 0 and b"SECRET" not in done.stdout + done.stderr, done.stderr
    return done.stdout.decode()


def test_the_form_is_a_flag_of_watch_and_a_key_of_its_config(here):
    assert (
        'trace-alert --to terminal --to webhook --format discord --webhook "$AGENT_PIPES_WEBHOOK"'
        in explained("--webhook-format", "discord")
    )
    (here / ".agent-watch.json").write_text('{"webhook": {"format": "teams"}}')
    assert "--format teams" in explained()
    assert "--format slack" in explained("--webhook-format", "slack")
    (here / ".agent-watch.json").write_text('{"webhook": {"format": "tems"}}')
    done = run("agent-strace", "watch", "--explain")
    assert done.returncode == 2 and b"webhook.format" in done.stderr and b"teams" in done.stderr


def test_a_webhook_that_cannot_be_used_stops_the_start_of_the_command_too(here):
    done = run("agent-strace watch --webhook ftp://example.invalid/SECRET -- echo", "ran unwatched")
    assert done.returncode == 2 and done.stdout == b"" and b"SECRET" not in done.stderr
    (here / ".agent-watch.json").write_text('{"watchers": {"retry": {"alert": "webhook"}}}')
    done = run("agent-strace", "watch", "--", "echo", "ran unwatched")
    assert done.returncode == 2 and done.stdout == b"" and b"no URL" in done.stderr


# Bursts.


def at(joined: Coalesced, now: float, *, closing: bool = False) -> list[str]:
    """The first lines of the messages that go out at a time."""
    lines = []
    while batch := joined.take(now, closing):
        lines.append(batch.lines[0])
    return lines


def alert_of(message: str, **more) -> AlertMessage:
    return AlertMessage(violated_now(message, **more), message)


def test_the_first_of_a_burst_goes_at_once_and_the_rest_together():
    joined = Coalesced(60)
    joined.put(alert_of("one"), 100)
    assert joined.due(100) == 0 and at(joined, 100) == ["one"] and joined.due(100) is None
    joined.put(alert_of("two"), 101)
    joined.put(alert_of("three", watcher="cost"), 159)
    joined.put(alert_of("four"), 159)
    assert at(joined, 159.9) == [] and joined.due(150) == 10 and len(joined) == 3
    assert at(joined, 160) == ["3 more in 1m: retry 2, cost 1"] and len(joined) == 0


def test_a_joined_message_begins_an_interval_of_its_own():
    joined = Coalesced(60)
    for now in (0, 1, 2):
        joined.put(alert_of("one"), now)
        at(joined, now)
    assert at(joined, 60) == ["2 more in 1m: retry 2"]
    joined.put(alert_of("late"), 61)
    assert at(joined, 61) == [] and at(joined, 120) == ["late"]
    joined.put(alert_of("much later"), 1000)
    assert at(joined, 1000) == ["much later"]


def test_what_is_worse_than_anything_told_does_not_wait():
    raised = violated_now("passed")
    done, undone = (
        AlertMessage(ended(raised, outcome), outcome) for outcome in ("terminated", "failed")
    )
    joined = Coalesced(60)
    joined.put(alert_of("warned", level="warning"), 0)
    for number, worse in enumerate((AlertMessage(raised, "passed"), done, undone), 1):
        joined.put(worse, number)
        joined.put(alert_of("warned again", level="warning"), number)
    assert at(joined, 4) == ["warned", "passed", "terminated", "failed"]
    joined.put(undone, 5)
    assert at(joined, 5) == [] and at(joined, 60) == ["4 more in 1m: retry 3, kill 1"]


def test_the_end_lets_nothing_wait():
    joined = Coalesced(3600)
    for message in ("one", "two", "three"):
        joined.put(alert_of(message), 0)
    assert at(joined, 1, closing=True) == ["one", "2 more in 1h: retry 2"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["warning", "critical", "terminated", "failed"]),
            st.floats(0, 30),
            st.booleans(),
        ),
        max_size=200,
    )
)
def test_of_a_burst_nothing_is_lost_and_five_messages_an_interval_are_sent_at_most(steps):
    joined, now, taken = Coalesced(60), 0.0, []
    for kind, later, looked in steps:
        now += later
        event = (
            ended(violated_now(), kind)
            if kind in ("terminated", "failed")
            else violated_now(level=kind)
        )
        joined.put(AlertMessage(event, kind), now)
        while looked and (batch := joined.take(now, False)):
            taken.append((now, batch))
    while batch := joined.take(now, True):
        taken.append((now, batch))
    assert sum(batch.count for _, batch in taken) == len(steps)
    # Counted at every moment, it would be four and the one that was joined before.
    assert all(len(joined.gathered.alerts) <= 5 and len(batch.alerts) <= 5 for _, batch in taken)
    for begin in [moment for moment, batch in taken if batch.within_s]:
        assert (
            sum(begin <= moment < begin + 60 and not batch.within_s for moment, batch in taken) <= 4
        )


def test_a_burst_of_many_watchers_and_of_many_alerts_is_bounded():
    joined = Coalesced(60)
    for number in range(100_000):
        joined.put(AlertMessage(violated_now_cached(number % 1000), "x" * 5000), 0)
    first, rest = joined.take(0, False), joined.take(60, False)
    assert (
        first.count == 1
        and rest.count == 99_999
        and len(rest.counts) == 21
        and len(rest.alerts) == 5
    )
    assert rest.counts["others"] == 99_999 - sum(
        number for name, number in rest.counts.items() if name != "others"
    )
    assert len("\n".join(rest.lines)) < 2500


@functools.cache
def violated_now_cached(number: int) -> Event:
    return violated_now(watcher=f"watcher {number}")


def test_a_burst_by_the_command_is_two_messages():
    with server(with_status(200)) as (port, taken):
        done = webhook(port, violated(5), "--every", "60s")
    assert done.returncode == 0 and done.stdout == violated(5).bytes
    first, rest = (json.loads(body)["text"] for _, _, body in taken)
    assert first.startswith("⚠️  RetryWatcher") and rest.startswith(
        "4 more in 1m: retry 4\n⚠️  RetryWatcher"
    )


def test_ten_thousand_in_a_burst_are_all_counted():
    with server(with_status(200)) as (port, taken):
        done = webhook(
            port, violated(10_000), "--to", "webhook", "--every", "1h", "--format", "slack"
        )
    assert done.returncode == 0 and done.stderr == b""
    assert len(taken) == 2 and "9999 more in 1h: retry 9999" in json.loads(taken[1][2])["text"]


def test_a_violation_does_not_wait_for_warnings_that_were_told(tmp_path):
    with server(with_status(200)) as (port, taken):
        process = start(
            "trace-alert --to webhook --every 1h",
            env={"AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/"},
        )
        for lines, count in ((violated(2, level="warning"), 1), (violated(2), 2)):
            process.stdin.write(lines.bytes)
            process.stdin.flush()
            until(lambda count=count: len(taken) == count)
        process.stdin.close()
        assert process.wait(20) == 0
    assert "2 more in 1h: retry 2" in json.loads(taken[2][2])["text"] and len(taken) == 3


def test_what_is_joined_goes_out_when_its_time_has_come_while_nothing_happens():
    with server(with_status(200)) as (port, taken):
        process = start(
            "trace-alert --to webhook --every 300ms",
            env={"AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/"},
        )
        process.stdin.write(violated(3).bytes)
        process.stdin.flush()
        until(lambda: len(taken) == 2)
        process.stdin.close()
        assert process.wait(20) == 0 and len(taken) == 2


def test_pagerduty_joins_by_itself():
    with server(with_status(202)) as (port, taken):
        environment = {
            "AGENT_PIPES_WEBHOOK": f"http://127.0.0.1:{port}/",
            "AGENT_PIPES_PAGERDUTY_KEY": KEY,
        }
        assert (
            run(
                "trace-alert --format pagerduty --every 1h",
                input=violated(3).bytes,
                env=environment,
            ).returncode
            == 0
        )
    assert len(taken) == 3 and len({json.loads(body)["dedup_key"] for _, _, body in taken}) == 1


def test_every_is_a_flag_of_watch_and_a_key_of_its_config(here):
    assert "--every 60 " in explained("--webhook-every", "1m")
    (here / ".agent-watch.json").write_text('{"webhook": {"every": "90s"}}')
    assert "--every 90 " in explained()
    (here / ".agent-watch.json").write_text('{"webhook": {"every": 30}}')
    assert "--every 30 " in explained()
    (here / ".agent-watch.json").write_text('{"webhook": {"every": "soon"}}')
    assert b"webhook.every: expected a time" in run("agent-strace", "watch", "--explain").stderr
