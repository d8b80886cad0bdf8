"""Writers of sessions in the agents' own formats, from steps that are the same for all of them.

    session("codex", [prompt("fix it"), shell("cargo test | tail", "test result: FAILED", code=0)])

yields the lines of a rollout. A step is a small object of its own; `parallel` makes several calls in
one response.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

Fields = dict[str, Any]

START = 1_789_376_400.0
"""Time of the first line, seconds since the epoch."""

THINKING_S = 4.0
"""Seconds before each response."""


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    kind:  shell, read, edit, write, search, tool, say, prompt, stop_hook, notification, autopilot,
           compaction, refusal, wait.
    after: seconds before it, None for THINKING_S.
    took:  seconds that a call takes.
    code:  exit status of a command.
    fails: a call that is no command has failed.
    runs:  the client has put the command into the background, unasked.
    """

    kind: str
    text: str = ""
    result: str = ""
    arguments: Fields = field(default_factory=dict)
    code: int = 0
    fails: bool = False
    runs: bool = False
    after: float | None = None
    took: float = 1.0


def shell(command: str, output: str = "", code: int = 0, **more: Any) -> Step:
    return Step("shell", command, output, code=code, **more)


def read(path: str, text: str = "package main\n", **more: Any) -> Step:
    return Step("read", path, text, **more)


def edit(path: str, new: str, **more: Any) -> Step:
    return Step("edit", path, more.pop("result", ""), {"new": new}, **more)


def write(path: str, text: str, **more: Any) -> Step:
    return Step("write", path, more.pop("result", ""), {"content": text}, **more)


def search(pattern: str, result: str, **more: Any) -> Step:
    return Step("search", pattern, result, **more)


def tool(name: str, arguments: Fields, result: str, **more: Any) -> Step:
    return Step("tool", name, result, arguments, **more)


def say(text: str, **more: Any) -> Step:
    return Step("say", text, **more)


def prompt(text: str, **more: Any) -> Step:
    return Step("prompt", text, **more)


def happens(kind: str, text: str = "", **more: Any) -> Step:
    """Return a step of the client's own: stop_hook, notification, autopilot, compaction, refusal."""
    return Step(kind, text, **more)


Steps = Sequence[Step | Sequence[Step]]
"""A sequence among them is the parallel calls of one response."""


Made = Sequence[tuple[str, str, Fields]]
"""The calls of one response: id, tool and arguments of each."""


class Writer:
    """Lines of one session; each agent's writer knows its tools' names and its lines."""

    names: ClassVar[Fields] = {}
    prefix: ClassVar[str] = "call_"

    def __init__(self) -> None:
        self.time = START
        self.number = 0

    def begin(self) -> Iterator[Fields]:
        return iter(())

    def responses(self, calls: Sequence[Step]) -> Iterator[Fields]:
        """Yield the lines of one response's calls, and then of their results."""
        made = [(f"{self.prefix}{self.key()}", *self.call(step)) for step in calls]
        yield from self.requests(made)
        self.time += max(step.took for step in calls)
        for (call, name, _), step in zip(made, calls, strict=True):
            yield self.result(call, name, step)

    def requests(self, made: Made) -> Iterator[Fields]:
        raise NotImplementedError

    def result(self, call: str, name: str, step: Step) -> Fields:
        raise NotImplementedError

    def other(self, step: Step) -> Iterator[Fields]:
        raise NotImplementedError

    def key(self) -> str:
        self.number += 1
        return f"{self.number:05}"

    def call(self, step: Step) -> tuple[str, Fields]:
        """Return a call's tool and arguments."""
        if step.kind == "tool":
            return step.text, step.arguments
        name, path, old, new, content, pattern = self.names[step.kind]
        if step.kind == "shell":
            return name, {path: step.text, **step.arguments}
        arguments = {path: step.text} if path else {pattern: step.text}
        if step.kind == "edit":
            arguments |= {old: "return 0", new: step.arguments["new"]}
        if step.kind == "write":
            arguments |= {content: step.arguments["content"]}
        return name, arguments

    @property
    def iso(self) -> str:
        return datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class Claude(Writer):
    names: ClassVar[Fields] = {
        "shell": ("Bash", "command", "", "", "", ""),
        "read": ("Read", "file_path", "", "", "", ""),
        "edit": ("Edit", "file_path", "old_string", "new_string", "", ""),
        "write": ("Write", "file_path", "", "", "content", ""),
        "search": ("Grep", "", "", "", "", "pattern"),
    }

    prefix = "toolu_"

    def requests(self, made: Made) -> Iterator[Fields]:
        response = self.key()
        for call, name, arguments in made:
            block = {"type": "tool_use", "id": call, "name": name, "input": arguments}
            yield self._assistant(response, block)

    def result(self, call: str, name: str, step: Step) -> Fields:
        text = step.result or "The file has been updated."
        failed = bool(step.code or step.fails)
        details: Any = {"stdout": text, "stderr": "", "interrupted": False, "isImage": False}
        if step.kind == "shell":
            text = f"Exit code {step.code}\n{step.result}" if failed else step.result
            text = text or "(Bash completed with no output)"
        if step.runs:
            text = f"Command running in background with ID: bash_{call}."
            details |= {"stdout": text, "backgroundTaskId": f"bash_{call}"}
        if failed:
            details = f"Error: {text}"
        block = {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed}
        return self._user([block], toolUseResult=details)

    def other(self, step: Step) -> Iterator[Fields]:
        if step.kind == "say":
            yield self._assistant(self.key(), {"type": "text", "text": step.text})
        elif step.kind == "prompt":
            yield self._user(step.text)
        elif step.kind == "stop_hook":
            yield self._user(f"Stop hook feedback:\n{step.text}", isMeta=True)
        elif step.kind == "notification":
            task = f"<task-id>{step.text}</task-id>"
            yield self._user(f"<task-notification>\n{task}\n</task-notification>")
        elif step.kind == "compaction":
            meta = {"trigger": "auto", "preTokens": 160_000}
            more = {"subtype": "compact_boundary", "content": "Conversation compacted"}
            yield self._line("system", {**more, "compactMetadata": meta})
            text = "This session is being continued from a previous conversation."
            yield self._user(text, isCompactSummary=True)
        elif step.kind == "refusal":
            error = {"type": "error", "error": {"type": "error", "message": step.text}}
            more = {"subtype": "api_error", "level": "error"}
            yield self._line("system", {**more, "error": {"status": step.code, "error": error}})

    def _user(self, content: Any, **more: Any) -> Fields:
        return self._line("user", {"message": {"role": "user", "content": content}, **more})

    def _assistant(self, response: str, block: Fields) -> Fields:
        usage = {"input_tokens": 6, "output_tokens": 150, "cache_read_input_tokens": 20_000}
        message = {
            "id": f"msg_{response}",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [block],
            "stop_reason": "tool_use" if block["type"] == "tool_use" else "end_turn",
            "usage": usage,
        }
        return self._line("assistant", {"requestId": f"req_{response}", "message": message})

    def _line(self, kind: str, more: Fields) -> Fields:
        return {
            "parentUuid": None,
            "isSidechain": False,
            "userType": "external",
            "cwd": "/srv/app",
            "sessionId": "6f0c1a52-11aa-4c0e-9a51-0d3c5b7e9f10",
            "version": "2.1.246",
            "uuid": f"00000000-0000-4000-8000-{int(self.key()):012}",
            "timestamp": self.iso,
            "type": kind,
            **more,
        }


class Codex(Writer):
    """`exec_command`, `apply_patch` and MCP tools, called one by one."""

    def begin(self) -> Iterator[Fields]:
        meta = {"id": "01993c55-7a10-7d31-9d02-6a1c77b8e001", "cwd": "/srv/app"}
        more = {"originator": "codex-tui", "cli_version": "0.153.4", "source": "cli"}
        yield self._line("session_meta", {**meta, **more, "timestamp": self.iso})
        yield self._line("turn_context", {"turn_id": "t", "cwd": "/srv/app", "model": "gpt-5.5"})
        yield self._event("task_started", turn_id="t")

    def call(self, step: Step) -> tuple[str, Fields]:
        if step.kind == "read":
            return "exec_command", {"cmd": f"sed -n 1,200p {step.text}"}
        if step.kind == "search":
            return "exec_command", {"cmd": f"rg -n '{step.text}' src"}
        if step.kind in ("edit", "write"):
            new = step.arguments.get("new") or step.arguments.get("content")
            change = f"*** Update File: {step.text}\n@@\n-    return 0\n+    {new}\n"
            return "apply_patch", {"input": f"*** Begin Patch\n{change}*** End Patch"}
        if step.kind == "shell":
            return "exec_command", {"cmd": step.text, "workdir": "/srv/app"}
        return step.text, step.arguments

    def output(self, step: Step) -> str:
        """Return the result as the client writes it for the model."""
        if step.kind in ("edit", "write"):
            return step.result or "Success. Updated the following files:\nM x"
        if step.kind == "tool":
            return ("tool call error: " if step.fails else "") + step.result
        ended = f"Process exited with code {step.code}"
        if step.runs:
            ended = f"Process running with session ID {self.number}"
        wall = f"Wall time: {step.took:.4f} seconds"
        return f"Chunk ID: {self.number:06x}\n{wall}\n{ended}\nOutput:\n{step.result}\n"

    def requests(self, made: Made) -> Iterator[Fields]:
        for call, name, arguments in made:
            if name == "apply_patch":
                payload: Fields = {"type": "custom_tool_call", "input": arguments["input"]}
            else:
                payload = {"type": "function_call", "arguments": json.dumps(arguments)}
            yield self._item({**payload, "name": name, "call_id": call})

    def result(self, call: str, name: str, step: Step) -> Fields:
        custom = "custom_tool" if step.kind in ("edit", "write") else "function"
        output = self.output(step)
        return self._item({"type": f"{custom}_call_output", "call_id": call, "output": output})

    def other(self, step: Step) -> Iterator[Fields]:
        if step.kind == "say":
            content = [{"type": "output_text", "text": step.text}]
            yield self._item({"type": "message", "role": "assistant", "content": content})
        elif step.kind in ("prompt", "stop_hook"):
            text = f"<hook_prompt>{step.text}" if step.kind == "stop_hook" else step.text
            content = [{"type": "input_text", "text": text}]
            yield self._item({"type": "message", "role": "user", "content": content})
            if step.kind == "prompt":
                yield self._event("user_message", message=step.text)
        elif step.kind == "compaction":
            yield self._line("compacted", {"message": "a summary"})
        elif step.kind == "refusal":
            yield self._event("error", message=f"{step.text} ({step.code}, {self.key()})")

    def _item(self, payload: Fields) -> Fields:
        return self._line("response_item", payload)

    def _event(self, kind: str, **payload: Any) -> Fields:
        return self._line("event_msg", {"type": kind, **payload})

    def _line(self, kind: str, payload: Fields) -> Fields:
        return {"timestamp": self.iso, "type": kind, "payload": payload}


class CodexCode(Codex):
    """Code mode: a script makes the calls, which are recorded when they are over."""

    def responses(self, calls: Sequence[Step]) -> Iterator[Fields]:
        call = f"call_{self.key()}"
        script = "".join(f"{self._script(step)}\n" for step in calls)
        yield self._item(
            {"type": "custom_tool_call", "name": "exec", "input": script, "call_id": call}
        )
        began = self.time
        self.time += max(step.took for step in calls)
        for step in calls:
            yield from self._over(step, began)
        parts = [{"type": "input_text", "text": step.result} for step in calls]
        head = f"Script completed\nWall time {calls[0].took:.1f} seconds\nOutput:\n"
        output = [{"type": "input_text", "text": head}, *parts]
        yield self._item({"type": "custom_tool_call_output", "call_id": call, "output": output})

    def _script(self, step: Step) -> str:
        name, arguments = self.call(step)
        given = arguments["input"] if name == "apply_patch" else arguments
        return f"text(await tools.{name}({json.dumps(given)}));"

    def _over(self, step: Step, began: float) -> Iterator[Fields]:
        name, arguments = self.call(step)
        item: Fields = {"id": f"exec-{self.key()}", "status": "completed"}
        if name == "exec_command":
            item |= {
                "type": "CommandExecution",
                "command": ["/bin/bash", "-lc", arguments["cmd"]],
                "cwd": "file:///srv/app",
                "status": "failed" if step.code else "completed",
                "aggregated_output": step.result,
                "exit_code": step.code,
            }
        elif name == "apply_patch":
            change = {"type": "update", "unified_diff": arguments["input"]}
            item |= {"type": "FileChange", "changes": {step.text: change}}
            if step.fails:
                item |= {"status": "failed", "stderr": step.result}
        else:
            server, _, own = name.removeprefix("mcp__").partition("__")
            content = {"content": [{"type": "text", "text": step.result}]}
            item |= {
                "type": "McpToolCall",
                "server": server,
                "tool": own,
                "arguments": arguments,
                "result": {**content, "isError": step.fails},
            }
        times = {"started_at_ms": began * 1000, "completed_at_ms": self.time * 1000}
        yield self._event("item_completed", item=item, **times)


class Gemini(Writer):
    names: ClassVar[Fields] = {
        "shell": ("run_shell_command", "command", "", "", "", ""),
        "read": ("read_file", "file_path", "", "", "", ""),
        "edit": ("replace", "file_path", "old_string", "new_string", "", ""),
        "write": ("write_file", "file_path", "", "", "content", ""),
        "search": ("search_file_content", "", "", "", "", "pattern"),
    }

    def begin(self) -> Iterator[Fields]:
        yield {
            "sessionId": "b81f6a20-9a3e-4f59-8f7f-3f5f31a1c001",
            "projectHash": "5" * 64,
            "startTime": self.iso,
            "lastUpdated": self.iso,
            "kind": "main",
        }

    def responses(self, calls: Sequence[Step]) -> Iterator[Fields]:
        message: Fields = {"id": f"g{self.key()}", "timestamp": self.iso, "type": "gemini"}
        message |= {"content": "", "thoughts": [], "model": "gemini-3.8-flash"}
        made = []
        for step in calls:
            name, arguments = self.call(step)
            call = f"{name}__{self.key()}"
            text = step.result or "Successfully modified file"
            if step.kind == "shell":
                text = f"<untrusted_context>\nOutput: {step.result or '(empty)'}\n"
                text += f"Exit Code: {step.code}\n" if step.code else ""
                text += f"Process Group PGID: {10_000 + 7 * self.number}\n</untrusted_context>"
            response = {"error" if step.fails else "output": text}
            answer = {"functionResponse": {"id": call, "name": name, "response": response}}
            status = "error" if step.fails else "success"
            ended = replace_time(self, step.took)
            made.append(
                {"id": call, "name": name, "args": arguments, "status": status}
                | {"timestamp": ended, "result": [answer]}
            )
        self.time += max(step.took for step in calls)
        yield {**message, "toolCalls": made}

    def other(self, step: Step) -> Iterator[Fields]:
        place: Fields = {"id": f"u{self.key()}", "timestamp": self.iso}
        if step.kind == "say":
            yield {**place, "type": "gemini", "content": step.text, "model": "gemini-3.8-flash"}
        elif step.kind == "refusal":
            yield {**place, "type": "error", "content": f"[API Error: {step.code} {step.text}]"}
        else:
            yield {**place, "type": "user", "content": [{"text": step.text}]}


def replace_time(writer: Writer, after: float) -> str:
    later = type(writer)()
    later.time = writer.time + after
    return later.iso


class Copilot(Writer):
    names: ClassVar[Fields] = {
        "shell": ("bash", "command", "", "", "", ""),
        "read": ("view", "path", "", "", "", ""),
        "edit": ("edit", "path", "old_str", "new_str", "", ""),
        "write": ("create", "path", "", "", "file_text", ""),
        "search": ("grep", "", "", "", "", "pattern"),
    }

    def begin(self) -> Iterator[Fields]:
        data = {"sessionId": "7c2d9f10-3b44-4d0a-8f1e-55ad0c9e7a01", "startTime": self.iso}
        more = {"producer": "copilot-agent", "context": {"cwd": "/srv/app"}}
        yield self._line("session.start", {**data, **more, "copilotVersion": "1.0.102"})

    prefix = "tc_"

    def requests(self, made: Made) -> Iterator[Fields]:
        asked = [
            {"toolCallId": key, "name": name, "arguments": arguments}
            for key, name, arguments in made
        ]
        response = self.key()
        data = {"messageId": f"am{response}", "content": "", "toolRequests": asked}
        yield self._line("assistant.message", {**data, "apiCallId": f"api-{response}"})
        for key, name, arguments in made:
            data = {"toolCallId": key, "toolName": name, "arguments": arguments}
            yield self._line("tool.execution_start", data)

    def result(self, call: str, name: str, step: Step) -> Fields:
        data: Fields = {"toolCallId": call, "success": not step.fails}
        text = step.result or "Updated"
        if step.fails:
            data["error"] = {"message": text, "code": "failure"}
        elif step.kind == "shell":
            end = f"\n<shellId: {self.number} completed with exit code {step.code}>"
            data["shellExecution"] = {"exitCode": step.code}
            data["result"] = {"content": step.result + end}
        else:
            data["result"] = {"content": text}
        return self._line("tool.execution_complete", data)

    def other(self, step: Step) -> Iterator[Fields]:
        if step.kind == "say":
            data = {"messageId": f"am{self.key()}", "content": step.text, "toolRequests": []}
            yield self._line("assistant.message", data)
        elif step.kind == "refusal":
            data = {"message": step.text, "statusCode": step.code}
            yield self._line("session.error", {**data, "errorType": "query"})
        else:
            data = {"content": step.text, "messageId": f"um{self.key()}"}
            more = {"isAutopilotContinuation": True} if step.kind == "autopilot" else {}
            yield self._line("user.message", {**data, **more})

    def _line(self, kind: str, data: Fields) -> Fields:
        place = {"id": f"{int(self.key()):08x}-1111-4111-8111-111111111111", "parentId": None}
        return {"type": kind, "data": data, "timestamp": self.iso, **place}


class OpenCode(Writer):
    """The stream's own vocabulary, as hooks and exporters write it, with OpenCode's tools."""

    names: ClassVar[Fields] = {
        "shell": ("bash", "command", "", "", "", ""),
        "read": ("read", "filePath", "", "", "", ""),
        "edit": ("edit", "filePath", "oldString", "newString", "", ""),
        "write": ("write", "filePath", "", "", "content", ""),
        "search": ("grep", "", "", "", "", "pattern"),
    }

    def begin(self) -> Iterator[Fields]:
        yield self._event("session_start", {"agent": "opencode", "cwd": "/srv/app"})

    def requests(self, made: Made) -> Iterator[Fields]:
        for call, name, arguments in made:
            data = {"tool_name": name, "arguments": arguments}
            yield self._event("tool_call", data) | {"event_id": call}

    def result(self, call: str, name: str, step: Step) -> Fields:
        failed = bool(step.code or step.fails)
        data: Fields = {"tool_name": name}
        data |= {"error" if failed else "result": step.result}
        if step.kind == "shell":
            data["exit_code"] = step.code
        if failed:
            data["reason"] = "exit" if step.code else "tool"
        return self._event("error" if failed else "tool_result", data, call)

    def other(self, step: Step) -> Iterator[Fields]:
        if step.kind == "say":
            yield self._event("assistant_response", {"text": step.text})
        elif step.kind == "refusal":
            data = {"error": step.text, "reason": "api", "status": step.code}
            yield self._event("error", data)
        elif step.kind == "compaction":
            yield self._event("compaction", {"trigger": "auto"})
        else:
            origin = {"prompt": "person", "stop_hook": "hook"}.get(step.kind, step.kind)
            yield self._event("user_prompt", {"prompt": step.text, "origin": origin})

    def _event(self, kind: str, data: Fields, parent: str = "") -> Fields:
        event: Fields = {"event_type": kind, "timestamp": self.time, "event_id": f"e{self.key()}"}
        event |= {"session_id": "ses_own_1", "data": data}
        return {**event, "parent_id": parent} if parent else event


class Pi(Writer):
    names: ClassVar[Fields] = {**OpenCode.names, "read": ("read", "path", "", "", "", "")} | {
        "edit": ("edit", "path", "oldText", "newText", "", ""),
        "write": ("write", "path", "", "", "content", ""),
    }

    def begin(self) -> Iterator[Fields]:
        yield {"type": "session", "version": 3, "id": "01a22ca0", "cwd": "/srv/app"} | self._place()

    def requests(self, made: Made) -> Iterator[Fields]:
        content = [
            {"type": "toolCall", "id": key, "name": name, "arguments": arguments}
            for key, name, arguments in made
        ]
        yield self._message({"role": "assistant", "content": content, "model": "stub"})

    def result(self, call: str, name: str, step: Step) -> Fields:
        text = step.result
        if step.code:
            text += f"\n\n\nCommand exited with code {step.code}"
        empty = "(no output)" if step.kind == "shell" else "Successfully replaced."
        content = [{"type": "text", "text": text or empty}]
        message = {"role": "toolResult", "toolCallId": call, "toolName": name, "content": content}
        return self._message({**message, "isError": bool(step.code or step.fails)})

    def other(self, step: Step) -> Iterator[Fields]:
        role = "assistant" if step.kind == "say" else "user"
        yield self._message({"role": role, "content": [{"type": "text", "text": step.text}]})

    def _message(self, message: Fields) -> Fields:
        return {"type": "message", **self._place(), "message": message}

    def _place(self) -> Fields:
        return {"id": f"{int(self.key()):08x}", "parentId": None, "timestamp": self.iso}


WRITERS: dict[str, type[Writer]] = {
    "claude": Claude,
    "codex": Codex,
    "codex-code": CodexCode,
    "gemini": Gemini,
    "copilot": Copilot,
    "opencode": OpenCode,
    "pi": Pi,
}
"""Writers by the name of the format."""


def session(agent: str, steps: Steps) -> Iterator[Fields]:
    """Yield the lines of a session in which `steps` happen."""
    writer = WRITERS[agent]()
    yield from writer.begin()
    for step in steps:
        calls = [step] if isinstance(step, Step) else list(step)
        after = calls[0].after
        writer.time += THINKING_S if after is None else after
        if calls[0].kind in ("shell", "read", "edit", "write", "search", "tool"):
            yield from writer.responses(calls)
        elif calls[0].kind != "wait":
            yield from writer.other(calls[0])
