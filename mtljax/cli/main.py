"""The subcommands, and the exit codes of errors."""

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from mtljax import __version__
from mtljax.cli.exhausted import exhausted
from mtljax.cli.processes import preempted_code, preempted_line
from mtljax.errors import NotConverged, Preempted, UserError, missing_extra, visible

COMMANDS = {
    "train": "train several tasks in one model, or resume an interrupted run",
    "evaluate": "measure a run on a split of its data, or on a file",
    "compare": "put several runs side by side on the same texts, with intervals",
    "relate": "say whether joint training helps: tasks together and each alone, over seeds",
    "tune": "search learning rate, regularization and task weights within a budget of time",
    "mixture": "search the rates at which the tasks' data is read, by small runs",
    "predict": "answer some texts by every task of a run",
    "generate": "continue a prompt with a language model of a run, or answer it with text to text",
    "extend": "add tasks to a trained run, or train heads of it anew",
    "merge": "merge the encoders of runs that began from one, and keep the heads of all",
    "export": "write a run in a form that works without this library",
    "methods": "list the methods of weighting the tasks: what they read, cost and are for",
    "data": "say what a data set is: rows, lengths, classes, duplicates, what would be cut",
    "show": "show a run at a glance: settings, curves, best step, results",
    "inspect": "say what is in the directory of a run or of a pretrained model",
    "plan": "estimate what a step costs on devices that need not be at hand",
    "benchmark": "measure what a step costs on the devices at hand",
    "prepare": "download data sets of the TFDS catalogue",
    "completion": "print what completes commands and options in bash, zsh or fish",
}
"""What every subcommand does; its module here has its name."""

HELP = f"""usage: mtljax COMMAND [...]

Multi-task learning for text: one shared encoder, a head and a loss for every task.

commands:
{chr(10).join(f"  {name:<12}{what}" for name, what in COMMANDS.items())}

mtljax COMMAND --help shows what matters of a command, --help-all every option with its default.
mtljax --version shows the version.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `mtljax` command.

    Args:
      argv: arguments after the name of the program; those of the process by default.

    Returns:
      The exit code: 0 on success; 2 for what the user got wrong, or when disk, memory or open files
      are used up, with one line on stderr that says what and where; 130 when interrupted; 143 when
      SIGTERM came; 1 for a plan that does not fit, for a solver that has not converged, and,
      quietly, when nobody reads the output any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    where = f"mtljax {name}" if name in COMMANDS else "mtljax"
    with contextlib.suppress(
        AttributeError
    ):  # a letter that the terminal lacks is no reason to stop
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        try:
            return _run(name, arguments[1:])
        finally:
            sys.stdout.flush()
    except UserError as error:
        _complain(f"{where}: {error}")
        return 1 if isinstance(error, NotConverged) else 2
    except Preempted as stopped:
        _complain(f"{where}: {preempted_line(stopped)}")
        return preempted_code(stopped)
    except KeyboardInterrupt:
        writes = any(word.startswith("--output") for word in arguments)
        runs = {
            **dict.fromkeys(("train", "extend"), "the run"),
            "relate": "the study",
            "tune": "the search",
        }
        left = {**runs, "generate": "the output" if writes else ""}.get(name)
        more = f"; the same command continues where {left} was left" if left else ""
        _complain(f"{where}: interrupted{more}")
        return 130
    except BrokenPipeError:
        _drop_output()
        return 1
    except SystemExit as exit_:
        return 0 if exit_.code is None else int(exit_.code)
    except Exception as error:
        told = missing_extra(error, where) if isinstance(error, ImportError) else None
        if told is not None:
            _complain(str(told))
            return 2
        reason = exhausted(error)
        if reason is None:
            raise
        _drop_output()
        _complain(f"{where}: {reason}")
        return 2


def _run(name: str, arguments: list[str]) -> int:
    if not name:
        raise UserError(f"name a command: {', '.join(COMMANDS)} (mtljax --help says more)")
    if name in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if name == "--version":
        print(f"mtljax {__version__}")
        return 0
    if name not in COMMANDS:
        from mtljax.tasks import suggestion

        raise UserError(f"unknown command {name!r}{suggestion(name, COMMANDS)}")
    return importlib.import_module(f"mtljax.cli.{name}").run(arguments)


def _drop_output() -> None:
    # What is still buffered for a reader that is gone, or a full disk, must not fail again at exit.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str) -> None:
    # A message may quote line ends, and letters that the terminal cannot show.
    line = " ".join(visible(text).split())
    print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)
