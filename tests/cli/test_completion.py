"""``mtljax completion``: bash completes what it says."""

import shutil
import subprocess

import pytest


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values(mtljax, tmp_path):
    code, script, err = mtljax("completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "completion.bash").write_text(script)
    # As bash calls it: the words so far, and which of them is being written.
    ask = 'COMPREPLY=(); COMP_WORDS=({}); COMP_CWORD={}; $function; echo "${{COMPREPLY[@]}}"\n'
    lines = [
        "source ./completion.bash",
        "function=$(complete -p mtljax | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n",
    ]
    asked = ["mtljax tr", "mtljax train --encoder.ki", 'mtljax train --encoder.kind ""']
    lines += [ask.format(words, len(words.split()) - 1) for words in asked]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    command, option, values = done.stdout.splitlines()
    assert command.split() == ["train"] and option.split() == ["--encoder.kind"]
    assert set(values.split()) == {"lstm", "transformer", "linear"}


def test_a_shell_that_is_not_known(refused):
    assert "fish" in refused("completion", "csh")
