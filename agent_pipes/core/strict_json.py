"""Strict reader of the JSON files that a user writes: config, policy, prices, an agent's settings.

A key that occurs twice, an unknown key and a value of another type are errors, which name the file,
the key, what was expected and the nearest known name. Click is not imported, because an agent waits
for its hook.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from agent_pipes.core.display import truncate

MAX_FILE_BYTES = 16 << 20
MAX_QUOTED_CHARS = 60


class StrictJSONError(ValueError):
    """A file that does not contain what was expected; the text is `FILE: KEY: PROBLEM`."""


class StrictJSON:
    """One file, and the checks of its values.

    path:  the file, as the user named it.
    error: makes the exception that is raised, of a message.
    """

    def __init__(self, path: object, error: Callable[[str], Exception] = StrictJSONError) -> None:
        self.path = path
        self.error = error

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise the error: `FILE: KEY: PROBLEM`, without the key if it is empty."""
        raise self.error(f"{self.path}: {key}: {problem}" if key else f"{self.path}: {problem}")

    def fail_expected(self, key: str, expected: str, value: object) -> NoReturn:
        """Raise the error of a value that is not what was expected there."""
        self.fail(key, f"expected {expected}, found {type_name(value)}")

    def read(self, max_bytes: int = MAX_FILE_BYTES) -> str:
        """Return the text of the file, without a byte order mark."""
        try:
            with open(str(self.path), "rb") as file:
                if not is_file_or_pipe(os.fstat(file.fileno()).st_mode):
                    self.fail("", "not a regular file")
                raw = file.read(max_bytes + 1)
        except OSError as error:
            self.fail("", error.strerror or str(error))
        except ValueError as error:  # a path with a NUL
            self.fail("", str(error))
        if len(raw) > max_bytes:
            self.fail("", f"longer than {max_bytes} bytes")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.fail("", f"not UTF-8 at byte {error.start}")

    def parse(self, text: str, *, parse_float: Callable[[str], Any] | None = None) -> Any:
        """Return the value of the JSON `text`.

        parse_float: converts a number with a point or an exponent.
        """
        try:
            return json.loads(
                text,
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
                parse_float=parse_float,
            )
        except json.JSONDecodeError as error:
            raise self.error(
                f"{self.path}:{error.lineno}:{error.colno}: not JSON: {error.msg}"
            ) from None
        except RecursionError:
            self.fail("", "nested too deep")
        except ValueError as error:
            self.fail("", str(error))

    def load(self) -> Any:
        """Return the value in the file."""
        return self.parse(self.read())

    def mapping(
        self,
        key: str,
        value: object,
        known: Iterable[str] | None = None,
        expected: str = "an object",
    ) -> dict[str, Any]:
        """Return `value` if it is an object, and contains no other keys than the `known` ones."""
        if not isinstance(value, dict):
            self.fail_expected(key, expected, value)
        if known is not None:
            self.known_keys(key, value, known)
        return value

    def known_keys(self, key: str, found: Iterable[str], known: Iterable[str]) -> None:
        """Raise the error of the first key `found` in the object at `key` that is not `known`."""
        names = list(known)
        for name in found:
            if name not in names:
                self.fail(
                    f"{key}.{name}" if key else name,
                    f"unknown key{did_you_mean(name, names)}; expected {', '.join(sorted(names))}",
                )

    def strings(self, key: str, value: object, expected: str = "a list of strings") -> list[str]:
        """Return `value` if it is a list of strings."""
        if not isinstance(value, list):
            self.fail_expected(key, expected, value)
        for at, item in enumerate(value):
            if not isinstance(item, str):
                self.fail_expected(f"{key}[{at}]", "a string", item)
        return value


def is_file_or_pipe(mode: int) -> bool:
    """Return True of a regular file and of a pipe, as a shell makes for `<(command)`."""
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ` (did you mean 'NAME'?)` with the nearest known name, "" if none is near.

    The dashes of options are not compared: all options have them.
    """
    import difflib  # only after a mistake

    stems = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lstrip("-"), list(stems), n=1, cutoff=cutoff)
    return f" (did you mean {stems[near[0]]!r}?)" if near else ""


def type_name(value: object) -> str:
    """Name the JSON type of `value` for a message; true, false and null are named themselves."""
    if isinstance(value, bool):
        return str(value).lower()
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value), "a number")


def quoted(value: object) -> str:
    """Return `value` as JSON, cut for a message."""
    return truncate(json.dumps(value, ensure_ascii=False), MAX_QUOTED_CHARS)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice in one object")
        found[key] = value
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is not a number; a limit is turned off with 0 or "off"')
