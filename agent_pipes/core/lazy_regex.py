"""Regular expressions that are compiled when they are first used: a command that starts does not wait for all it may need."""

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """Stands for a compiled expression, whose methods it takes over as they are asked for."""

    def __init__(self, text: Any, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(re.compile(self._text, self._flags), name)
        return found


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """The regular expression `text`. What is wrong with it is raised (re.error) where it is first used."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
