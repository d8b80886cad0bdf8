"""Denied commands in random equivalent spellings are found, texts that mention them are not."""

import shlex
from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.core.event import make
from agent_pipes.core.tables import read_table
from agent_pipes.scope.evaluate import SessionScope
from agent_pipes.scope.policy import Policy

DENY = ["git push --force", "rm -rf *", "prisma db push", "kubectl delete", "git reset --hard"]
SCOPE = SessionScope(Policy("policy.json", {"commands": {"deny": DENY}}))

GIT_GLOBALS = st.lists(
    st.sampled_from([["-C", "x"], ["--no-pager"], ["-c", "a.b=c"], ["--git-dir=x"], ["-P"]]),
    max_size=3,
).map(lambda found: [word for words in found for word in words])
KUBECTL_GLOBALS = st.lists(
    st.sampled_from([["-n", "x"], ["--namespace=x"], ["--context", "c"], ["--kubeconfig", "k"]]),
    max_size=3,
).map(lambda found: [word for words in found for word in words])


@st.composite
def shuffled(draw, options, operands):
    """Return options and operands in any order; the operands keep theirs."""
    words = [*options, *operands]
    order = draw(st.permutations(range(len(words))))
    left = list(operands)
    return [words[at] if at < len(options) else left.pop(0) for at in order]


@st.composite
def rm(draw):
    recursive = draw(st.sampled_from(["-r", "-R", "--recursive", "--recurs"]))
    force = draw(st.sampled_from(["-f", "--force", "--forc"]))
    if len(recursive) == len(force) == 2 and draw(st.booleans()):
        letters = draw(st.permutations([recursive[1], force[1], *draw(st.sampled_from(["", "v"]))]))
        options = ["-" + "".join(letters)]
    else:
        options = [recursive, force]
    return ["rm", *draw(shuffled(options, draw(st.lists(st.sampled_from("xyz"), min_size=1))))]


@st.composite
def git_push(draw):
    options = [draw(st.sampled_from(["-f", "--force", "-uf", "-fq"]))]
    return [
        "git",
        *draw(GIT_GLOBALS),
        "push",
        *draw(shuffled(options, draw(st.sampled_from([[], ["origin"], ["origin", "main"]])))),
    ]


@st.composite
def git_reset(draw):
    options = ["--hard", *draw(st.sampled_from([[], ["-q"], ["--quiet"]]))]
    operands = draw(st.sampled_from([[], ["HEAD~1"], ["origin/main"]]))
    return ["git", *draw(GIT_GLOBALS), "reset", *draw(shuffled(options, operands))]


@st.composite
def kubectl(draw):
    rest = draw(st.sampled_from([["pod", "x"], ["-f", "x.yml"], ["ns", "x", "--wait=false"]]))
    return ["kubectl", *draw(KUBECTL_GLOBALS), "delete", *rest]


@st.composite
def prisma(draw):
    runner = draw(
        st.sampled_from(
            [[], ["npx"], ["npx", "--yes"], ["pnpm", "exec"], ["pnpm"], ["yarn"], ["bunx"]]
        )
    )
    program = draw(st.sampled_from(["prisma", "node_modules/.bin/prisma", "./prisma"]))
    options = draw(st.sampled_from([[], ["--force-reset"], ["--schema", "x"], ["--schema=x"]]))
    where = draw(st.integers(0, 2))
    words = ["db", "push"]
    return [*runner, program, *words[:where], *options, *words[where:]]


COMMANDS = st.one_of(rm(), git_push(), git_reset(), kubectl(), prisma())


@st.composite
def quoted(draw, words):
    """Return the words as text, each in one of the quotings of the shell."""
    texts = []
    for word in words:
        how = draw(st.integers(0, 4))
        if how == 1:
            text = f"'{word}'"
        elif how == 2:
            text = f'"{word}"'
        elif how == 3 and word[0].isalnum():
            text = "\\" + word
        elif how == 4 and len(word) > 2:
            text = f"{word[:1]}'{word[1:]}'"
        else:
            text = word
        texts.append(text)
    return " ".join(texts)


TABLE = read_table("wrappers")


def _rows(path, row):
    """Yield the rows of a program and its subcommands, with the words that choose each."""
    while "like" in row:
        row = TABLE[row["like"]]
    if "subcommands" not in row or row.get("fallthrough"):
        yield path, row
    for verb, inner in row.get("subcommands", {}).items():
        yield from _rows(f"{path} {verb}", inner)


def _forms(path, row):
    """Return the ways in which a row runs a command: {} is for its words, {q} for a script."""
    options = (*row.get("script", "").split()[:1], *row.get("late_script", "").split()[:1])
    operands = " x" * row.get("operands", 0)
    after = row.get("after", "").split()[:1]
    before = " ".join([path, "{options}" + operands, *after])
    scripts = [
        f"{path} {{options}}{' x' * ('late_script' in row)} {option} {{q}}" for option in options
    ]
    if row.get("needs_script") or "module" in row or path.endswith("env"):
        return scripts
    if row.get("join") or row.get("each"):
        return [*scripts, f"{before} {{q}}"]
    return [*scripts, f"{before} {{}}"]


SKIPPED = {"at", "batch", "python", "python2", "python3", "pypy3", "py"}
"""Wrappers whose operand is a time or the name of a module."""

ROWS = [
    (form, sorted(set(row.get("values", "").split()) - set(row.get("input", "").split())))
    for name in TABLE
    if " " not in name and name not in SKIPPED
    for path, row in _rows(name, TABLE[name])
    if "program" not in row and "own" not in row
    for form in _forms(path, row)
]
"""Forms of each program of the table, and its options with a value."""

IN_LIST = [
    "cd x && {}",
    "pushd /x; {}; popd",
    "true; {}",
    "false || {}",
    "! {}",
    "{} &",
    "A=1 B='2 3' {}",
    "({})",
    "{{ {}; }} > log",
    "if true; then {}; fi",
    "case a in a) {};; esac",
    "[ -f x ] && {} || true",
    "{} 2>&1 | tail -3",
    "echo x | xargs {}",
    "printf 'x\\0' | xargs -0 -n 1 {}",
    "find . -name x -exec {} \\;",
    "fd x -x {}",
    "f() {{ {}; }}; f",
    'f() {{ "$@"; }}; f {}',
    'a=({}); "${{a[@]}}"',
    "for i in 1 2; do {}; done",
    "while read l; do {}; done < x",
    "$({})",
    "x=$({})",
    "cat <({})",
    "coproc {{ {}; }}",
    "echo `{}`",
]
IN_SCRIPT = [
    "bash -c {q}",
    "sh -euc {q}",
    "env -S {q}",
    "bash <<'EOF'\n{s}\nEOF",
    "ssh host <<EOF\n{s}\nEOF",
    "sh <<< {q}",
    "eval {q}",
    "trap {q} EXIT",
    "alias zz={q}; zz",
    'C={q}; eval "$C"',
    'C={q}; $SHELL -c true; bash -c "$C"',
    "echo {q} | sh",
    "printf '%s\\n' {q} | bash",
    "printf '%s' {q} | bash",
    "echo {q} > /tmp/x.sh && bash /tmp/x.sh",
    ". <(echo {q})",
    "find . -exec sh -c {q} \\;",
    "parallel ::: {q}",
    "GIT_PAGER={q} git log",
    "git -c core.editor={q} commit",
    "echo {encoded} | base64 -d | sh",
]


@st.composite
def wrapped(draw):
    text = draw(quoted(draw(COMMANDS)))
    for _ in range(draw(st.integers(0, 3))):
        options = ""
        kind = draw(st.integers(0, 2))
        if kind == 0:
            form = draw(st.sampled_from(IN_SCRIPT))
        elif kind == 1:
            form = draw(st.sampled_from(IN_LIST[: len(IN_LIST) - ("`" in text)]))
        else:
            form, values = draw(st.sampled_from(ROWS))
            chosen = draw(st.lists(st.sampled_from(values), max_size=2)) if values else []
            options = " ".join(f"{option} v" for option in chosen)
        # A list or a compound command is no argument: it goes into a script first.
        simple = not any(sign in text for sign in ";&|(){}<>\n=`$!")
        words = text if simple else f"bash -c {shlex.quote(text)}"
        encoded = b64encode(text.encode()).decode()
        text = form.format(words, q=shlex.quote(text), s=text, options=options, encoded=encoded)
    return text


def evaluate(command):
    data = {"tool_name": "Bash", "arguments": {"command": command}}
    return SCOPE.evaluate(make("tool_call", 1.0, "s", data))


@settings(max_examples=600, deadline=None)
@given(wrapped())
def test_every_spelling_of_a_denied_command_is_found(command):
    assert evaluate(command).breaches


MENTIONS = [
    "git commit -m {q}",
    "git commit -F - <<'EOF'\n{s}\nEOF",
    "git commit -m \"$(cat <<'EOF'\n{s}\nEOF\n)\"",
    "git log --grep={q}",
    "git log -S {q} --oneline",
    "git tag -a v1 -m {q}",
    "grep -rn {q} docs",
    "grep -e {q} -- docs",
    "rg -F {q}",
    "echo {q}",
    "echo {q} >> notes.md",
    "printf %s {q}",
    "printf '%s\\n' {q} | tee notes.md",
    "gh issue create --title {q}",
    "gh pr create --body {q}",
    "cat > notes.md <<'EOF'\n{s}\nEOF",
    "cat <<EOF | wc -l\n{s}\nEOF",
    "sed -n /x/p x # {s}",
    "# {s}\nls",
    "sed -i 's/{s}/x/' notes.md",
    "awk '/{s}/ {{print}}' notes.md",
    'curl -d \'{{"text": "{s}"}}\' https://example.org',
    "jq -n '{{cmd: \"{s}\"}}'",
    "test {q} = x",
    "[[ $x == {q} ]]",
    "case {q} in *) ls;; esac",
    "read -r x <<< {q}",
    ": {q}",
    "export NOTE={q}",
    "X={q} true",
    "pgrep -f {q}",
    "jq --arg x {q} . y",
]


@settings(max_examples=300, deadline=None)
@given(COMMANDS.map(" ".join), st.sampled_from(MENTIONS))
def test_a_command_that_is_only_mentioned_raises_nothing(denied, mention):
    evaluation = evaluate(mention.format(q=shlex.quote(denied), s=denied))
    assert not evaluation.breaches
    assert not any(gap.rule for gap in evaluation.unjudged)
