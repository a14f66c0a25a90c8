"""``yoriai completion``: the lines by which a shell completes commands, options and names."""

from __future__ import annotations

import click

from yoriai import console

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_YORIAI_COMPLETE"


@click.command(epilog="""\b
Examples:
  yoriai completion bash > ~/.local/share/bash-completion/completions/yoriai
  yoriai completion zsh > ~/.zfunc/_yoriai
  yoriai completion fish > ~/.config/fish/completions/yoriai.fish
""")  # fmt: skip
@click.argument("shell", type=click.Choice(SHELLS))
@console.json_option
def completion(shell: str, as_json: bool) -> None:
    """Print the script by which SHELL completes commands, options, kinds and plugins.

    Commands of plugins are completed too: the shell asks this program, which
    imports none of them.
    """
    from click.shell_completion import get_completion_class

    from yoriai.cli import cli

    found = get_completion_class(shell)
    assert found is not None, shell
    # Not source(): for bash that asks the bash of this machine for its version.
    complete = found(cli, {}, "yoriai", VARIABLE)
    script = complete.source_template % complete.source_vars()
    console.emit({"shell": shell, "script": script}, as_json=as_json, text=script.rstrip)
