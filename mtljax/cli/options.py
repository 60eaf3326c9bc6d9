"""Options from dataclasses, errors in one line, and output for people and programs."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mtljax.errors import UserError, visible
from mtljax.json_values import nan_to_none
from mtljax.local_paths import CACHE_DIR, cache_home, check_local

T = TypeVar("T")

DATA_DIR = "MTLJAX_DATA_DIR"
"""The environment variable that names the default of ``--data-dir``."""

_JOINERS = "\u200c\u200d"
"""Letters of some scripts, and emoji, are joined or kept apart by these."""

_BEYOND_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters that JSON need not escape, and lone surrogates."""

HELP_ALL = "--help-all"
"""Shows all options of any command."""


def parse(
    options: type[T],
    command: str,
    arguments: Sequence[str],
    *,
    default: T | None = None,
    help_text: Callable[[], str] | None = None,
) -> T:
    """Read the options of a subcommand.

    Args:
      options: a dataclass whose fields are the options.
      command: name of the subcommand.
      arguments: what follows the subcommand.
      default: the values of fields that the arguments do not set; by default those of the class.
      help_text: what ``--help`` shows, where that is not all options; ``--help-all`` shows these.

    Returns:
      An instance of the dataclass.

    Raises:
      UserError: for an option that is unknown, missing or not of its type.
      SystemExit: with code 0, after ``--help``.
    """
    if help_text is not None and {"-h", "--help"} & set(arguments):
        print(help_text())
        raise SystemExit(0)
    import tyro

    arguments = ["--help" if argument == HELP_ALL else argument for argument in arguments]

    more: dict[str, Any] = {} if default is None else {"default": default}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                options,
                prog=f"mtljax {command}",
                args=arguments,
                config=(tyro.conf.SuppressFixed,),
                **more,
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        raise UserError(one_line(complaint.getvalue())) from None


def options_from(config: type[T], *names: str, **types: Any) -> type[T]:
    """A configuration of whose fields only some are options of a subcommand.

    It is what ``tyro.conf.arg(constructor=...)`` takes; the help texts are those of the
    configuration.

    Args:
      config: a dataclass.
      names: of the fields that are options.
      **types: of fields that are options as well, in place of their own types.

    Returns:
      A subclass in which the other fields keep their values.
    """
    import tyro

    fields = [
        (
            field.name,
            types.get(field.name, tyro.conf.Suppress[field.type]),
            dataclasses.field(default=field.default, metadata=field.metadata),
        )
        for field in dataclasses.fields(config)  # pyright: ignore[reportArgumentType]
        if field.name not in names
    ]
    return dataclasses.make_dataclass(config.__name__, fields, bases=(config,), frozen=True)


def one_line(complaint: str) -> str:
    r"""The message in a box, without the box and what follows its first paragraph.

    >>> one_line("╭─ Oops ─╮\n│ Wrong: │\n│ x      │\n│ ────── │\n│ For help, see │\n╰──╯")
    'wrong: x'
    """
    lines = [line.strip("│ ") for line in complaint.splitlines()]
    lines = [line for line in lines if line and line[0] not in "╭╰"]
    rules = [i for i, line in enumerate(lines) if set(line) <= {"─", "-"}]
    if rules and "╭" not in complaint:
        # A terminal without corners shows the title over a rule of its own.
        lines, rules = lines[rules[0] + 1 :], [i - rules[0] - 1 for i in rules[1:]]
    first = rules[0] if rules else len(lines)
    message = " ".join(lines[:first])
    hints = [line for line in lines[first:] if line.startswith("--") and set(line) > {"-"}]
    if hints and "nrecognized" in message:
        message += f"; did you mean {hints[0].split()[0]}?"
    message = re.sub(r"\s+", " ", message).strip() or "wrong arguments"
    message = re.sub(r"^Missing from [^:]*: (\S+) .*", r"missing argument: \1", message)
    return message[0].lower() + message[1:]


class Output(Console):
    """A console for results: no markup, no highlighting, no control characters of texts.

    A closed pipe raises.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Write out control characters of all texts; those of the terminal itself are kept."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(visible(text), style)

    def on_broken_pipe(self) -> None:
        """Raise, for `mtljax.cli.main` to end the command quietly."""
        raise BrokenPipeError


def data_directory(given: str | None) -> str | None:
    """The directory of data sets: of the option, else of the environment, else None."""
    return given or os.environ.get(DATA_DIR) or None


def cache_directory(given: str | None) -> str | None:
    """The directory of the token cache: of the option, of the environment, else the user's own.

    Returns:
      A path, or None where the option or the environment says 'off'.
    """
    chosen = given or os.environ.get(CACHE_DIR)
    if chosen == "off":
        return None
    check_local("token cache", chosen)
    return chosen or str(cache_home())


def next_command(*arguments: object) -> str:
    """A line that says how to go on, and can be pasted as it stands.

    Args:
      *arguments: of the command. `MTLJAX_PROGRAM` in the environment says how it is called.

    >>> next_command("predict", "runs/my run", "some text")
    "next: mtljax predict 'runs/my run' 'some text'"
    """
    program = os.environ.get("MTLJAX_PROGRAM") or "mtljax"
    return f"next: {shlex.join([program, *map(str, arguments)])}"


def python_command(*arguments: object) -> str:
    """The same for a file that needs packages of this Python: as it can be called from here."""
    python = sys.executable or "python"
    found = shutil.which("python")
    if found is not None and os.path.dirname(found) == os.path.dirname(python):
        python = "python"
    elif Path(python).is_relative_to(Path.cwd()):
        python = str(Path(python).relative_to(Path.cwd()))
    return f"next: {shlex.join([python, *map(str, arguments)])}"


def warn(text: str) -> None:
    """Print a warning, one line on stderr."""
    print(f"warning: {' '.join(visible(text).split())}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """A text that any terminal can show: without control characters and lone surrogates."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "\ufffd" for c in text
    )


def print_json(value: Any, file: TextIO | None = None) -> None:
    """Print a value as one line of JSON.

    Numbers that are not finite, which JSON lacks, become null; letters are escaped only where the
    encoding of the file lacks them, control characters always.

    Args:
      value: dicts, lists, texts and numbers, nested.
      file: the file to print to; stdout by default.
    """
    value = nan_to_none(value)
    encoding = (sys.stdout if file is None else file).encoding or "utf-8"
    line = _BEYOND_JSON.sub(
        lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False)
    )
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(value)
    print(line, file=file)
