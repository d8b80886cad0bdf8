"""The config file: each key has its effect; a wrong one stops the start, with file and key."""

import json

import pytest

from tests.helpers.support import FIXTURES, run, violations

EXAMPLE = {
    "watchers": {
        "retry": {"max": 3, "alert": "terminal"},
        "cost": {"max_dollars": 5.0, "alert": "terminal"},
        "scope": {"policy": ".agent-scope.json", "alert": "kill"},
        "duration": {"max_minutes": 15, "alert": "terminal"},
        "loop": {"sequence_length": 3, "max_repeats": 3, "alert": "file"},
    },
    "webhook": {"url": "https://hooks.slack.com/services/SECRET", "events": ["cost", "scope"]},
}


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".agent-scope.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')


def explained(config: object, *flags: str) -> list[str]:
    with open(".agent-watch.json", "w") as file:
        file.write(config if isinstance(config, str) else json.dumps(config))
    done = run("agent-strace", "watch", *flags, "--explain")
    assert done.returncode == 0, done.stderr
    return [line.strip(" |") for line in done.stdout.decode().splitlines()]


def refused(config: object) -> str:
    with open(".agent-watch.json", "wb") as file:
        file.write(
            config
            if isinstance(config, bytes)
            else config.encode()
            if isinstance(config, str)
            else json.dumps(config).encode()
        )
    done = run("agent-strace", "watch", "--no-follow", FIXTURES / "spiral.ndjson")
    assert done.returncode == 2 and done.stdout == b"", done.stderr
    assert (
        b".agent-watch.json" in done.stderr
        and b"Traceback" not in done.stderr
        and b"SECRET" not in done.stderr
    )
    return done.stderr.decode()


def test_config_file_loading():
    lines = explained(EXAMPLE)
    assert "trace-detect-retry --max 3 --alert terminal" in lines
    assert "trace-detect-cost --max 5 --alert terminal" in lines
    assert "trace-detect-scope --policy .agent-scope.json --alert kill" in " ".join(
        lines
    ) or "trace-detect-scope" in " ".join(lines)
    assert "trace-detect-duration --max 900 --alert terminal" in lines
    assert "trace-detect-loop --alert file" in lines
    assert any(line.startswith("trace-kill") for line in lines)


def test_the_secret_url_is_not_in_the_explanation():
    assert "SECRET" not in " ".join(
        explained(EXAMPLE)
    ) and '--webhook "$AGENT_PIPES_WEBHOOK"' in " ".join(explained(EXAMPLE))


def test_the_file_is_read_by_itself_and_named():
    with open(".agent-watch.json", "w") as file:
        json.dump({"watchers": {"retry": {"max": 3}}}, file)
    done = run("agent-strace", "watch", "--no-follow", FIXTURES / "spiral.ndjson")
    assert b".agent-watch.json" in done.stderr
    assert [
        found["limit"]
        for found in violations(done.stdout)
        if found["watcher"] == "retry" and found["level"] == "critical"
    ] == [3]


def test_flag_over_file_over_default():
    assert "trace-detect-retry --max 4 --alert terminal" in explained(EXAMPLE, "--max-retries", "4")
    assert "trace-detect-retry --max 3" in " ".join(explained({"watchers": {"retry": {"max": 3}}}))
    assert "trace-detect-retry" in explained({"watchers": {}})


def test_a_flag_for_what_becomes_of_violations_goes_before_the_file():
    lines = explained(EXAMPLE, "--on-violation", "kill")
    assert (
        "trace-detect-retry --max 3 --alert terminal --alert kill" in lines
        and "trace-detect-loop --alert file --alert kill" in lines
    )
    lines = explained(EXAMPLE, "--on-violation", "alert")
    assert not any("kill" in line for line in lines)
    assert "trace-detect-loop --alert webhook" in explained(EXAMPLE, "--alert", "webhook")


def test_where_one_watcher_kills_the_others_do_not():
    lines = explained({"watchers": {"scope": {"alert": "kill"}}})
    assert "trace-detect-retry --alert terminal" in lines and any(
        line.startswith("trace-kill") for line in lines
    )


def test_a_watcher_is_turned_off_by_false_and_by_0():
    lines = explained({"watchers": {"loop": False, "cost": True, "retry": {"max": 0}}})
    assert (
        not any("trace-detect-loop" in line for line in lines)
        and "trace-detect-cost" in lines
        and "trace-detect-retry --max 0" in lines
    )


def test_alert_may_be_a_list():
    assert "trace-detect-retry --alert terminal --alert file" in explained(
        {"watchers": {"retry": {"alert": ["terminal", "file"]}}}
    )


@pytest.mark.parametrize(
    "config, said",
    [
        ("{", "not JSON"),
        ('{"watchers": {"retry": {"max": 3},}}', ":1:"),
        ('{"watchers": {}} // limits', "not JSON"),
        ("retry:\n  max: 3\n", "not JSON"),
        ("", "not JSON"),
        ("[]", "an object"),
        ("null", "an object"),
        (b"\xff\xfe{\x00", "UTF-8"),
        ('{"watchers": {"retry": {"max": 3, "max": 9}}}', "twice"),
        ({"watcher": {}}, "did you mean 'watchers'"),
        ({"watchers": {"retries": {"max": 3}}}, "did you mean 'retry'"),
        ({"watchers": {"retry": {"maximum": 3}}}, "did you mean 'max'"),
        ({"watchers": {"cost": {"max_dolars": 3}}}, "did you mean 'max_dollars'"),
        ({"watchers": {"retry": {"max": "abc"}}}, "watchers.retry.max: expected a whole number"),
        ({"watchers": {"retry": {"max": None}}}, "watchers.retry.max: expected a whole number"),
        ({"watchers": {"retry": {"max": -1}}}, "watchers.retry.max"),
        ({"watchers": {"retry": {"max": 2.5}}}, "watchers.retry.max"),
        ({"watchers": {"retry": {"max": True}}}, "watchers.retry.max"),
        ('{"watchers": {"cost": {"max_dollars": NaN}}}', "NaN"),
        ('{"watchers": {"cost": {"max_dollars": 1e999}}}', "max_dollars"),
        ({"watchers": {"cost": {"max_dollars": "five"}}}, "expected dollars"),
        ({"watchers": {"duration": {"max_minutes": [1]}}}, "a list"),
        ({"watchers": {"retry": {"alert": "explode"}}}, "watchers.retry.alert"),
        ({"watchers": {"retry": {"alert": 7}}}, "a string or a list"),
        ({"watchers": {"retry": "off"}}, "an object, true or false"),
        ({"watchers": []}, "watchers: expected an object"),
        ({"webhook": {"url": None}}, "webhook.url"),
        ({"webhook": {"url": "SECRET"}}, "https://"),
        ({"webhook": {"uri": "https://example.invalid/SECRET"}}, "did you mean 'url'"),
        (
            {"webhook": {"url": "https://example.invalid/SECRET", "events": ["costs"]}},
            "did you mean 'cost'",
        ),
        ({"watchers": {"scope": {"policy": "missing.json"}}}, "missing.json"),
        ('{"a":' * 100_000, ""),
    ],
)
def test_what_it_cannot_mean_stops_the_start(config, said):
    text = refused(config) if "missing.json" not in said else run_missing(config)
    assert said in text, text


def run_missing(config: dict) -> str:
    with open(".agent-watch.json", "w") as file:
        json.dump(config, file)
    done = run("agent-strace", "watch", "--no-follow", FIXTURES / "spiral.ndjson")
    assert done.returncode == 2 and done.stdout == b""
    return done.stderr.decode()


def test_a_file_that_was_named_must_be_there():
    done = run("agent-strace", "watch", "--config", "nowhere.json", "--explain")
    assert done.returncode == 2 and b"nowhere.json" in done.stderr


def test_a_byte_order_mark_is_no_error():
    with open(".agent-watch.json", "wb") as file:
        file.write(b'\xef\xbb\xbf{"watchers": {"retry": {"max": 3}}}')
    assert b"--max 3" in run("agent-strace", "watch", "--explain").stdout


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90", 90),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("off", 0),
        ("0", 0),
        ("1d", 86400),
        ("1.5h", 5400),
    ],
)
def test_durations(text, seconds):
    lines = run("agent-strace", "watch", "--max-duration", text, "--explain").stdout.decode()
    assert f"trace-detect-duration --max {seconds}" in lines


@pytest.mark.parametrize(
    "flag, value",
    [("--max-duration", v) for v in ("5x", "-1s", "1e9d", "", "1h-5m", "NaN", "٣")]
    + [("--max-cost", v) for v in ("-1", "5$", "NaN", "inf", "five")]
    + [("--max-retries", v) for v in ("-1", "1.5", "many")],
)
def test_a_limit_that_is_none_stops_the_start(flag, value):
    done = run("agent-strace", "watch", f"{flag}={value}", "--explain")
    assert done.returncode == 2 and b"expected" in done.stderr


@pytest.mark.parametrize("text", ["5", "$5", "5.00", "5."])
def test_dollars(text):
    assert (
        b"trace-detect-cost --max 5 "
        in run("agent-strace", "watch", "--max-cost", text, "--explain").stdout
    )
