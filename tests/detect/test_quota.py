"""trace-detect-quota: the quota of the subscription is nearly used up."""

from agent_pipes.detect.quota import detect_quota
from tests.helpers.detecting import raised
from tests.helpers.support import START, Stream, run, violations

HOUR_S = 3600


def used(*percents: float, every: float = 600, resets: float = START + 4 * HOUR_S) -> Stream:
    stream = Stream()
    for percent in percents:
        data = {"limit": "primary", "used_percent": percent, "window_minutes": 300}
        stream.add("quota", {**data, "resets_at": resets}, after=every)
    return stream


def test_a_quota_nearly_used_is_a_warning_with_when_it_ends():
    assert not raised(detect_quota, used(10, 50, 89))
    [found] = raised(detect_quota, used(70, 80, 90, 95))
    assert found["message"] == (
        "90% of the 5h quota used (threshold: 90%); "
        "used up at 15:34 UTC at the present rate; resets at 18:54 UTC"
    )
    assert (found["level"], found["value"], found["limit"]) == ("warning", 90, 90)
    assert found["resets_at"] == START + 4 * HOUR_S


def test_through_the_command():
    done = run("trace-detect-quota", "--max", "50%", input=used(60).bytes)
    [found] = violations(done.stdout)
    assert found["watcher"] == "quota" and found["message"].endswith("resets at 18:54 UTC")


def test_a_quota_that_lasts_until_it_resets():
    [found] = raised(detect_quota, used(89, 89.5, 90, resets=START + HOUR_S))
    assert "it lasts until its reset" in found["message"]


def test_after_the_reset_it_is_raised_anew():
    stream = used(95)
    stream.events += used(5, 95, resets=START + 9 * HOUR_S).events
    assert len(raised(detect_quota, stream)) == 2


def test_a_reset_that_is_told_a_second_later_is_the_same():
    stream = used(95)
    stream.events += used(96, resets=START + 4 * HOUR_S + 1).events
    assert len(raised(detect_quota, stream)) == 1


def test_windows_are_told_apart():
    stream = Stream()
    for limit, percent, minutes in (("primary", 95, 300), ("secondary", 97, 10_080)):
        data = {"limit": limit, "used_percent": percent, "window_minutes": minutes}
        stream.add("quota", data)
    messages = [each["message"] for each in raised(detect_quota, stream)]
    assert messages == [
        "95% of the 5h quota used (threshold: 90%)",
        "97% of the 7d quota used (threshold: 90%)",
    ]


def test_off():
    assert not raised(detect_quota, used(99), max=0)
