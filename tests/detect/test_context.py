"""trace-detect-context: the model's context window is nearly full."""

from agent_pipes.detect.context import detect_context
from tests.helpers.detecting import raised
from tests.helpers.support import Stream, run, violations


def responses(*inputs: int, window: int = 100_000, **data: object) -> Stream:
    stream = Stream()
    for tokens in inputs:
        usage = {"input_tokens": tokens, "output_tokens": 1000}
        about = {"context_window": window} if window else {}
        stream.add("llm_response", {"model": "m", "usage": usage, **about, **data})
    return stream


def test_a_nearly_full_window_is_a_warning_and_never_more():
    assert not raised(detect_context, responses(10_000, 50_000, 78_000))
    [found] = raised(detect_context, responses(10_000, 79_000, 85_000, 99_000))
    assert found["message"] == "context window 80% full (threshold: 80%)"
    assert (found["level"], found["value"], found["limit"]) == ("warning", 0.8, 0.8)
    assert found["behind"] == 1


def test_through_the_command():
    done = run("trace-detect-context", "--max", "50%", input=responses(60_000).bytes)
    assert violations(done.stdout)[0]["watcher"] == "context"


def test_after_a_compaction_it_is_raised_anew():
    stream = responses(90_000)
    stream.add("compaction", {"trigger": "auto"})
    stream.events += responses(20_000).events
    assert len(raised(detect_context, stream)) == 1
    stream.events += responses(90_000).events
    assert len(raised(detect_context, stream)) == 2


def test_each_subagent_has_a_window_of_its_own():
    stream = responses(50_000)
    stream.events += responses(90_000, agent_id="a1").events
    stream.events += responses(90_000, agent_id="a2").events
    assert len(raised(detect_context, stream)) == 2


def test_an_unknown_window_is_reported_once_and_can_be_named():
    stream = responses(150_000, 160_000, 170_000, 180_000, window=0)
    [found] = raised(detect_context, stream)
    assert "is not watched; pass --window" in found["message"]
    [found] = raised(detect_context, stream, window=200_000)
    assert found["value"] == 0.805
    assert not raised(detect_context, responses(1, 1, window=0))


def test_off():
    assert not raised(detect_context, responses(99_000, 99_000, 99_000), max=0)
    assert not raised(detect_context, responses(1, 1, 1, 1, window=0), max=0)


def test_a_bad_option_stops_the_start():
    done = run("trace-detect-context", "--max", "180%")
    assert done.returncode == 2 and b"expected a percentage" in done.stderr
