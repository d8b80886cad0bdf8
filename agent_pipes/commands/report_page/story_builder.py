"""Reads the events of one session into a Story."""

from collections.abc import Iterable
from typing import Any

from agent_pipes.commands.report_page.changes import changes_of
from agent_pipes.commands.report_page.story import CallRow, Mark, Prompt, Story, Subagent
from agent_pipes.core.event import Event
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.calls import Call
from agent_pipes.detect.turns import TurnTracker

MIN_GAP_S = 120.0
"""Seconds without an event from which a gap is folded in the picture and counted as idle."""


class StoryBuilder:
    """Collects the events of one session; `story()` returns what they amount to."""

    def __init__(self, session: str) -> None:
        self._story = Story(session)
        self._turns = TurnTracker()
        self._calls = CallTracker()
        self._rows: dict[str, CallRow] = {}
        self._first_of_step: dict[str, CallRow] = {}
        self._unpaid: dict[str, CallRow] = {}
        self._early_usd: dict[str, float] = {}
        self._base_usd = 0.0
        self._now = 0.0
        self._latest = 0.0
        self._handlers = {
            "session_start": self._session_start,
            "session_end": self._session_end,
            "user_prompt": self._user_prompt,
            "llm_response": self._llm_response,
            "cost_summary": self._cost_summary,
            "subagent_start": self._subagent,
            "subagent_stop": self._subagent,
            "violation": self._violation,
            "kill": self._kill,
        }

    def add(self, event: Event) -> None:
        """Take in the next event of the session."""
        story = self._story
        story.events += 1
        at = self._at(event)
        if event.type in ("violation", "kill"):
            self._handlers[event.type](event, at)
            return
        if event.time and self._latest and at - self._latest >= MIN_GAP_S:
            story.gaps.append((self._latest, at))
        self._latest = max(self._latest, at)
        call = self._calls.see(event)
        self._add_wait(event, call, at)
        if call:
            self._see_call(call, at)
        if handler := self._handlers.get(event.type):
            handler(event, at)

    def _name_subagents(self) -> None:
        """Set the shortest names, of at least 4 characters, that tell the subagents apart."""
        ids = {name: name.removeprefix("agent-") for name in self._story.subagents}
        for length in range(4, 13):
            if len({each[:length] for each in ids.values()}) == len(ids):
                break
        for name, agent in self._story.subagents.items():
            agent.name = ids[name][:length]

    def story(self) -> Story:
        """Return the session, with its calls numbered in order of time."""
        story = self._story
        story.length = max(self._latest, *(row.end for row in story.calls), 0.0)
        story.calls.sort(key=lambda row: row.at)
        for number, row in enumerate(story.calls, 1):
            row.number = number
        mark_overwritten(story.calls)
        self._name_subagents()
        story.marks.sort(key=lambda mark: mark.at)
        for place, mark in enumerate(story.marks):
            mark.letter = chr(ord("A") + place) if place < 26 else str(place + 1)
        return story

    def _at(self, event: Event) -> float:
        if not event.time:
            return self._now
        if not self._story.start:
            self._story.start = event.time
        at = self._at_time(event.time)
        self._now = max(self._now, at)
        return at

    def _at_time(self, time: float) -> float:
        return max(0.0, time - self._story.start) if time else self._now

    def _add_wait(self, event: Event, call: Call | None, at: float) -> None:
        turns, waits = self._turns, self._story.waits
        now = self._story.start + self._now
        if turns.latest and not turns.waits:
            self._story.alone = max(self._story.alone, turns.worked_alone(now))
            if not turns.in_flight:
                self._story.silent = max(self._story.silent, now - turns.latest)
        if turns.waits and turns.latest and event.type != "session_start":
            start = max(0.0, turns.latest - self._story.start)
            if at > start and not (waits and waits[-1][1] >= start):
                waits.append((start, at))
            elif at > start:
                waits[-1] = (waits[-1][0], max(at, waits[-1][1]))
        turns.see(event, call, now)

    def _session_start(self, event: Event, at: float) -> None:
        story = self._story
        story.agent = story.agent or event.text("agent")
        story.cwd = story.cwd or event.text("cwd")

    def _session_end(self, event: Event, at: float) -> None:
        # A session that is taken up again begins another sum.
        self._base_usd = self._story.usd

    def _user_prompt(self, event: Event, at: float) -> None:
        origin = event.text("origin") or "person"
        self._story.prompts.append(Prompt(at, event.text("prompt"), origin))

    def _see_call(self, call: Call, at: float) -> None:
        row = self._rows.get(call.id)
        if row is None:
            row = self._rows[call.id] = CallRow(call, self._at_time(call.time), changes_of(call))
            self._story.calls.append(row)
            self._expect_cost(row)
            if row.agent:
                self._agent(row.agent, at).calls += 1
        if call.answer:
            row.answer(call.answer, at)

    def _expect_cost(self, row: CallRow) -> None:
        """Note that the response which made the call is to be paid for, if no other call was."""
        if row.step:
            self._first_of_step.setdefault(row.step, row)
        if row.step in self._early_usd:
            row.usd = self._early_usd.pop(row.step)
        elif self._first_of_step.get(row.step, row) is row:
            self._unpaid.setdefault(row.agent, row)

    def _llm_response(self, event: Event, at: float) -> None:
        story = self._story
        cost: Any = event.data.get("cost")
        model = event.text("model")
        total = cost.get("session_usd") if isinstance(cost, dict) else None
        if not isinstance(total, (int, float)):
            story.models.setdefault(model, 0.0)
            return
        total += self._base_usd
        added = total - story.usd
        story.usd = total
        story.priced = True
        story.estimated = story.estimated or cost.get("estimated") is True
        story.unpriced += cost.get("unpriced") is True
        story.models[model] = story.models.get(model, 0.0) + added
        story.curve.append((at, total))
        if event.agent:
            self._agent(event.agent, at).usd += added
        self._charge(event, added)

    def _cost_summary(self, event: Event, at: float) -> None:
        # The summary contains the estimate of a last answer that no event carries.
        usd = event.number("usd")
        if usd is not None and self._story.usd != usd:
            self._story.usd = usd
            self._story.priced = True
            self._story.estimated |= bool(event.number("estimated_usd"))
            self._story.curve.append((at, usd))

    def _charge(self, event: Event, added: float) -> None:
        """Add dollars to the first call of the response, which may precede or follow it."""
        response = event.text("response_id")
        row = self._first_of_step.get(response)
        if row is None:
            row = self._unpaid.get(event.agent)
            if row and response:
                self._first_of_step[response] = row
        self._unpaid.pop(event.agent, None)
        if row:
            row.usd = (row.usd or 0.0) + added
        elif response:
            self._early_usd[response] = self._early_usd.get(response, 0.0) + added

    def _agent(self, name: str, at: float) -> Subagent:
        agent = self._story.subagents.get(name)
        if agent is None:
            agent = self._story.subagents[name] = Subagent(name, start=at)
        agent.end = max(agent.end, at)
        return agent

    def _subagent(self, event: Event, at: float) -> None:
        if event.agent:
            agent = self._agent(event.agent, at)
            agent.kind = agent.kind or event.text("agent_type")
            if row := self._rows.get(event.parent):
                row.subagent = event.agent

    def _violation(self, event: Event, at: float) -> None:
        level = "warning" if event.data.get("level") == "warning" else "critical"
        self._mark(event, at, event.text("watcher"), level, event.text("message"))

    def _kill(self, event: Event, at: float) -> None:
        words = " ".join(filter(None, (event.text("outcome"), event.text("signal"))))
        self._mark(event, at, "kill", "kill", words or "kill")

    def _mark(self, event: Event, at: float, watcher: str, level: str, message: str) -> None:
        usd = self._story.usd
        self._story.marks.append(Mark("", at, watcher, level, message, event.data, usd))


def mark_overwritten(calls: Iterable[CallRow]) -> None:
    """Set `overwritten` on each edit whose whole text a later edit of the same file replaces."""
    latest: dict[str, list[CallRow]] = {}
    for row in calls:
        if row.state != "ok":
            continue
        for change in row.changes:
            earlier = latest.setdefault(change.path, [])
            for other in earlier:
                if any(each.replaced_by(change) for each in other.changes):
                    other.overwritten = row.number
            latest[change.path] = [each for each in earlier if not each.overwritten] + [row]
