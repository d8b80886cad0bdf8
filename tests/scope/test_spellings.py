"""Denied commands in random equivalent spellings are found, texts that mention them are not."""

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.core.event import make
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


WRAPPERS = [
    "sudo {}",
    "env A=1 {}",
    "timeout 5 {}",
    "nice -n 3 {}",
    "cd x && {}",
    "true; {}",
    "A=1 {}",
    "({})",
    "if true; then {}; fi",
    "{} 2>&1 | tail -3",
    "echo x | xargs {}",
    "docker exec web {}",
    "nohup {} &",
    "stdbuf -oL {}",
    "f() {{ {}; }}; f",
    'a=({}); "${{a[@]}}"',
    "for i in 1 2; do {}; done",
    "while read l; do {}; done < x",
    "printf 'x\\0' | xargs -0 -n 1 {}",
    "$({})",
]
IN_SCRIPT = [
    "bash -c {}",
    "sh -euc {}",
    "ssh host {}",
    "eval {}",
    "su x -c {}",
    "watch {}",
    "alias zz={}; zz",
    'C={}; eval "$C"',
    "echo {} | sh",
]


@st.composite
def wrapped(draw):
    text = draw(quoted(draw(COMMANDS)))
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            text = draw(st.sampled_from(IN_SCRIPT)).format(shlex.quote(text))
        else:
            # A list or a compound command is no argument: it goes into a script first.
            wrapper = draw(st.sampled_from(WRAPPERS))
            simple = not any(sign in text for sign in ";&|(){}\n=")
            text = wrapper.format(text if simple else f"bash -c {shlex.quote(text)}")
    return text


def evaluate(command):
    data = {"tool_name": "Bash", "arguments": {"command": command}}
    return SCOPE.evaluate(make("tool_call", 1.0, "s", data))


@settings(max_examples=400, deadline=None)
@given(wrapped())
def test_every_spelling_of_a_denied_command_is_found(command):
    assert evaluate(command).breaches


MENTIONS = [
    "git commit -m {}",
    "git log --grep={}",
    "grep -rn {} docs",
    "rg {}",
    "echo {}",
    "printf %s {}",
    "gh issue create --title {}",
    "cat > notes.md <<'EOF'\n{}\nEOF",
    "sed -n /x/p x # {}",
    "test {} = x",
    "export NOTE={}",
    "X={} true",
    "pgrep -f {}",
    "jq --arg x {} . y",
]


@settings(max_examples=300, deadline=None)
@given(COMMANDS.map(" ".join), st.sampled_from(MENTIONS))
def test_a_command_that_is_only_mentioned_raises_nothing(denied, mention):
    evaluation = evaluate(mention.format(shlex.quote(denied)))
    assert not evaluation.breaches
    assert not any(gap.rule for gap in evaluation.unjudged)
