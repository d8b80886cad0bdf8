"""Compare the detectors with what other systems' own tests state, through the real commands.

    python tests/scenarios.py [-v] FILE

FILE has one scenario a line: `{id, source, config, events, expected, tags, notes, …}`. An event is a call
`{tool, args, result, is_error[, turn, t, run, veto, observation_only]}`, a message `{message, role[, chunk]}` or
`{control}`. `config` has the thresholds that the scenario is stated under, and each is run with those. Scenarios of
equal thresholds go through one pipeline together, each in a session of its own.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START = 1_795_359_278.0

Scenario = dict[str, Any]
Pipeline = tuple[tuple[str, ...], ...]

NOT_OURS = {
    "context_window": "condensations in a row are counted by who condenses",
    "empty_response": "an empty reply is a fault of the request, which its client repeats",
    "unknown_tool": "whether a tool exists is known to its host alone",
    "control": "detection switched off, or started over, from inside the host",
}


def not_ours(scenario: Scenario) -> str:
    """Why a scenario makes sense only inside its own host, "" where it does not."""
    if any(event.get("control") in ("disable", "clear_detection") for event in scenario["events"]):
        return NOT_OURS["control"]
    kind = scenario["expected"].get("kind")
    said = [event["message"] for event in scenario["events"] if event.get("role") == "agent"]
    if kind == "monologue" and said and not any(text.strip() for text in said):
        kind = "empty_response"
    return NOT_OURS.get(kind, "")


def pipeline(scenario: Scenario) -> Pipeline:
    """The commands, with the scenario's thresholds as their options."""
    config = scenario["config"]
    if not config:
        return (("trace-detect-loop",), ("trace-detect-retry",))
    if "content_stream" in scenario["tags"]:
        return (("trace-detect-loop", "--max", "off", *_off(LOOP_LIMITS - {"--max-chant"})),)
    by_turn = config.get("batch_by") == "turn"
    # A turn that is judged before its results counts the call that has none yet.
    fewer = 1 if by_turn else 0
    repeat = config.get("repeat") or config.get("global_repeat") or 0
    limits = {
        "--key": "call" if config.get("args_only") else "result",
        "--length": 2,
        "--max": 0,
        "--max-same-result": _two_or_more(max(0, repeat - fewer)),
        "--max-same-call": config.get("absolute", 0),
        "--max-same-message": _two_or_more(config.get("monologue", 0)),
        "--warn": 0,
    }
    if config.get("cycle_period_max") != 1:
        limits["--max"] = _two_or_more(
            config.get("cycle_repeat") or config.get("cycle_calls", 0) // 2
        )
        limits["--length"] = config.get("cycle_period_min", 2)
        limits["--warn"] = config.get("cycle_calls_warn", 0) // 2
    elif "soft" in config and not by_turn:
        limits |= {"--length": 1, "--warn": config["soft"]}
    stages = [_loop(limits)]
    if config.get("result_aware") and "warn" in config:
        # It also warns of a call that is merely made again, whatever it gives.
        stages.append(
            _loop({"--key": "call", "--max": 0, "--length": 2, "--warn": config["warn"] // 2})
        )
    failures = config.get("error_repeat", repeat)
    if not config.get("args_only") and failures > fewer:
        warn = config.get("error_nudge", config.get("warn", 0))
        limits = {"--max": failures - fewer, "--warn": warn, "--max-errors": 0}
        stages.append(("trace-detect-retry", *_words(limits)))
    return tuple(stages)


LOOP_LIMITS = {
    "--max-same-result",
    "--max-same-call",
    "--max-same-message",
    "--max-unfinished",
    "--max-talk",
    "--max-compactions",
    "--max-stagnant",
    "--max-chant",
    "--warn",
}
"""Limits that a scenario states or that are off."""


def _loop(limits: dict[str, Any]) -> tuple[str, ...]:
    return ("trace-detect-loop", *_words(limits), *_off(LOOP_LIMITS - limits.keys()))


def _words(limits: dict[str, Any]) -> list[str]:
    return [str(word) for pair in limits.items() for word in pair]


def _off(names: Iterable[str]) -> list[str]:
    return [word for name in sorted(names) for word in (name, "off")]


def _two_or_more(limit: int) -> int:
    """Return a limit that the commands take: what comes once does not repeat itself."""
    return max(2, limit) if limit else 0


class Recording:
    """A scenario written as events; an id ends in the number of the scenario's event."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.name = self.run = scenario["id"]
        self.at = START
        self.attached = bool(scenario["expected"].get("at_end"))
        self.resets = scenario["config"].get("user_resets", True)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events; calls of one turn are answered at the turn's end."""
        yield from self._begin(-1)
        waiting: list[tuple[int, dict[str, Any]]] = []
        for number, event in enumerate(self.scenario["events"]):
            self.at = START + event.get("t", number)
            if waiting and event.get("turn") != waiting[0][1].get("turn"):
                for each in waiting:
                    yield from self._answer(*each)
                waiting = []
            if event.get("run") and self.run != f"{self.name}/{event['run']}":
                yield self._event("session_end", number, {})
                self.run = f"{self.name}/{event['run']}"
                yield from self._begin(number, start=False)
            if "message" in event:
                yield self._message(number, event)
            elif "control" in event:
                yield self._event(event["control"], number, {})
            else:
                if not event.get("observation_only"):
                    yield self._call(number, event)
                if "turn" in event:
                    waiting.append((number, event))
                else:
                    yield from self._answer(number, event)
        for each in waiting:
            yield from self._answer(*each)
        if self.attached:
            yield self._event("history_end", len(self.scenario["events"]), {})

    def _event(
        self, kind: str, number: int, data: dict[str, Any], suffix: str = "", parent: str = ""
    ) -> dict[str, Any]:
        event = {
            "event_type": kind,
            "timestamp": self.at,
            "event_id": f"{self.name}#{suffix}{number}",
            "session_id": self.run,
        }
        return {**event, **({"parent_id": parent} if parent else {}), "data": data}

    def _begin(self, number: int, *, start: bool = True) -> Iterator[dict[str, Any]]:
        if start:
            yield self._event("session_start", number, {})
        if self.attached:
            yield self._event("history_start", number, {})

    def _message(self, number: int, event: dict[str, Any]) -> dict[str, Any]:
        if event["role"] == "agent":
            delta = {"delta": True} if event.get("chunk") else {}
            return self._event("assistant_response", number, {"text": event["message"], **delta})
        resets = event["role"] == "user" and self.resets
        kind = "user_prompt" if resets else "message"
        return self._event(kind, number, {"prompt": event["message"]})

    def _call(self, number: int, event: dict[str, Any]) -> dict[str, Any]:
        step = f"turn{event['turn']}" if "turn" in event else f"step{number}"
        data = {"tool_name": event["tool"], "arguments": event["args"], "step": step}
        return self._event("tool_call", number, data, "call")

    def _answer(self, number: int, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if event.get("result") is None:
            return
        text = event["result"] if isinstance(event["result"], str) else json.dumps(event["result"])
        parent = "" if event.get("observation_only") else f"{self.name}#call{number}"
        if event.get("is_error"):
            reason = "rejected" if event.get("veto") else "tool"
            data = {"tool_name": event["tool"], "error": text, "reason": reason}
            yield self._event("error", number, data, parent=parent)
        else:
            data = {"tool_name": event["tool"], "result": text}
            yield self._event("tool_result", number, data, parent=parent)


def stream(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Yield the scenario's events."""
    return Recording(scenario).events()


@dataclass
class Verdict:
    """Return the numbers of the scenario's events at which the commands raised, in order."""

    critical: list[int] = field(default_factory=list)
    warning: list[int] = field(default_factory=list)


def judge(scenarios: Iterable[Scenario]) -> dict[str, Verdict]:
    """Run every scenario through its commands; the verdicts by id."""
    together: dict[Pipeline, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        together[pipeline(scenario)].append(scenario)
    verdicts: dict[str, Verdict] = {}
    for stages, group in together.items():
        content = b"".join(
            json.dumps(event).encode() + b"\n" for scenario in group for event in stream(scenario)
        )
        for stage in stages:
            done = subprocess.run(
                [str(ROOT / "bin" / stage[0]), *stage[1:]],
                input=content,
                capture_output=True,
                check=True,
            )
            content = done.stdout
        verdicts |= {scenario["id"]: Verdict() for scenario in group}
        for event in map(json.loads, content.splitlines()):
            if event["event_type"] == "violation":
                number = int(event["parent_id"].rpartition("#")[2].removeprefix("call"))
                verdict = verdicts[event["parent_id"].rpartition("#")[0]]
                (
                    verdict.critical if event["data"]["level"] == "critical" else verdict.warning
                ).append(number)
    return verdicts


def disagreement(scenario: Scenario, verdict: Verdict) -> str:
    """In what the verdict is not the one expected, "" where it is."""
    expected = scenario["expected"]
    warns = "warn" in scenario["config"]
    if not expected["stuck"]:
        if verdict.critical or (verdict.warning and warns):
            return f"stuck at {verdict.critical or verdict.warning}, expected not to be"
    elif expected.get("level") == "warning":
        if verdict.critical or not verdict.warning:
            return f"{'more than' if verdict.critical else 'not even'} a warning"
    elif not verdict.critical:
        return "not stuck, expected to be"
    if expected.get("fires_at") and verdict.critical[:1] != expected["fires_at"][:1]:
        return f"stuck at {verdict.critical}, expected at {expected['fires_at']}"
    by_turn = expected.get("verdict_per_turn", [])
    if "hard" in by_turn and len(by_turn) > 1:
        turns = [event.get("turn") for event in scenario["events"]]
        # A turn that is judged before its results is judged by the results of the turn before.
        if turns[verdict.critical[0]] not in (by_turn.index("hard"), by_turn.index("hard") + 1):
            return f"stuck in turn {turns[verdict.critical[0]]}, expected in {by_turn.index('hard') + 1}"
    for told in ("nudge_at", "soft_at"):
        if told in expected and verdict.warning[:1] != expected[told][:1]:
            return f"warned of at {verdict.warning}, expected at {expected[told]}"
    return ""


def main(arguments: list[str]) -> int:
    verbose = "-v" in arguments
    files = [argument for argument in arguments if not argument.startswith("-")]
    if len(files) != 1:
        print(__doc__)
        return 2
    scenarios = [
        json.loads(line) for line in Path(files[0]).read_text().splitlines() if line.strip()
    ]
    aside = {scenario["id"]: why for scenario in scenarios if (why := not_ours(scenario))}
    ours = [scenario for scenario in scenarios if scenario["id"] not in aside]
    verdicts = judge(ours)
    agreed, of, disputed = Counter[str](), Counter[str](), []
    for scenario in ours:
        why = disagreement(scenario, verdicts[scenario["id"]])
        if "disputed" in scenario["tags"]:
            disputed.append((scenario["id"], why))
            continue
        of[scenario["source"]] += 1
        agreed[scenario["source"]] += not why
        if why:
            print(f"{scenario['id']}: {why}")
    for name, why in aside.items():
        if verbose:
            print(f"{name}: not ours: {why}")
    for name, why in disputed:
        print(f"{name}: disputed: {why or 'as stated'}")
    print(
        f"\n{len(aside)} of {len(scenarios)} make sense only inside their own host, {len(disputed)} are disputed. Of the others agree:\n"
    )
    for source in sorted(of):
        print(
            f"{source:15} {agreed[source]:4} of {of[source]:4}  {100 * agreed[source] / of[source]:6.1f} %"
        )
    print(
        f"{'in all':15} {agreed.total():4} of {of.total():4}  {100 * agreed.total() / max(1, of.total()):6.1f} %"
    )
    return 0 if agreed == of else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
