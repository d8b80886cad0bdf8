"""Base of a Codex thread: its head, its conversation and its usage."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from agent_pipes.agents.codex import lines
from agent_pipes.agents.codex.sessions import Meta
from agent_pipes.agents.codex.usage import Meter
from agent_pipes.agents.fields import event_fields, number, string, text_of, time_of, within
from agent_pipes.agents.results import compaction
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields


class ThreadBase:
    """One rollout: the session itself, or a subagent of it.

    `session` is the id of the session that is being read, for versions whose subagents only name
    who spawned them.
    """

    HANDLERS: ClassVar[dict[str, Callable[[Any, Fields, float], Iterator[Fields]]]]
    """Methods by the type of a line's payload."""

    def __init__(self, max_result: int, path: str, session: str = "") -> None:
        self.session = ""
        self._root = session
        self._max_result = max_result
        self._path = path
        self._id = ""
        self._agent = ""
        self._model = ""
        self._tier = ""
        self._copied = False
        self._dated = False
        self._born = 0.0
        self._began = 0.0
        self._meter = Meter()
        self._responses = 0
        self._context = 0
        self._window: object = None
        self._quota: dict[str, float] = {}
        self._prompts: list[str] = []
        self._told = False

    def translate(self, record: Fields, time: float) -> Iterator[Fields]:
        kind, payload = string(record, "type"), within(record, "payload")
        if kind == "response_item" or kind == "event_msg":
            kind = string(payload, "type")
        if kind == "session_meta":
            yield from self._begin(payload, time)
        elif self._is_copy(kind, payload, time):
            if kind in ("token_count", "token_usage_record"):
                self._meter.copied(within(payload, "info") or payload)
            elif kind == "turn_context":
                # A review begins in a copied turn, and has no turn of its own before its answer.
                self._model = string(payload, "model") or self._model
        elif handler := self.HANDLERS.get(kind):
            yield from handler(self, payload, time)

    def ends_at(self, record: Fields) -> bool:
        """Return True if another rollout begins with this line, as several may on one pipe."""
        own = Meta.of(within(record, "payload")).id
        return (
            record.get("type") == "session_meta"
            and bool(self._id)
            and own != self._id
            and not self._copied
        )

    def _event(
        self, event_type: str, time: float, key: str, data: Fields, parent: str = ""
    ) -> Fields:
        if self._agent:
            data["agent_id"] = self._agent
        return event_fields(event_type, time, key, self.session, data, parent)

    def _named(self, payload: Fields, time: float, text: str) -> str:
        """Return an id that is the same whenever the rollout is read."""
        return (
            string(payload, "id")
            or digest(f"{self._id}\0{time}\0{text}".encode(errors="surrogatepass"))[:12]
        )

    def _begin(self, payload: Fields, time: float) -> Iterator[Fields]:
        # A fork's rollout may hold the heads of the threads it was copied from. Only the first is
        # its own.
        if self._id:
            return
        meta = Meta.of(payload)
        self._id = meta.id
        self.session = (
            self._root
            if meta.child and self._root and "session_id" not in payload
            else meta.session
        )
        self._began = time
        created = lines.made(meta.id)
        self._born = time_of(payload, time) if created is None else created
        if meta.child:
            self._agent = meta.id
            yield self._event(
                "subagent_start",
                time,
                f"{meta.id}:start",
                {"agent_type": meta.role} if meta.role else {},
            )
        else:
            provenance = within(within(payload, "base_instructions"), "provenance")
            model = string(provenance, "model") if provenance.get("type") == "model" else ""
            data: Fields = {
                "agent": "codex",
                "cwd": meta.cwd,
                "model": model,
                "path": self._path,
            }
            interactive = lines.is_interactive(payload)
            if interactive is not None:
                data["interactive"] = interactive
            yield self._event("session_start", time, f"{meta.id}:start", data)
        self._meter.inherits = meta.child or bool(string(payload, "forked_from_id"))
        # Newer forks name the part of the other rollout they go on from, and copy nothing.
        self._copied = self._meter.inherits and not within(payload, "history_base")

    def _is_copy(self, kind: str, payload: Fields, time: float) -> bool:
        """Return True if the line was copied from the thread that this one was forked from.

        Copies get the fork's own time, but the ids of turns tell when they were made: the first
        turn that is no older than the thread is its own. Where turns have no such ids, what came a
        second later is.
        """
        if not self._copied:
            return False
        if (
            kind in ("task_started", "turn_context")
            and (turn := lines.made(string(payload, "turn_id"))) is not None
        ):
            self._dated = True
            self._copied = turn < self._born
        elif not self._dated and time > self._began + 1.0:
            self._copied = False
        return self._copied

    # The conversation.

    def _message(self, payload: Fields, time: float) -> Iterator[Fields]:
        role = payload.get("role")
        content = payload.get("content")
        if role == "assistant":
            text = text_of(content)
            data: Fields = {"text": text}
            if phase := string(payload, "phase"):
                data["phase"] = phase
            yield self._event("assistant_response", time, self._named(payload, time, text), data)
        elif role == "user" and not self._agent:
            text = text_of(content)
            if origin := lines.stand_in(text):
                yield self._prompt(payload, time, text, origin)
            elif not self._told and lines.is_persons(payload, text):
                self._prompts = [*self._prompts[-9:], text]
                yield self._prompt(payload, time, text, "person")

    def _prompt(self, payload: Fields, time: float, text: str, origin: str) -> Fields:
        data = {"prompt": text, "origin": origin}
        return self._event("user_prompt", time, self._named(payload, time, text), data)

    def _user_message(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield a person's prompt, which is mostly in the conversation just before, too.

        A session's first is taken from there, so that it is not missed where these events are not
        written. From the first of these events on, only they are believed.
        """
        if self._agent:
            return
        text = string(payload, "message") or text_of(payload.get("content"))
        first, self._told = not self._told, True
        if text in self._prompts:
            self._prompts.remove(text)
        elif first and self._prompts:
            self._prompts.pop(0)
        else:
            yield self._prompt(payload, time, text, "person")

    def _compacted(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield a compaction of the context, with the tokens of the last request before it."""
        data = compaction("", self._context or None)
        yield self._event("compaction", time, self._named({}, time, "compaction"), data)

    def _approval(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield that the agent waits for its user."""
        kind = string(payload, "type")
        data = {"for": "permission" if "approval" in kind or "permission" in kind else "question"}
        call = string(payload, "call_id")
        key = self._named({}, time, f"{kind} {call}")
        yield self._event("waiting", time, key, data, call)

    def _turn_context(self, payload: Fields, time: float) -> Iterator[Fields]:
        self._model = string(payload, "model") or self._model
        return iter(())

    def _settings(self, payload: Fields, time: float) -> Iterator[Fields]:
        settings = within(payload, "thread_settings")
        self._model = string(settings, "model") or self._model
        self._tier = string(settings, "service_tier")
        return iter(())

    # The money.

    def _token_count(self, payload: Fields, time: float) -> Iterator[Fields]:
        info = within(payload, "info")
        self._window = info.get("model_context_window") or self._window
        yield from self._quotas(within(payload, "rate_limits"), time)
        for used in self._meter.counted(info):
            self._responses += 1
            yield self._used(time, f"{self._id}#{self._responses}", used.usage())

    def _quotas(self, limits: Fields, time: float) -> Iterator[Fields]:
        """Yield the share of the subscription's limits that is used, when it has changed."""
        for name in ("primary", "secondary"):
            limit = within(limits, name)
            used = number(limit, "used_percent")
            if used is not None and used != self._quota.get(name):
                self._quota[name] = used
                data: Fields = {"limit": name, "used_percent": used}
                for key in ("resets_at", "window_minutes"):
                    if (value := number(limit, key)) is not None:
                        data[key] = value
                key = self._named({}, time, f"quota {name} {used}")
                yield self._event("quota", time, key, data)

    def _token_usage_record(self, payload: Fields, time: float) -> Iterator[Fields]:
        if self._id and string(payload, "thread_id") not in ("", self._id):
            self._meter.copied(payload)
            return
        for used in self._meter.recorded(payload):
            self._responses += 1
            yield self._used(
                time,
                string(payload, "response_id") or f"{self._id}#{self._responses}",
                used.usage(),
            )

    def _used(self, time: float, response: str, usage: Fields) -> Fields:
        self._context = usage["input_tokens"]
        data: Fields = {"model": self._model, "response_id": response, "usage": usage}
        if type(self._window) is int:
            data["context_window"] = self._window
        if self._tier:
            data["service_tier"] = self._tier
        return self._event("llm_response", time, response, data)
