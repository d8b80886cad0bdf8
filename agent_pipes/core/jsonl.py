"""Reads and writes JSON objects on lines, including what agents write that is no strict JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

Fields = dict[str, Any]
"""A JSON object."""


def dumps(fields: Mapping[str, Any]) -> bytes:
    """Return `fields` as compact JSON, whatever an agent has put into them."""
    try:
        return orjson.dumps(fields)
    except (TypeError, ValueError, RecursionError):
        # Agents write what orjson refuses: lone surrogates, integers beyond 64 bits, nesting
        # beyond 254 levels.
        import json

        try:
            return json.dumps(fields, separators=(",", ":"), default=str).encode()
        except RecursionError:
            flat = {
                key: value
                if isinstance(value, (str, int, float))
                else {"unreadable": "nested too deep"}
                for key, value in fields.items()
            }
            return orjson.dumps(flat)


def canonical(value: Any) -> bytes:
    """Return `value` as JSON, the same for equal values in whatever order their keys are."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        pass
    import json

    try:
        return json.dumps(value, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return b"nested too deep"


def parse_line(line: bytes) -> Fields | None:
    """Return the object on a line of strict JSON; None for any other line, see `objects`."""
    try:
        fields = orjson.loads(line)
    except ValueError:
        return None
    return fields if type(fields) is dict else None


def records(line: bytes) -> Sequence[Fields]:
    """Return all objects on one line, see `objects`."""
    fields = parse_line(line)
    return list(objects(line)) if fields is None else (fields,)


def objects(line: bytes) -> Iterator[Fields]:
    """Yield the JSON objects on one line: two if an agent broke off and went on without a newline.

    Accepts what real writers do: a byte-order mark, NULs before the object, lone surrogates, raw
    control characters and invalid UTF-8 in strings. Raises ValueError, with the reason, if the
    line has anything else.
    """
    text = line.strip(b"\0\r\n\t \xef\xbb\xbf") if line[:1] != b"{" else line
    try:
        fields = orjson.loads(text)
    except ValueError:
        return _lenient(text.decode(errors="replace"))
    if type(fields) is not dict:
        raise ValueError(f"expected an object, found {_kind(fields)}")
    return iter((fields,))


def _lenient(text: str) -> Iterator[Fields]:
    import json

    decoder = json.JSONDecoder(
        strict=False, parse_constant=lambda name: None, parse_int=_number, parse_float=_number
    )
    at = 0
    while at < len(text):
        try:
            fields, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise ValueError("nested too deep") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON at column {error.pos + 1}: {error.msg}") from None
        if not isinstance(fields, dict):
            raise ValueError(f"expected an object, found {_kind(fields)}")
        yield fields
        while at < len(text) and text[at] in " \t\r\n\0":
            at += 1


def _number(text: str) -> int | float | None:
    """Return a number as orjson reads it: a float beyond 64 bits; None beyond any float."""
    if len(text) < 19 and text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    return number if -1e308 < number < 1e308 else None


def _kind(value: object) -> str:
    names = {
        "list": "an array",
        "str": "a string",
        "int": "a number",
        "float": "a number",
        "bool": "a boolean",
        "NoneType": "null",
    }
    return names.get(type(value).__name__, type(value).__name__)
