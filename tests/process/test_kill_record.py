"""The record of kills: private, bounded, one session's part of it."""

import stat

from agent_pipes.core.event import make
from agent_pipes.process import kill_record

NOW = 1_800_000_000.0


def test_a_session_gets_its_own_kills_and_their_violations(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for session in ("one", "two"):
        violation = make("violation", NOW, session, {"watcher": "retry"})
        kill = make("kill", NOW + 1, session, {"outcome": "killed"}, parent=violation.id)
        kill_record.record_kill(kill, violation)
    found = kill_record.recorded_kills("two")
    assert [(each.type, each.session) for each in found] == [("violation", "two"), ("kill", "two")]
    assert kill_record.recorded_kills("three") == []
    file = tmp_path / "agent-pipes" / "killed.ndjson"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(file.read_bytes() + b'{"cut off')
    assert len(kill_record.recorded_kills("two")) == 2


def test_the_record_is_bounded_and_keeps_the_newest(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(kill_record, "MAX_FILE_BYTES", 1000)
    for number in range(100):
        kill_record.record_kill(make("kill", NOW, str(number), {"outcome": "killed"}), None)
    size = sum(file.stat().st_size for file in (tmp_path / "agent-pipes").iterdir())
    assert size < 2500 and kill_record.recorded_kills("99")
    assert not kill_record.recorded_kills("0")
