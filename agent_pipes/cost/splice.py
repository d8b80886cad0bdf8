"""Adding a key to an event's `data` while the rest of its line stays as it is, byte for byte."""

import json

import orjson

from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern


def spliced(raw: bytes, data: Fields, key: str, value: Fields) -> bytes:
    """Return the line `raw` with `value` under `key` of its `data`, replacing what is there.

    data: the line's `data`, parsed. Raises RecursionError if the line is nested too deeply.
    """
    added = orjson.dumps(value)
    try:
        before = orjson.dumps(data)
    except (TypeError, ValueError):
        before = b""
    if key not in data and len(before) > 2 and raw.endswith(b',"data":' + before + b"}\n"):
        return b'%b,"%b":%b}}\n' % (raw[:-3], key.encode(), added)
    text = raw.decode(errors="surrogateescape")
    begin, end = _position(text)
    if key in data:
        inside = json.dumps({**data, key: value}, separators=(",", ":"))
    else:
        comma = "," if data else ""
        inside = f'{text[begin : end - 1]}{comma}"{key}":{added.decode()}' + "}"
    return f"{text[:begin]}{inside}{text[end:]}".encode(errors="surrogateescape")


_SEPARATORS = pattern(r"[\s,:]*")


def _position(text: str) -> tuple[int, int]:
    """Return begin and end of the value of the last key `data` in the JSON object `text`."""
    decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
    at = text.index("{") + 1
    found = (0, 0)
    while text[at := _skip_separators(text, at)] == '"':
        key, at = decoder.raw_decode(text, at)
        begin = _skip_separators(text, at)
        _, at = decoder.raw_decode(text, begin)
        if key == "data":
            found = begin, at
    return found


def _skip_separators(text: str, at: int) -> int:
    match = _SEPARATORS.match(text, at)
    return match.end() if match else at
