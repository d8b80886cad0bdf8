"""Kiro: a conversation is refused."""

import json

from tests.helpers.support import run

KIRO = {
    "conversation_id": "c1",
    "history": [{"user": {"content": {"Prompt": {"prompt": "make a file"}}}}],
}


def test_conversation_is_refused(tmp_path):
    path = tmp_path / "kiro.json"
    path.write_text(json.dumps(KIRO))
    done = run("trace-tail", "--no-follow", path)
    assert done.returncode == 2
    assert b"Kiro" in done.stderr and done.stdout == b""
