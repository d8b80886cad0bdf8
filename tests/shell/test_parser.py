"""Shell commands, read as a shell reads them."""

import json
import os
import random
import re
import shutil
import subprocess
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_pipes.shell import (
    Command,
    Redirect,
    Unresolved,
    Word,
    command_line,
    lexer,
    normalize,
    parse,
    word_lexer,
)
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.parser import MAX_COMMAND_CHARS


def argvs(command: str) -> list[list[str]]:
    return [found.argv for found in parse(command) if found.words]


def inner(command: str) -> list[list[str]]:
    """The commands that are not only wrappers of others."""
    return [found.argv for found in parse(command) if found.words and not found.is_wrapper]


def one(command: str) -> Command:
    (found,) = parse(command)
    return found


def unknowns(command: str) -> list[str]:
    return [unknown.kind for found in parse(command) for unknown in found.unresolved]


# ── Words ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("rm x", ["rm", "x"]),
        ("rm  x\ty", ["rm", "x", "y"]),
        ("rm 'a b' \"c d\"", ["rm", "a b", "c d"]),
        ("rm a\\ b", ["rm", "a b"]),
        ("rm 'it'\\''s'", ["rm", "it's"]),
        ('rm "a\\"b\\$c\\n"', ["rm", 'a"b$c\\n']),
        ("rm $'a\\tb\\x41\\u00e9\\\\'", ["rm", "a\tbAé\\"]),
        ("rm a'b'\"c\"d", ["rm", "abcd"]),
        ("r\\\nm x\\\ny", ["rm", "xy"]),
        ("'rm' x", ["rm", "x"]),
        ("rm x # y > z", ["rm", "x"]),
        ("rm x#y", ["rm", "x#y"]),
        ("rm ''", ["rm", ""]),
        ("rm \\*", ["rm", "*"]),
        ("rm -- -x", ["rm", "--", "-x"]),
        ("A=1 B='2 3' rm x", ["rm", "x"]),
        ("> log rm x", ["rm", "x"]),
        ("rm {} [ ]", ["rm", "{}", "[", "]"]),
    ],
)
def test_quotes_and_escapes(command, argv):
    found = one(command)
    assert found.argv == argv
    assert not any(word.unresolved for word in found.words)


@pytest.mark.parametrize(
    ("word", "doubt"),
    [
        ("$X", "variable"), ("${X}", "variable"), ('"$X"', "variable"), ("a$X", "variable"), ("$1", "variable"), ("$((1 + 2))", "variable"),
        ("${X:-$(ls)}", "substitution"), ("$(make)", "substitution"), ("`make`", "substitution"), ("$(ls)", "glob"), ('"a $(ls) b"', "substitution"), ("$(pwd)", ""), ("$(echo x)", ""),
        ("*.py", "glob"), ("a?", "glob"), ("[ab]c", "glob"), ("{a,b}", ""), ("{a,b*}", ""), ("{1..9}", "glob"), ("<(pwd)", "substitution"),
        ("'$X'", ""), ("'*'", ""), ('"*"', ""), ("\\$X", ""), ("\\*", ""), ("$", ""), ("a{b}c", ""), ("~/x", ""), ("'`pwd`'", ""),
    ],
)  # fmt: skip
def test_what_is_expanded_is_marked(word, doubt):
    assert parse(f"rm {word}")[-1].words[1].unresolved == doubt


@pytest.mark.parametrize(
    ("word", "path"),
    [("~/x", "~/x"), ("~", "~"), ("$HOME/x", "~/x"), ("${HOME}/x", "~/x"), ('"$HOME/x y"', "~/x y"), ('"$HOME"/x', "~/x"), ("'~/x'", "./~/x"), ("\\~/x", "./~/x"), ("x~", "x~")],
)  # fmt: skip
def test_home(word, path):
    found = one(f"cat {word}").words[1]
    assert (found.path, found.unresolved) == (path, "")


def test_variables_that_the_command_sets_are_known():
    assert parse("HOME=/x; cat $HOME/y")[-1].words[1].path == "/x/y"
    assert parse("g=git; $g push")[-1].name == "git"
    loop = parse("for d in a b; do rm $d/x; done")
    assert [each.argv for each in loop] == [["rm", "a/x"], ["rm", "b/x"]]
    maybe = parse("d=a; if x; then d=b; fi; rm $d")
    assert [each.argv for each in maybe[-2:]] == [["rm", "a"], ["rm", "b"]]
    assert parse("read d; rm $d")[-1].words[1].unresolved == "variable"
    assert parse("A='x y'; rm $A \"$A\"")[-1].argv == ["rm", "x", "y", "x y"]
    assert parse('gp() { git "$@"; }; gp push')[-1].argv == ["git", "push"]
    assert parse("cd a; cd b; cat $OLDPWD/x")[-1].words[1].path == "../x"


QUOTED = [
    "a", "b c", "'x y'", '"p q"', '"\\$z"', "\\ ", "\\'", '\\"', "$'t\\tn\\x41\\101\\u00e9'", '$"loc"', " ", "  ", "\\\n", "''", '""', "'\\'", "\\\\", "a#", "~x", "=",
    "k=v", "-x", "{}", "{", "}", "!", "%", "^", "]", "é", '"it\'s"', "'\"'", '"a\\\nb"', "@", ":", "'a\nb'",
]  # fmt: skip


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_words_are_those_of_bash():
    chance = random.Random(7)
    commands = ["p " + "".join(chance.choices(QUOTED, k=chance.randint(1, 7))) for _ in range(500)]
    show = 'p() { [ $# -gt 0 ] && printf "%s\\002" "$@"; printf "\\001"; }; while IFS= read -r -d "" line; do eval "$line"; done'
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", show],
        input="\0".join([*commands, ""]).encode(),
        capture_output=True,
        env=environment,
        timeout=60,
    )
    words = [shown.split("\x02")[:-1] for shown in done.stdout.decode().split("\x01")]
    for command, expected in zip(commands, words, strict=False):
        assert argvs(command) == [["p", *expected]], command
    assert len(words) == len(commands) + 1


# ── Lists, pipelines, compound commands ───────────────────────────────────────────────────────


@pytest.mark.parametrize("separator", [";", "&&", "||", "|", "|&", "&", "\n", " ; ", "&&\n"])
def test_every_operator_parts_commands(separator):
    assert argvs(f"ls a{separator}rm b") == [["ls", "a"], ["rm", "b"]]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("(ls; rm b)", [["ls"], ["rm", "b"]]),
        ("{ ls; rm b; }", [["ls"], ["rm", "b"]]),
        ("! rm b", [["rm", "b"]]),
        (
            "if test -f a; then rm b; elif ls; then rm c; else rm d; fi",
            [["test", "-f", "a"], ["rm", "b"], ["ls"], ["rm", "c"], ["rm", "d"]],
        ),
        ("while read x; do rm b; done < list", [["read", "x"], ["rm", "b"]]),
        ("until ls; do rm b; done", [["ls"], ["rm", "b"]]),
        ("for f in a b; do rm c; done", [["rm", "c"]]),
        ("for ((i = 0; i < 3; i++)); do rm c; done", [["rm", "c"]]),
        ("((i > 3)) && rm c", [["rm", "c"]]),
        (
            "case $1 in a|b) rm c;; (d) rm e;; *) ls;; esac; rm f",
            [["rm", "c"], ["rm", "e"], ["ls"], ["rm", "f"]],
        ),
        (
            "[[ $a > b && ( -f c || d < e ) ]] && rm f",
            [
                [
                    "[[",
                    "$a",
                    ">",
                    "b",
                    "&",
                    "&",
                    "(",
                    "-f",
                    "c",
                    "|",
                    "|",
                    "d",
                    "<",
                    "e",
                    ")",
                    "]]",
                ],
                ["rm", "f"],
            ],
        ),
        ("a=(1 2); rm c", [["rm", "c"]]),
        ("echo $(rm b)", [["rm", "b"], ["echo", "$(rm b)"]]),
        ("echo `rm b`", [["rm", "b"], ["echo", "`rm b`"]]),
        (
            'echo "x $(echo "$(rm b)")"',
            [["rm", "b"], ["echo", "$(rm b)"], ["echo", 'x $(echo "$(rm b)")']],
        ),
        ("echo ${X:-$(rm b)}", [["rm", "b"], ["echo", "${X:-$(rm b)}"]]),
        ("echo $(( $(rm b) + 1 ))", [["rm", "b"], ["echo", "$(( $(rm b) + 1 ))"]]),
        ("echo $((rm a); (rm b))", [["rm", "a"], ["rm", "b"], ["echo", "$((rm a); (rm b))"]]),
        ("X=$(rm b)", [["rm", "b"]]),
        ("diff <(cat a) <(rm b)", [["cat", "a"], ["rm", "b"], ["diff", "<(cat a)", "<(rm b)"]]),
        (
            "echo $(case x in a) rm b;; esac)",
            [["rm", "b"], ["echo", "$(case x in a) rm b;; esac)"]],
        ),
        ("trap 'rm b' EXIT", [["trap", "rm b", "EXIT"], ["rm", "b"]]),
    ],
)
def test_compound_commands(command, found):
    assert argvs(command) == found


def test_the_body_of_a_function_is_read_and_its_name_is_no_program():
    found = parse("clean() { rm b; }\nclean now; ls")
    assert [(each.argv, each.is_wrapper) for each in found] == [
        (["rm", "b"], False),
        (["clean", "now"], True),
        (["ls"], False),
    ]
    assert inner("function clean { rm b; }; clean") == [["rm", "b"]]


@pytest.mark.parametrize(
    "hidden",
    [
        "(rm() { :; }); rm -r b",
        "if false; then rm() { :; }; fi; rm -r b",
        "false && rm() { :; }; rm -r b",
        "rm() { :; }; bash -c 'rm -r b'",
    ],
)
def test_a_function_that_may_not_be_defined_hides_no_program(hidden):
    assert ["rm", "-r", "b"] in inner(hidden)


# ── Redirections and here-documents ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "writes", "reads"),
    [
        ("x > f", ["f"], []), ("x >> f", ["f"], []), ("x >| f", ["f"], []), ("x &> f", ["f"], []), ("x &>> f", ["f"], []), ("x >& f", ["f"], []),
        ("x 2> f", ["f"], []), ("x {fd}> f", ["f"], []), ("x < f", [], ["f"]), ("x <> f", ["f"], ["f"]), ("x >f 2>&1", ["f"], []), ("x 2>&-", [], []),
        ("x a2> f", ["f"], []), ("x '> f'", [], []), ("x \\> f", [], []), ("x > 'a b'", ["a b"], []), ("x >f >g", ["f", "g"], []), ("> f", ["f"], []),
        ("x <<< f", [], []), ("x > $F", ["$F"], []), ("for i in a; do x; done > f", ["f"], []), ("(x) > f", ["f"], []), ("x 1>&2 >f", ["f"], []),
    ],
)  # fmt: skip
def test_redirections(command, writes, reads):
    redirects = [redirect for found in parse(command) for redirect in found.redirects]
    assert [redirect.target.text for redirect in redirects if redirect.writes] == writes
    assert [
        redirect.target.text
        for redirect in redirects
        if redirect.op in ("<", "<>") and not redirect.copies
    ] == reads


def test_a_here_document_is_no_command():
    found = parse("cat <<EOF > out && ls\nrm x\n> y\nEOF\nrm z")
    assert [each.argv for each in found] == [["cat"], ["ls"], ["rm", "z"]]
    assert [redirect.body for redirect in found[0].redirects] == ["rm x\n> y\n", ""]


def test_here_documents_with_tabs_with_quotes_and_two_on_a_line():
    assert argvs("cat <<-A <<'B' <<\"C\"\n\tx\n\tA\n$(rm y)\nB\nC\nls") == [["cat"], ["ls"]]


def test_what_a_here_document_would_run_is_read():
    assert argvs("cat <<EOF\n$(rm x) \\$(rm y)\nEOF\n") == [["rm", "x"], ["cat"]]


def test_a_here_document_in_a_substitution():
    assert argvs("git commit -m \"$(cat <<'EOF'\nIt's (#3) `done`\nEOF\n)\" && git push")[-1] == [
        "git",
        "push",
    ]


def test_a_here_document_that_does_not_end():
    assert argvs("cat <<EOF\nrm x\n") == [["cat"]]


# ── Commands in commands ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        "bash -c 'rm x'", 'sh -c "rm x"', "bash -lc 'rm x'", "/bin/bash -e -u -c 'rm x' name", "bash -o pipefail -c 'rm x'", "env rm x", "env -u B A=1 rm x",
        "env -i A=1 rm x", "sudo rm x", "sudo -u bob -E A=1 rm x", "time rm x", "time -p rm x", "time A=1 rm x", "nohup rm x", "nice -n 5 rm x", "nice -5 rm x",
        "timeout 5 rm x", "timeout -k 1 -s INT 5m rm x", "stdbuf -oL rm x", "setsid rm x", "command rm x", "exec rm x", "builtin rm x", "eval rm x", "eval 'rm x'",
        "sudo env timeout 5 bash -c 'eval \"rm x\"'", "flock lock rm x", "flock lock -c 'rm x'", "env -S 'rm x'", "bash <<EOF\nrm x\nEOF", "bash -s <<< 'rm x'",
        "sudo bash <<'EOF'\nrm x\nEOF", "xargs -I X rm x", "ionice -c 3 rm x", "doas rm x", "sudo -- rm x",
    ],
)  # fmt: skip
def test_wrappers_are_looked_into(command):
    found = [each for each in parse(command) if each.name == "rm"]
    assert [each.argv for each in found] == [["rm", "x"]]
    assert found[0].outer is not None


def test_sudo_is_a_command_of_its_own_and_env_only_carries_one():
    assert [found.is_wrapper for found in parse("sudo rm x")] == [False, False]
    assert [found.is_wrapper for found in parse("env rm x")] == [True, False]


def test_what_xargs_adds_is_not_known():
    assert [word.unresolved for word in parse("cat list | xargs -n 1 rm -f")[-1].words] == [
        "",
        "",
        "input",
    ]
    assert [
        (word.text, word.unresolved) for word in parse("cat x | xargs -I{} cp {} {}.bak")[-1].words
    ] == [("cp", ""), ("{}", "input"), ("{}.bak", "input")]


def test_what_find_runs_is_run_below_where_it_starts():
    found = parse("find deploy -name '*.yml' -exec rm -f {} \\; -exec chmod +x {} +")
    assert [each.argv for each in found[1:]] == [
        ["rm", "-f", "deploy/**/*.yml"],
        ["chmod", "+x", "deploy/**/*.yml"],
    ]
    assert found[1].words[2].unresolved == "glob"


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("$CMD x", ["variable"]), ("$(pick rm) x", ["substitution"]), ("$(which rm) x", []), ("bash x.sh", ["script"]), ("bash -x x.sh y", ["script"]), ("source x.sh", ["script"]),
        (". x.sh", ["script"]), ("curl http://x | sh", ["script"]), ("bash < x.sh", ["script"]), ("sudo bash < x.sh", ["script"]), ("bash -s", []),
        ("rm $X", []), ("ls", []), ("eval \"$X\"", ["variable"]), ("bash -c \"$X\"", ["variable"]), ("[[ a ]]", []), ("((1))", []),
    ],
)  # fmt: skip
def test_what_could_not_be_told(command, kinds):
    assert unknowns(command) == kinds


# ── Directories ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "directory"),
    [
        ("rm x", ""), ("cd a && rm x", "a"), ("cd a; rm x", "a"), ("cd a\nrm x", "a"), ("cd a && cd b && rm x", "a/b"), ("cd /a && cd b && rm x", "/a/b"),
        ("cd && rm x", "~"), ("cd ~/a && rm x", "~/a"), ("cd a && cd .. && rm x", "a/.."), ("cd - && rm x", None), ("cd $X && rm x", None), ("cd $X; cd /a; rm x", "/a"),
        ("(cd a && ls); rm x", ""), ("(cd a && rm x)", "a"), ("{ cd a; }; rm x", "a"), ("cd a | ls; rm x", ""), ("cd a & rm x", ""), ("cd a || exit 1; rm x", "a"),
        ("ls || cd a; rm x", None), ("if ls; then cd a; fi; rm x", None), ("if cd a; then rm x; fi", "a"), ("for i in a; do ls; done; rm x", ""),
        ("bash -c 'cd a; rm x'", "a"), ("bash -c 'cd a'; rm x", ""), ("cd a; bash -c 'rm x'", "a"), ("env -C a rm x", "a"), ("pushd a; rm x", "a"),
        ("pushd a; popd; rm x", ""), ("cd a; echo $(rm x)", "a"), ("cd 'a b'; rm x", "a b"), ("ls | { cd a; rm x; }", "a"),
        ("{ cd a; } | cat; rm x", ""), ("ls | { cd a; }; rm x", ""), ("ls | while read f; do cd a; done; rm x", ""), ("{ cd a; } && rm x", "a"), ("cd -P a; rm x", "a"), ("eval 'cd a; rm x'", "a"),
    ],
)  # fmt: skip
def test_the_directory_a_command_runs_in(command, directory):
    assert [found.directory for found in parse(command) if found.name == "rm"] == [directory]


# ── Bounds ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_nested_too_deep_is_said():
    assert Unresolved("deep", "what is nested too deep") in [
        unknown
        for found in parse("echo " + "$(" * 200 + "rm x" + ")" * 200)
        for unknown in found.unresolved
    ]
    assert "deep" in unknowns("sudo " * 200 + "rm x")
    assert "deep" in unknowns("eval " * 200 + "rm x")


def test_a_command_beyond_what_is_read_is_said():
    assert unknowns("#" + "x" * MAX_COMMAND_CHARS) == ["long"]


BOMBS = [
    "(", "$(", "$((", "((", "`", '"', "'", "{", "${", '"${', "<<E\n", "cat <<E <<F\n", '"$HOME"', '$HOME"a"', "sudo ", "env ", "eval ", "xargs ", "\\", "a=(", "case x in ",
    "if ", "case a in b)", "[[ ", "find -exec ", ";", "|", "> ", '"$(', "<(", "{a,", "f(){ ", "#", "$((a);(", "$'", "cd a;", "bash -c ", ")", " | tail", "\\`", "((a) ",
    "((a);", "\n", "time ", "A=1 ", "{a..,", "$'\\", "trap ", "a;", "$(a) ", "`a` ",
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_time_is_linear_in_the_text(bomb):
    start = time.process_time()
    for reader in (parse, normalize):
        reader((bomb * 24_000)[:24_000] + "x")
    # A quadratic reader needs minutes for one of these.
    assert time.process_time() - start < 8


PIECES = [
    *BOMBS,
    *"abc ~*?[]{}()<>|&;#=\"'`$\\\n\t\r\0é",
    "\ud83d",
    "EOF\n",
    "2>&1",
    "| tail -5",
    "$HOME",
    "]]",
    "esac",
    "fi",
    "do ",
    "done",
    "-c ",
    "rm x",
    "}",
]


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
)
@example("a=(")
@example("cat <<")
@example("$'\\U110000'")
@example("\\")
@example("$'\\c")
def test_no_text_raises(text):
    for found in parse(text):
        assert isinstance(str(found), str) and isinstance(found.name, str)
    assert isinstance(normalize(text), str)


WORD = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.sampled_from(
        [
            "a b",
            "$x",
            "*",
            "it's",
            '"',
            "--",
            "-x",
            "~",
            "#",
            ";",
            "\n",
            "{a,b}",
            "\\",
            "=",
            "a=b",
            "$(rm)",
            "`",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORD, max_size=6))
def test_words_that_are_quoted_come_back_as_they_are(words):
    found = one(command_line(["./program", *words]))
    assert found.argv == ["./program", *words]
    assert not any(word.unresolved for word in found.words)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(WORD, max_size=3), min_size=1, max_size=4),
    st.sampled_from([" && ", "; ", " | ", "\n", " || ", " & "]),
)
def test_quoted_commands_are_parted_where_they_are(commands, operator):
    text = operator.join(command_line(["./program", *words]) for words in commands)
    assert argvs(text) == [["./program", *words] for words in commands]
    assert inner(command_line(["bash", "-c", text])) == argvs(text)


# ── The same command ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        "npm test", "npm  test", " npm test ", "npm test 2>&1", "npm test 2> /dev/null", "npm test | tail -20", "npm test | tail -n 20", "npm test 2>&1 | tail -5",
        "npm test | head", "npm test | cat", "npm test |& tail", "npm test 2>&1 | tail -50 | cat", "cd app && npm test", "cd /home/dev/app; npm test", "cd a && cd b && npm test",
        "CI=1 npm test", "A=1 B='2 3' npm test", "time npm test", "time -p npm test", "CI=1 time npm test", "env CI=1 npm test", "cd app && CI=1 time npm test 2>&1 | tail -20",
        "npm test;", "npm test\n", "# run the tests\nnpm test", "npm test # again", "npm \\\n  test", "bash -lc 'npm test'", "bash -c 'cd app && npm test'", "cd 'a b' && npm test",
        "\tnpm\ttest", "npm test | head -c 100", "npm test | tail -n +5", "cd app &&\nnpm test",
        "timeout 60 npm test", "timeout -k 5 60s npm test 2>&1 | tail", "nice -n 5 npm test", "stdbuf -oL npm test", "env -u X npm test", "xvfb-run -a npm test", "CI=1 timeout 9 npm test",
        "npx npm test", "uv run npm test", "poetry run npm test", "pnpm exec npm test", "docker compose exec -T web npm test", "docker exec -it web npm test", "ssh host npm test",
        "ssh -p 22 host 'cd app && npm test'", "nohup npm test", "npm test || true", "npm test; echo $?", "npm test 2>&1 | tail -5; echo \"exit: $?\"", "cd a && timeout 5 npm test || :",
    ],
)  # fmt: skip
def test_is_the_same_command(command):
    assert normalize(command) == "npm test"


@pytest.mark.parametrize(
    ("command", "other"),
    [
        ("npm test", "npm test a"), ("npm test a", "npm test b"), ('echo "a  b"', 'echo "a b"'), ("echo a b", "echo 'a b'"), ("cat a | tail -5 b", "cat a"),
        ("a && b", "a; b"), ("a | b", "a || b"), ("a > x", "a > y"), ("a > x", "a"), ("a >> x", "a > x"), ("a 2> x", "a"), ("a & b", "a; b"),
        ("cat <<E\n1\nE", "cat <<E\n2\nE"), ("A=1", "A=2"), ("A=1; b $A", "A=2; b $A"), ("a | tail -5 | b", "a | b"), ("tail -5 a", "tail -6 a"), ("env A=1", "env A=2"),
        ("cd a", "cd b"), ("cd a && b", "cd a && c"), ("echo \\$x", "echo $x"), ("echo '$x'", "echo $x"), ("bash -c 'echo \"$x\"'", "bash -c \"echo \\\"$x\\\"\""),
        ("export A=1; b", "export A=2; b"), ("a | grep x", "a | grep y"), ("a |tail -f x", "a"), ("time", "ls"), ("(a)", "(b)"), ("a 2>&1 >x", "a 2>&1 >y"),
        ("echo 'a\\\nb'", "echo 'ab'"), ("tail -5", "head"), ("a | tee x", "a"), ("echo $(a  b)", "echo $(a c)"), ("a; tail -5", "a"), ("bash -c x y", "bash -c x z"),
        ("timeout 5 a", "timeout 5 b"), ("ssh h a", "ssh h b"), ("npx a", "npx b"), ("a || b", "a"), ("a; echo x", "a"), ("watch a", "a"), ("sudo a", "a"), ("docker exec", "docker ps"),
    ],
)  # fmt: skip
def test_is_another_command(command, other):
    assert normalize(command) != normalize(other)


@pytest.mark.parametrize(
    "command", ["cd a", "A=1", "time", "| tail", "#", "", " ", "2>&1", "cd a &&", "env", "tail -5"]
)
def test_something_is_left_of_every_command(command):
    assert normalize(command) == command.strip() or normalize(command)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORD, max_size=5))
def test_arguments_never_get_lost(words):
    text = command_line(["./program", *words])
    assert normalize(f"cd x && A=1 {text} 2>&1 | tail -5") == normalize(text)
    assert argvs(normalize(text)) == [["./program", *words]]
    assert normalize(normalize(text)) == normalize(text)


def test_the_command_line_of_a_list_of_arguments():
    assert command_line("ls -l") == "ls -l"
    assert command_line(["bash", "-lc", "ls | wc"]) == "ls | wc"
    assert command_line(["git", "commit", "-m", "a b"]) == "git commit -m 'a b'"
    assert [command_line(value) for value in (None, 5, {}, ["a", 5], [])] == ["", "", "", "", ""]


def test_here_documents_are_read_from_the_normalized_text_as_from_the_command():
    command = "cd x && cat <<'EOF' > deploy/y\n$(rm a)\nEOF\nls"
    assert argvs(normalize(command)) == argvs(command)[1:]
    assert json.dumps(normalize(command))


def _written_out(token):
    """All that a token holds."""
    if isinstance(token, Word):
        return (
            token.text,
            token.raw,
            token.unresolved,
            token.tilde,
            [list(map(_written_out, script)) for script in token.scripts],
        )
    return (
        (token.op, token.fd, _written_out(token.target), token.body)
        if isinstance(token, Redirect)
        else token.text
    )


PIECES = st.sampled_from(
    [
        *"|&;<>()#~$`'\"\\{}[]*?!=-/ \t\n\r\x0b\x1f\u00a0é٣2",
        "$(",
        "((",
        "))",
        "[[",
        "]]",
        "&&",
        ">&",
        "&>",
        "<<E\n",
        "E\n",
        "a",
        "a=",
        "ab.c",
        "--x=y",
        "HEAD~1",
        "~b",
        "a#",
        "case",
        " in ",
        "esac",
        ";;",
        "for",
        "if",
        "then",
        "function ",
        "$HOME",
        "HOME=",
        "{fd}>",
        "1>",
        " ",
        " ",
        " ",
    ]
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES, max_size=24).map("".join))
@example("$(case x in a) b;; esac) c")
@example("a=(b) c")
@example("a 2>b 3<c d>(e)")
@example("a b\\\nc d")
@example("for a in ~b; do ((c)); done")
def test_simple_words_are_cut_as_all_others_are(text):
    fast = [_written_out(token) for token in Lexer(text).tokens()]
    with pytest.MonkeyPatch.context() as patch:
        operators = re.compile(rf"(?:[ \t]|\\\n)*+(?:((?!))|({lexer._OPERATOR}))")
        patch.setattr(word_lexer, "_SIMPLE_WORD", re.compile(r"(?!)"))
        patch.setattr(lexer, "_NEXT", operators)
        assert fast == [_written_out(token) for token in Lexer(text).tokens()]


def test_braces_are_the_words_that_they_stand_for():
    assert one("git pu{sh,ll} a{,.b}").argv == ["git", "push", "pull", "a", "a.b"]
    assert one("{git,push}").name == "git"
    assert one("rm '{a,b}' {x}").argv == ["rm", "{a,b}", "{x}"]
