"""make demo: a stand-in agent, a process that writes a session, spirals; the breaker ends it."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WATCH = [
    "agent-strace",
    "watch",
    "--max-retries",
    "3",
    "--on-violation",
    "kill",
    "--",
    "claude",
    "-p",
    "fix the failing test",
]


def step(text: str) -> None:
    print(
        f"\n\033[1m{text}\033[0m"
        if sys.stdout.isatty() and "NO_COLOR" not in os.environ
        else f"\n{text}",
        flush=True,
    )


def running(marker: str) -> list[str]:
    """The processes of the demo that live, by a word on their command lines."""
    done = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True)
    return [
        line.strip()
        for line in done.stdout.splitlines()
        if marker in line and " Z" not in line and "tests/demo.py" not in line
    ]


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="agent-pipes-demo-"))
    try:
        return demonstrate(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def demonstrate(home: Path) -> int:
    project = home / "project"
    project.mkdir()
    agent = home / "claude"
    agent.write_text(
        f'#!{sys.executable}\nimport runpy, sys\nsys.argv = ["claude", "--pause", "2"]\nrunpy.run_path({str(ROOT / "tests/standin/claude")!r}, run_name="__main__")\n'
    )
    agent.chmod(0o755)
    path = os.pathsep.join([str(home), str(ROOT / "bin"), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": path,
        "CLAUDE_CONFIG_DIR": str(home / "config"),
        "CODEX_HOME": str(home / "codex"),
        "HOME": str(home),
    }
    environment.pop("PYTHONUNBUFFERED", None)

    step(
        "An agent is asked to fix a failing test. It runs the test again and again, and changes nothing."
    )
    print(f"$ {shlex.join(WATCH)}", flush=True)
    began = time.monotonic()
    done = subprocess.run(WATCH, cwd=project, env=environment, timeout=50)
    took = time.monotonic() - began
    print(f"$ echo $?\n{done.returncode}")

    left = running(str(home))
    step("Processes of the agent that are left:")
    print("\n".join(left) or "nothing")
    if done.returncode != 124 or left:
        print(
            f"\nThis is not what should have happened: expected exit status 124 and nothing left, got {done.returncode}."
        )
        return 1

    (transcript,) = (home / "config" / "projects").glob("*/*.jsonl")
    step("The same limits, tried on what was recorded, in the shell's words:")
    tried = f"trace-tail --no-follow {transcript.name} | trace-detect-retry --max 3 | jq 'select(.event_type == \"violation\").data.message'"
    print(f"$ {tried if shutil.which('jq') else tried.partition(' | jq')[0]}", flush=True)
    words = f"trace-tail --no-follow {shlex.quote(str(transcript))} | trace-detect-retry --max 3 | grep violation"
    subprocess.run(
        [
            "sh",
            "-c",
            words.replace(
                "grep violation", "jq 'select(.event_type == \"violation\").data.message'"
            )
            if shutil.which("jq")
            else words,
        ],
        env=environment,
    )

    program = shlex.quote(str(ROOT / "bin/agent-strace"))
    step(f"It took {took:.0f} seconds. Now beside an agent of your own, in its directory:")
    print(f"$ {program} …")
    print("  watch                        reports every limit that is exceeded")
    print("  watch --on-violation kill    and kills the agent")
    print("  watch --explain              the same as a pipeline")
    print("  man                          the man pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
