"""Corpus of the benchmarks: the recorded sessions, repeated with other ids, as a home directory.

In a checkout without the recorded sessions the examples of the package are repeated.

python tests/bench/corpus.py HOME [MEGABYTES]
"""

import os
import re
import sys
import uuid
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("AGENT_PIPES_SHARED") or ROOT.parent / "shared")
EXAMPLES = ROOT / "agent_pipes" / "data" / "examples"
DEFAULT_MB = 250.0

SESSION_ID = {
    "claude-code": rb'"sessionId":"([^"]+)"',
    "codex": rb'"type":"session_meta","payload":\{"id":"([^"]+)"',
}
ID_KEYS = (b'"id":"msg_', b'"requestId":"req_', b'"uuid":"', b'"parentUuid":"', b'"turn_id":"')
"""Keys whose ids must differ from copy to copy, so that no copy is taken for another's."""


def build(home: Path, megabytes: float = DEFAULT_MB, times: int = 1) -> int:
    """Fill `home` with equal parts of Claude Code and Codex sessions; return the bytes written.

    Every session has as many copies as another of its agent, about as many as make `megabytes`,
    and `times` as many of that: only the number of sessions differs between two such homes.
    """
    return sum(
        _repeat(home, agent, megabytes * 1e6 / len(SESSION_ID), times) for agent in SESSION_ID
    )


def _originals(agent: str) -> list[Path]:
    """Return the recorded sessions of an agent, or its examples."""
    folder = SHARED / "sessions" / agent
    if not folder.is_dir():
        folder = EXAMPLES / agent.removesuffix("-code")
    # Some of the examples are output of a client, no session's file.
    files = sorted(folder.rglob("*.jsonl"))
    return [each for each in files if re.search(SESSION_ID[agent], each.read_bytes())]


def _repeat(home: Path, agent: str, size: float, times: int) -> int:
    originals = _originals(agent)
    copies = max(1, round(size / sum(each.stat().st_size for each in originals))) * times
    written = 0
    for copy, path in product(range(copies), originals):
        content = _with_other_ids(path.read_bytes(), copy)
        session = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name}/{copy}"))
        for old in set(re.findall(SESSION_ID[agent], content)):
            content = content.replace(old, session.encode())
        target = _target(home, agent, session, copy)
        target.parent.mkdir(parents=True, exist_ok=True)
        written += target.write_bytes(content)
    return written


def _target(home: Path, agent: str, session: str, copy: int) -> Path:
    if agent == "codex":
        day = home / ".codex" / "sessions" / "2026" / "05" / f"{copy % 28 + 1:02d}"
        return day / f"rollout-2026-05-01T00-00-00-{session}.jsonl"
    return home / ".claude" / "projects" / f"-home-ann-project{copy % 50}" / f"{session}.jsonl"


def _with_other_ids(content: bytes, copy: int) -> bytes:
    for key in ID_KEYS:
        content = content.replace(key, key + b"%d" % copy)
    return re.sub(rb'("timestamp":"[^"]{19}\.)\d\d', rb"\g<1>%02d" % (copy % 100), content)


if __name__ == "__main__":
    megabytes = float(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_MB
    print(f"{build(Path(sys.argv[1]), megabytes) / 1e6:.0f} MB in {sys.argv[1]}")
