"""Cases as a hidden set of reports would have them, in the agents' own formats, and what is wanted.

    python tests/judged.py OUT

writes each case to OUT as a session file, with an `expected.ndjson`, so that the `score` of
../shared/cases/reports runs them, too. They are made from three tables in tests/cases:

    tools.ndjson   test, build and lint tools: what they print when they fail, and when they pass;
    polls.ndjson   commands that ask how far something has come;
    judged.ndjson  all other troubles, and healthy work that looks like them.

`{n}` in a text is the number of the round, `{w}` a word that differs in each, `{d}` a number that
falls; a list in the place of a text has one for each round.
"""

import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.helpers import native  # noqa: E402

CASES = ROOT / "tests" / "cases"
WORDS = [
    "alpha",
    "bravo",
    "carrot",
    "delta",
    "eagle",
    "forest",
    "garden",
    "harbor",
    "island",
    "jungle",
    "kettle",
    "lemon",
]

Steps = list[Any]


class Case(NamedTuple):
    """A session, and by which call which level of violation is wanted; by 0: none above a warning."""

    name: str
    agent: str
    steps: Steps
    by: int = 0
    level: str = "critical"


def rows(name: str) -> list[dict[str, Any]]:
    lines = (CASES / f"{name}.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines]


def filled(value: Any, n: int) -> Any:
    """Return a step's value in round `n`, counted from 1."""
    if isinstance(value, str):
        word = WORDS[n % len(WORDS)] + WORDS[n // len(WORDS) % len(WORDS)]
        return value.replace("{n}", str(n)).replace("{w}", word).replace("{d}", str(40 - n))
    if isinstance(value, list):
        return filled(value[(n - 1) % len(value)], n)
    if isinstance(value, dict):
        return {key: filled(each, n) for key, each in value.items()}
    return value


def made(step: Any, n: int) -> Any:
    """Return a step of a row: `[kind, text, result, {more}]`, or `{"parallel": [steps]}`."""
    if isinstance(step, dict):
        return [made(each, n) for each in step["parallel"]]
    kind, *texts = step
    more = filled(texts.pop(), n) if isinstance(texts[-1], dict) else {}
    if repeated := more.pop("times", 0):
        texts = [text * repeated for text in texts]
    text, result = [*(filled(each, n) for each in texts), "", ""][:2]
    if kind == "edit" and "new" not in more:
        more["new"] = f"return {n}"
    names = {"new", "content"} & more.keys()
    arguments = {**more.pop("arguments", {}), **{name: more.pop(name) for name in names}}
    return native.Step(kind, text, result, arguments=arguments, **more)


def session(row: dict[str, Any]) -> Steps:
    steps = [native.prompt("do what the issue says")]
    steps += [made(step, 1) for step in row.get("before", [])]
    for n in range(1, row["rounds"] + 1):
        steps += [made(step, n) for step in row["round"]]
    return steps + [made(step, 1) for step in row.get("after", [])]


def of_tools(agents: Iterator[str]) -> Iterator[Case]:
    """Yield read, edit, failing test; and the same where each failure is mended."""
    for row in rows("tools"):
        file, command = row["file"], row["command"]
        work = [["read", file, "v{n}"], ["edit", file]]
        fail, pass_ = (
            [["shell", command, row[key]]] if key in row else [] for key in ("failing", "passing")
        )
        looped = session({"rounds": 4, "round": work + fail})
        yield Case(f"tool-{row['tool']}", next(agents), looped, 12)
        if pass_:
            mended = session({"rounds": 6, "round": fail + work + pass_})
            yield Case(f"tool-{row['tool']}-mended", next(agents), mended)


def of_polls(agents: Iterator[str]) -> Iterator[Case]:
    """Yield nine looks at 30 to 40 s, in the forms in which agents wait; and the same in a hurry."""
    for row in rows("polls"):
        command, output = row["command"], row["output"]
        look = ["shell", command, output, {"after": 39}]
        forms = {
            "slow": [look],
            "sleep": [["shell", "sleep 30", "", {"took": 30}], ["shell", command, output]],
            "joined": [["shell", f"sleep 30 && {command}", output, {"took": 31}]],
        }
        if "status" in row:
            plain = command.split(" ||")[0].split(" &&")[0]
            forms["status"] = [["shell", plain, output, {"code": row["status"], "after": 39}]]
        for form, steps in forms.items():
            waits = session({"rounds": 9, "round": steps, "after": [["say", "It is up."]]})
            yield Case(f"poll-{form}-{command[:30]}", next(agents), waits)
        hurried = session({"rounds": 12, "round": [["shell", command, output, {"after": 1}]]})
        yield Case(f"poll-fast-{command[:30]}", next(agents), hurried, 12)


def cases() -> list[Case]:
    """Return all cases: each agent's format gets every seventh of those that are for any."""
    agents = cycle(native.WRITERS)
    found = [*of_tools(agents), *of_polls(agents)]
    for row in rows("judged"):
        for agent in row["agents"].split() if "agents" in row else [next(agents) for _ in range(2)]:
            found.append(
                Case(
                    row["case"], agent, session(row), row.get("by", 0), row.get("level", "critical")
                )
            )
    return found


def main(arguments: list[str]) -> int:
    """Write all cases."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "expected.ndjson").open("w") as expected:
        for number, case in enumerate(cases()):
            name = f"{number:04}-{case.agent}.jsonl"
            lines = native.session(case.agent, case.steps)
            (out / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
            wanted = [{"watcher": "loop", "by_call": case.by}] if case.by else []
            row = {"file": name, "options": "", "expect": wanted, "why": case.name}
            expected.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
