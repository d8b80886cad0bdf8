"""A policy to start from: data/standard-policy.json."""

import os

from agent_pipes.core.tables import DATA


def write_standard_policy(path: str | os.PathLike[str]) -> None:
    """Write the standard policy to `path`. Raises FileExistsError, or another OSError."""
    with open(os.path.join(DATA, "standard-policy.json"), "rb") as file:
        content = file.read()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
