"""Each of the 48 kinds of bad input that a breaker meets has its test, which is named here."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

ROWS: dict[str, tuple[str, ...]] = {
    "1 an empty line, spaces": ("test_bad_input: an empty line", "test_bad_input: spaces"),
    "2 truncated JSON": ("test_bad_input: truncated",),
    "3 two objects on one line, one torn": (
        "test_a_second_object_on_a_line_is_said",
        "test_two_objects_on_one_line_both_come_out",
        "test_bad_input: two objects, the second one torn",
    ),
    "4 a byte-order mark": ("test_bad_input: a byte-order mark",),
    "5 UTF-16": ("test_bad_input: utf-16", "test_what_is_no_session_is_refused_by_name"),
    "6 invalid UTF-8 in a string": ("test_bad_input: invalid UTF-8 in a string",),
    "7 a lone surrogate": ("test_bad_input: a lone surrogate",),
    "8 NULs before the object": ("test_bad_input: NULs where a sparse file has a hole",),
    "9 a raw control character in a string": (
        "test_bad_input: a raw control character in a string",
    ),
    "10 NaN, Infinity": ("test_bad_input: NaN", "test_bad_input: Infinity"),
    "11 1e999, numbers of thousands of digits": (
        "test_bad_input: 1e999",
        "test_a_number_of_a_million_digits_stops_nothing",
    ),
    "12 2^64": ("test_bad_input: 2^64", "test_a_count_of_tokens_that_is_none_refills_no_budget"),
    "13 nested deeper than any parser goes": (
        "test_bad_input: nested 100,000 deep",
        "test_bad_input: an unclosed array 100,000 deep",
    ),
    "14 nested deeper than orjson writes": (
        "test_bad_input: nested 250 deep",
        "test_bad_input: nested 900 deep",
    ),
    "15 a key twice": (
        "test_bad_input: duplicate keys",
        "test_an_escaped_or_repeated_key_does_not_smuggle_one_in",
    ),
    "16 a scalar, null, an array": (
        "test_bad_input: null",
        "test_bad_input: a string",
        "test_bad_input: an array",
        "test_bad_input: true",
    ),
    "17 tokens that are no count": ("test_a_count_of_tokens_that_is_none_refills_no_budget",),
    "18 a line of 100 MB": (
        "test_a_line_of_100_mb_is_said_with_its_length_and_skipped_and_the_next_is_read",
        "test_a_line_longer_than_any_is_passed_on_in_parts_and_said",
    ),
    "19 no type": ("test_bad_input: no type", "test_bad_input: an empty object"),
    "20 an unknown type, unknown fields": ("test_bad_input: an unknown type and unknown fields",),
    "21 a later version of the vocabulary": (
        "test_a_version_that_is_not_ours_is_read_as_far_as_it_is_known",
    ),
    "22 sequence numbers with gaps, repeated, backwards": (
        "test_sequence_numbers_of_others_change_nothing",
    ),
    "23 the session's id changes within the file": (
        "test_each_session_has_a_state_of_its_own",
        "test_bad_input: another session's event",
    ),
    "24 a time that is absent, absurd, ahead, backwards": (
        "test_bad_input: no time",
        "test_bad_input: a time in the year 9999",
        "test_bad_input: a time before 1970",
        "test_bad_input: a clock that jumps years",
    ),
    "25 a time without its zone": ("test_bad_input: a time that is a naive local date",),
    "26 a result without its call, or twice": (
        "test_bad_input: a result without its call",
        "test_bad_input: the same result twice",
    ),
    "27 events after the session's end": (
        "test_events_after_the_end_of_a_session_are_a_session_again",
    ),
    "28 our own events in a text": (
        "test_bad_input: our own kill in a text",
        "test_events_in_our_name_that_are_forged_under_a_live_watch_end_nobody_and_stop_nothing",
    ),
    "29 escape sequences, direction marks": (
        "test_nothing_that_is_said_makes_a_terminal_obey",
        "test_a_table_on_a_terminal_shows_and_sends_nothing",
    ),
    "30 keys without number in a detector": (
        "test_very_many_distinct_commands_take_bounded_memory",
        "test_very_many_sessions_take_bounded_memory_and_it_is_said_once",
    ),
    "31 a binary, compressed file": (
        "test_what_is_no_session_is_refused_by_name",
        "test_bad_input: gzip",
    ),
    "32 a directory, a device, a FIFO": ("test_what_is_no_session_is_refused_by_name",),
    "33 a file that may not be read": ("test_permission_to_read_that_comes_later_is_waited_for",),
    "34 numbers that are no agent's": (
        "test_a_number_that_is_no_agents_stops_the_start",
        "test_numbers_that_are_no_agent_are_refused",
        "test_a_threads_number_is_refused",
    ),
    "35 a policy with an unknown key": (
        "test_bad_input: an unknown key",
        "test_bad_input: an unknown key below",
    ),
    "36 a limit that is none": (
        "test_a_limit_that_is_none_stops_the_start",
        "test_what_it_cannot_mean_stops_the_start",
    ),
    "37 a policy without a rule": ("test_bad_input: empty", "test_bad_input: nothing to enforce"),
    "38 a pattern that is none": (
        "test_what_is_no_path_pattern",
        "test_a_bad_policy_is_refused_with_file_key_and_what_was_expected",
    ),
    "39 a pattern that would take for ever": (
        "test_a_pattern_that_would_take_a_matcher_for_ever_takes_this_one_no_time",
    ),
    "40 a key twice in a policy": ("test_bad_input: a key twice",),
    "41 a policy that changes while it is kept to": (
        "test_orders_that_change_while_it_runs_are_said_and_change_nothing",
    ),
    "42 a policy that others, or the agent, may write": (
        "test_a_config_that_other_users_may_write_is_warned_of",
        "test_a_policy_that_other_users_may_write_is_warned_of",
        "test_orders_that_lie_where_the_agent_may_write_are_warned_of",
    ),
    "43 durations": ("test_durations", "test_a_limit_that_is_none_stops_the_start"),
    "44 a URL that cannot be used": ("test_a_url_that_is_none_stops_the_start_and_is_not_echoed",),
    "45 a URL that is empty": (
        "test_a_webhook_without_a_url_stops_the_start",
        "test_a_url_that_is_none_stops_the_start_and_is_not_echoed",
    ),
    "46 a terminal on standard input": (
        "test_a_terminal_on_standard_input_is_refused_with_a_hint",
    ),
    "47 standard output closed, full": (
        "test_a_closed_standard_output_is_refused_at_the_start",
        "test_a_full_disk_is_an_error_not_a_traceback",
    ),
    "48 surroundings": (
        "test_the_surroundings_do_not_matter",
        "test_a_directory_that_is_gone_stops_no_filter",
        "test_the_umask_opens_no_alert_file",
        "test_with_few_file_descriptors_it_works_or_says_that_it_does_not",
        "test_a_clock_that_is_wrong_keeps_no_violation_from_ending_the_agent",
        "test_a_clock_at_1970_makes_no_limit_of_time_pass_at_once",
    ),
}


def names() -> set[str]:
    """The tests there are, and the rows of the tables in them, as `module: row`."""
    found = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Dict):
                found.update(
                    f"{path.stem}: {key.value}"
                    for key in node.keys
                    if isinstance(key, ast.Constant)
                )
    return found


NAMES = names()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_test(row):
    assert ROWS[row] and set(ROWS[row]) <= NAMES


def test_no_row_is_left_out():
    assert [int(row.split()[0]) for row in ROWS] == list(range(1, 49))
