"""A shell completes commands, also those of plugins, kinds and plugins' names."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from yoriai.commands.completion import SHELLS, VARIABLE

ASKED = {
    "li": (("yoriai", "li"), {"list", "lineage"}),
    "list so": (("yoriai", "list", "so"), {"sources"}),
    "plugins ch": (("yoriai", "plugins", "ch"), {"check"}),
    "plugins check an": (("yoriai", "plugins", "check", "an"), {"ant"}),
    "ant gr": (("yoriai", "ant", "gr"), {"greet"}),
}
COMMAND = '''
import click


@click.command()
def greet():
    """Say hello."""
'''
CODE = """
from yoriai import Entry, hookimpl


@hookimpl
def yoriai_commands():
    return [Entry(name="greet", target="ant.rules:greet", summary="Say hello.", licence="MIT")]
"""


@pytest.fixture
def ant(plant):
    plant("ant", CODE, files={"rules.py": COMMAND})


def ask(form, words, position, process):
    variables = {VARIABLE: form, "COMP_WORDS": words, "COMP_CWORD": position}
    answer = process(**variables)
    assert answer.code == 0, answer.err
    return answer.out


@pytest.mark.parametrize("case", ASKED)
def test_what_is_begun_is_completed(case, ant, process):
    words, expected = ASKED[case]
    line, last = " ".join(words), len(words) - 1
    bash = ask("bash_complete", line, str(last), process)
    assert {row.partition(",")[2] for row in bash.splitlines()} == expected
    zsh = ask("zsh_complete", line, str(last), process)
    assert expected <= set(zsh.splitlines())
    fish = ask("fish_complete", line, words[-1], process)
    assert expected == {row.partition(",")[2].partition("\t")[0] for row in fish.splitlines()}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_asks_yoriai(shell, yoriai):
    script = yoriai("completion", shell).out
    assert VARIABLE in script
    assert yoriai("completion", shell, "--json").json["script"].strip() == script.strip()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_can_read_the_script(shell, yoriai):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    script = yoriai("completion", shell).out
    done = subprocess.run(
        [program, "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_itself_completes_a_command(ant, yoriai, tmp_path, monkeypatch):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed here")
    program = tmp_path / "bin" / "yoriai"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m yoriai "$@"\n')
    program.chmod(0o755)
    script = yoriai("completion", "bash").out
    line = (
        f'export PATH="{program.parent}:$PATH"\n{script}\n'
        "COMP_WORDS=(yoriai ant gr); COMP_CWORD=2; _yoriai_completion yoriai\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run([bash, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["greet"]


def test_another_shell_is_refused(yoriai):
    assert yoriai("completion", "tcsh").code == 2
