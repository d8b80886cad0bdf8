#!/usr/bin/env python3
"""Write the tables of trace-detect-scope(1) from the data that the code uses.

    make_scope_tables.py [--check]

With --check nothing is written, and the status is 1 if the page is not current.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "man" / "trace-detect-scope.1"
DATA = ROOT / "agent_pipes" / "data"


def read(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_text())


def escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def listed(rows: list[tuple[str, str]]) -> list[str]:
    """Return an mdoc list: a tag, and sentences."""
    lines = [".Bl -tag -width Ds"]
    for tag, text in rows:
        lines += [f".It Li {escaped(tag)}", *(f"{escaped(each)}." for each in text.split(". "))]
    return [*lines, ".El"]


def wrapper_text(row: dict, rows: dict, elsewhere: bool) -> str:
    """Describe a row of wrappers.json in sentences; the last one says what is not seen.

    elsewhere: its options are in the table of options.
    """
    if "like" in row:
        return f"As {row['like']}"
    parts = ["Options with values: in the next table"] if elsewhere else []
    if row.get("values"):
        parts.append(f"Options with values: {row['values']}")
    if row.get("script"):
        parts.append(f"A command line is the value of {row['script']}")
    if row.get("module"):
        parts.append(f"The command begins with the value of {row['module']}")
    if row.get("operands") and not row.get("shell"):
        parts.append(f"Operands before the command: {row['operands']}")
    if row.get("after"):
        parts.append(f"The command follows {row['after']}")
    if row.get("arguments"):
        parts.append(f"It runs with each word after {row['arguments']}")
    if row.get("entry"):
        parts.append(f"The command begins with the value of {row['entry']}")
    if row.get("shell"):
        parts.append("Without a command, its standard input is a script")
    if row.get("subcommands"):
        parts.append(f"Subcommands: {', '.join(subcommands(row, rows))}")
    if row.get("fallthrough"):
        parts.append("An unknown subcommand is a command")
    return sentences(parts or ["Options without values"], row["unseen"])


def sentences(parts: list[str], unseen: str) -> str:
    """Return the description of a row, with what the row does not see."""
    return ". ".join([*parts, f"Not seen: {unseen}"])


def subcommands(row: dict, rows: dict, before: str = "") -> list[str]:
    found = []
    for name, each in row["subcommands"].items():
        while "like" in each:
            each = rows[each["like"]]
        if "subcommands" in each:
            found += subcommands(each, rows, f"{before}{name} ")
        else:
            found.append(f"{before}{name}")
    return found


def wrappers() -> list[str]:
    rows, with_options = read("wrappers"), read("options")
    variables = f"Their value is a command: {read('programs')['command_variables']}"
    variables = sentences([variables], "variables that an earlier call has exported")
    return listed(
        [
            ("variables", variables),
            *(
                (name, wrapper_text(row, rows, "values" not in row and name in with_options))
                for name, row in rows.items()
                if " " not in name
            ),
        ]
    )


def options() -> list[str]:
    rows = []
    for name, row in read("options").items():
        if "like" in row:
            also = f". Options with values, too: {row['values']}" if "values" in row else ""
            rows.append((name, f"As {row['like']}{also}"))
            continue
        parts = [f"Options with values: {row['values']}" if row["values"] else ""]
        if row.get("harmless"):
            parts.append(f"Left out of account where commands are allowed: {row['harmless']}")
        same = " ".join(dict.fromkeys(" ".join(row.get("same", {}).values()).split()))
        if same:
            parts.append(f"The same: {same}")
        parts = list(filter(None, parts)) or ["Options without values"]
        rows.append((name, sentences(parts, row["unseen"])))
    return listed(rows)


def file_text(row: dict) -> str:
    """Describe a row of programs.json in sentences; the last ones say what is not seen."""
    operands = {"read": "read", "write": "written", "delete": "deleted", "none": "no files"}
    parts = [f"Operands are {operands[row.get('operands', 'none')]}"]
    if row.get("also"):
        parts.append(f"They are {operands[row['also']]}, too")
    for key, word in (("first", "The first is"), ("last", "The last is")):
        if row.get(key):
            parts.append(f"{word} {operands[row[key]]}")
    for key, word in (("read", "Read"), ("write", "Written"), ("into", "Written into")):
        if row.get(key):
            parts.append(f"{word}: {row[key]}")
    if row.get("in_place") and row["in_place"] != "*":
        parts.append(f"Written, too, with {row['in_place']}")
    for key, word in (("unless", "Untouched with"), ("only_with", "Untouched without")):
        if row.get(key):
            parts.append(f"{word} {row[key]}")
    if row.get("recursive") and row["recursive"] != "*":
        parts.append(f"With the content of directories: {row['recursive']}")
    if row.get("include"):
        parts.append(f"Only what matches: {row['include']}")
    if row.get("also_unknown"):
        parts.append("What else it does is reported as not checked")
    return sentences(parts, row["unseen"])


def files() -> list[str]:
    table = read("programs")
    rows = [
        (name, file_text(row)) for key in ("files", "verbs") for name, row in table[key].items()
    ]
    rows += [
        (", ".join(f"git {verb}" for verb in verbs.split()), file_text(row))
        for verbs, row in table["git"].items()
    ]
    for name, (text, unseen) in table["special"].items():
        rows.append((name, sentences([text[0].upper() + text[1:]], unseen)))
    return listed(rows)


def hosts() -> list[str]:
    """List the options and variables whose value is a host."""
    table = read("hosts")
    image = "The registry in the name of an image, or the host of a module"
    environment = f"Set for a command, or exported: {table['environment']}"
    rows = [
        *(("options", name, f"The value of {text}") for name, text in table["options"].items()),
        *(("images", name, f"{image}: {verbs}") for name, verbs in table["images"].items()),
        ("environment", "variables", environment),
        ("first_operand", table["first_operand"], "The first operand"),
    ]
    return listed([(name, sentences([text], table["unseen"][key])) for key, name, text in rows])


TABLES = {"WRAPPERS": wrappers, "OPTIONS": options, "FILES": files, "HOSTS": hosts}


def page() -> str:
    text = PAGE.read_text()
    for name, make in TABLES.items():
        begin, end = f'.\\" {name}: made by tests/make_scope_tables.py\n', f'.\\" {name}: end\n'
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n".join(make()) + "\n" + end + after
    return text


def main() -> int:
    made = page()
    if "--check" in sys.argv:
        return int(made != PAGE.read_text())
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
