"""Regular expressions that are compiled when they are first used, to start faster."""

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """A regular expression that is compiled when a method is first asked for."""

    def __init__(self, text: Any, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(re.compile(self._text, self._flags), name)
        return found


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return the regular expression `text`; re.error is raised at its first use."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
