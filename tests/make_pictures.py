"""Make the pictures of the README from runs of the commands: `make pictures`.

Sessions are the project's recorded examples. Each of status.svg is cut at a call, and its times are
moved to now, so that it looks as it did while it ran. Needs tmux and Chromium; what is missing is
named, and its pictures stay as they are.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path

from agent_pipes.core.display import cell_width
from tests.helpers.browser import CHROMIUM, DRIVER, Browser
from tests.helpers.support import FIXTURES, ROOT, STANDINS, run, until
from tests.helpers.terminal import terminal

PICTURES = ROOT / "man" / "pictures"

CELL_PX, LINE_PX, MARGIN_PX = 8.4, 20, 16
"""Width of a character of 14 px, height of a line, and the space around the terminal."""

STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.bg { fill: #fff; stroke: #e3e5e8 } .f { fill: #17191c } .d { fill: #7d858f } .b { font-weight: 600 }
.c31 { fill: #b83a00 } .c32 { fill: #1a7f37 } .c33 { fill: #8a6100 } .c36 { fill: #0a7285 }
@media (prefers-color-scheme: dark) {
  .bg { fill: #131416; stroke: #2b2e33 } .f { fill: #e7e8ea } .d { fill: #868e99 }
  .c31 { fill: #ff8f57 } .c32 { fill: #56d364 } .c33 { fill: #e3b341 } .c36 { fill: #56d4dd }
}
"""

_SGR = re.compile(r"\x1b\[([0-9;]*)m")


def terminal_svg(screen: str, columns: int, title: str) -> str:
    """Return a screen, with the colours of `tmux capture-pane -e`, as an SVG in both schemes."""
    lines = screen.rstrip("\n").split("\n")
    width = round(columns * CELL_PX + 2 * MARGIN_PX)
    height = len(lines) * LINE_PX + 2 * MARGIN_PX
    rows = (
        f'<text y="{MARGIN_PX + LINE_PX * number + 15}">{"".join(_spans(line))}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="bg" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>'
        + "".join(rows)
        + "</svg>\n"
    )


def _spans(line: str) -> Iterator[str]:
    """Yield the pieces of a line; each word has a place of its own, whatever the font's widths."""
    codes: set[str] = set()
    column = 0
    for at, part in enumerate(_SGR.split(line)):
        if at % 2:
            for code in part.split(";"):
                if code in ("", "0"):
                    codes.clear()
                elif code == "39":
                    codes -= {"31", "32", "33", "36"}
                else:
                    codes.add(code)
            continue
        colour = next((f"c{code}" for code in codes if code in ("31", "32", "33", "36")), "")
        kind = f"{colour or ('d' if '2' in codes else 'f')}{' b' if '1' in codes else ''}"
        for word in re.finditer(r"\S+", part):
            x = MARGIN_PX + (column + cell_width(part[: word.start()])) * CELL_PX
            yield f'<tspan class="{kind}" x="{x:g}">{escape(word[0])}</tspan>'
        column += cell_width(part)


SCENES = (
    ("looping.ndjson", "~/shop", 10, 20),
    ("spiral.ndjson", "~/billing", 5, 41),
    ("deploy.ndjson", "~/infra/live", 6, 130),
    ("codex/rollout-0.169.jsonl", "~/notes", 4, 4),
    ("spiral.ndjson", "~/shop/web", 3, 190),
    ("gemini/old.json", "~/site", 0, 1500),
    ("copilot/old.jsonl", "~/docs", 0, 5400),
)
"""Example, directory, number of calls made until now (0: all), and seconds since the last event."""

WAITING = "~/shop/web"
"""The directory of the session whose last call waits for a permission."""


def scene(number: int, file: str, directory: str, calls: int, ago_s: float) -> list[dict]:
    """Return the first calls of an example as a session of its own that is live now."""
    recorded = run("trace-tail", "--no-follow", FIXTURES / file).stdout
    found = [json.loads(line) for line in run("trace-cost", input=recorded).stdout.splitlines()]
    made = [at for at, each in enumerate(found) if each["event_type"] == "tool_call"]
    found = found[: made[calls - 1] + 1] if calls else found
    found = [each for each in found if each["event_type"] != "session_end"]
    shift = time.time() - ago_s - found[-1]["timestamp"]
    session = f"{0x4E19AAB4 * (number + 3) % 0xFFFFFFFF:08x}"
    for each in found:
        each |= {"timestamp": each["timestamp"] + shift, "session_id": session}
        each["event_id"] = f"{session}-{each.get('event_id')}"
        if parent := each.get("parent_id"):
            each["parent_id"] = f"{session}-{parent}"
        if each["event_type"] == "session_start":
            each["data"]["cwd"] = directory.replace("~", "/home/dev")
    if directory == WAITING:
        found.append({**found[-1], "event_type": "waiting", "data": {"for": "permission"}})
    return [*found, {**found[-1], "event_type": "history_end", "event_id": "", "data": {}}]


def status_picture(folder: Path) -> None:
    """Draw trace-status --all in a terminal of 120 columns."""
    events = [each for number, each in enumerate(SCENES) for each in scene(number, *each)]
    lines = "".join(json.dumps(each) + "\n" for each in events)
    (folder / "events").write_text(lines)
    script = (
        "(cat events; sleep 60) | trace-detect-loop | trace-status --all"
        " --limit cost=10 --limit duration=30m --limit stall=10m --limit retry=5 >/dev/null"
    )
    with terminal(folder, 120, 20, script, HOME="/home/dev", NO_COLOR="") as pane:
        pane.shows(f"{len(SCENES)} sessions")
        until(lambda: "tripped" in pane.screen(), what="a tripped session")
        screen = pane.screen(colours=True)
    title = "trace-status --all: a table of live sessions, the tripped one first"
    (PICTURES / "status.svg").write_text(terminal_svg(screen, 120, title))


WATCH = (
    """agent-strace watch --max-retries 3 --on-violation kill -- claude -p 'fix the failing test'"""
)


def watch_picture(folder: Path) -> None:
    """Let watch kill the stand-in agent of `make demo`, in a terminal of 130 columns."""
    agent = folder / "bin" / "claude"
    agent.parent.mkdir()
    (folder / "home" / "proj").mkdir(parents=True)
    agent.write_text(
        f"#!/bin/sh\nexec {sys.executable} {STANDINS / 'claude'} --pause 2 >/dev/null\n"
    )
    agent.chmod(0o755)
    home = folder / "home"
    script = (
        f"cd {home}/proj; export PATH={agent.parent}:$PATH\n"
        f"printf '%s\\n' \"$ $WATCH\"; sh -c \"$WATCH\"; s=$?; echo '$ echo $?'; echo $s"
    )
    config = {"CLAUDE_CONFIG_DIR": str(home / "claude"), "WATCH": WATCH}
    with terminal(folder, 130, 20, script, HOME=str(home), NO_COLOR="", **config) as pane:
        pane.shows("DONE")
        screen = pane.screen(colours=True).partition("DONE")[0].rstrip()
    title = "agent-strace watch kills an agent that repeats a failing command"
    (PICTURES / "watch.svg").write_text(terminal_svg(screen, 130, title))


def report_picture(folder: Path) -> None:
    """Show the page of the example that goes in circles, down to its rounds."""
    events = (FIXTURES / "looping.ndjson").read_bytes()
    for name in ("trace-cost", "trace-detect-loop", "trace-detect-retry", "trace-report"):
        events = run(name, input=events).stdout
    page = folder / "page.html"
    page.write_bytes(events)
    with Browser(folder, 1200) as browser:
        browser.open(page)
        bottom = browser.script(
            "return document.querySelector('.key').getBoundingClientRect().bottom"
        )
        (PICTURES / "report.webp").write_bytes(browser.screenshot(1200, round(bottom) + 40))


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for needed, draw in (
            (shutil.which("tmux"), watch_picture),
            (shutil.which("tmux"), status_picture),
            (CHROMIUM and DRIVER, report_picture),
        ):
            if needed:
                draw(Path(name))
            else:
                print(f"{draw.__name__}: skipped, what it needs is not installed", file=sys.stderr)
    subprocess.run(["ls", "-l", PICTURES], check=True)


if __name__ == "__main__":
    main()
