"""``mtljax predict``: answer some texts by every task of a run."""

import contextlib
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import tyro
from rich.console import Console
from rich.text import Text

from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.draft import locked_draft
from mtljax.cli.inputs import InputText, parse_argument, read_texts
from mtljax.cli.options import Output, parse, print_json, printable, warn
from mtljax.errors import UserError
from mtljax.inference.decisions import USUAL, Decisions, check_decisions
from mtljax.local_paths import check_place

if TYPE_CHECKING:
    from mtljax.inference.run import Run

BATCH = 512
"""Texts per batch, so that answers appear while a long input is still being read."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Answer some texts by every task of a run.

    Texts are given as arguments, in a file, or on stdin. A line of a file is a JSON string,
    {"text": "..."}, {"tokens": ["...", ...]}, or plain text. Tasks of several inputs read an object
    with the names of their features, {"premise": "...", "hypothesis": "..."}, as line or argument;
    a feature may also stand where the data of the run has it. CSV, TSV and CoNLL files, and JSON
    arrays, are read row by row, as the data of the run was.

    Attributes:
      run: run directory.
      texts: the texts; put -- before one that begins with a dash.
      input: file with a text a line, or a table, by its ending; - for stdin, which is also read if
        no text is given and it is not a terminal.
      task: answer by this task only; may be given several times.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print one JSON object a line, {task: answer}.
      output: write to this file instead of stdout.
      keep_rows: with --json, print {"line": number, "row": what stood there, "answers": {task:
        answer}} for each text of a file, so that ids and other columns stay with the answers.
      threshold: of the probability from which a class is in a set of labels.
      reject_below: the label is null where the most probable class is less probable than this.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    texts: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[TEXT ...]")
    ] = ()
    input: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    task: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    output: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    keep_rows: tyro.conf.FlagCreatePairsOff[bool] = False
    threshold: float = USUAL.threshold
    reject_below: float = USUAL.reject_below


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "predict", arguments)
    with compile_cache(options.compile_cache):
        return _run(options)


def _run(options: Options) -> int:
    source = _source(options)
    decisions = Decisions(options.threshold, options.reject_below)
    check_decisions(decisions)
    if options.keep_rows and (source is None or not options.json):
        raise UserError("--keep-rows: needs --json, and texts from a file or stdin")
    if options.output not in (None, "-"):
        check_place("--output", options.output)
    from mtljax.inference import load_run

    loaded = load_run(options.run, warn=warn)
    loaded.predict([], tasks=options.task)  # names an unknown task before any text is read
    tasks = options.task or None
    texts = _texts(options, source, loaded, lambda text: loaded.check_text(text, tasks))
    with _writing(options.output) as file:
        console = Output(file=file)
        while batch := list(itertools.islice(texts, BATCH)):
            asked = [one.text for one in batch]
            answers = loaded.predict(asked, tasks=tasks, decisions=decisions)
            for one, answer in zip(batch, answers, strict=True):
                if options.keep_rows:
                    kept = {"line": one.line, "row": _fields(one.row), "answers": answer}
                    print_json(kept, file)
                elif options.json:
                    print_json(answer, file)
                else:
                    show(console, one.text, answer)
            file.flush()
    return 0


def show(console: Console, text: Any, answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a text and the answers to it, for people."""
    if isinstance(text, Mapping):
        shown = "  ".join(f"{name}: {_joined(part)}" for name, part in text.items())
    else:
        shown = _joined(text)
    console.print(Text(_short(shown), style="bold"), soft_wrap=True)
    width = max(map(len, answers), default=0)
    for task, answer in answers.items():
        line = Text(f"  {task:<{width}}  ", style="cyan")
        console.print(line.append(Text(_in_words(answer), style="default")), soft_wrap=True)


def _joined(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else " ".join(text)


def _in_words(answer: Mapping[str, Any]) -> str:
    if "label" in answer:
        best = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:3]
        shares = "  ".join(f"{printable(name)} {100 * p:.1f} %" for name, p in best)
        label = "(rejected)" if answer["label"] is None else printable(answer["label"])
        return f"{label}  ({shares})"
    if "labels" in answer:
        shares = answer["probabilities"]
        labels = (f"{printable(name)} {100 * shares[name]:.1f} %" for name in answer["labels"])
        return "  ".join(labels) or "(no label)"
    if "value" in answer:
        number = answer["value"]
        # Prices are read as whole numbers, not as powers of ten.
        return f"{number:.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"
    if "restored" in answer:
        return _short(answer["restored"])
    if "tags" in answer:
        pairs = zip(answer["words"], answer["tags"], strict=True)
        return _short(" ".join(f"{word}/{tag}" for word, tag in pairs))
    if "text" in answer:
        return _short(answer["text"]) or "(nothing)"
    return f"… {_short(answer['continuation'])}" if answer["continuation"] else "(ends here)"


def _short(text: str, most: int = 2000) -> str:
    shown = printable(text[:most])
    return shown if len(text) <= most else f"{shown} … ({len(text):,} characters)"


def _source(options: Options) -> str | None:
    """The file that texts are read from, ``-`` for stdin; None where they are arguments."""
    if options.texts and options.input is not None:
        raise UserError("give either texts or --input, not both")
    if options.texts or options.input is not None:
        return options.input
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("no text: give one, or --input FILE, or pipe some in")
    return "-"


def _texts(
    options: Options, source: str | None, run: "Run", check: Callable[[Any], None]
) -> Iterator[InputText]:
    """The texts, each checked, so that a bad one is named by its line."""
    if source is None:
        for number, text in enumerate(map(parse_argument, options.texts), start=1):
            check(text)
            yield InputText(number, text, text)
        return
    tasks = [task for task in run.tasks if not options.task or task.name in options.task]
    name = "stdin" if source == "-" else source
    for one in read_texts(source, tasks):
        try:
            check(one.text)
        except UserError as error:
            raise UserError(f"{name}:{one.line}: {error}") from None
        yield one


def _fields(row: Any) -> Any:
    """What stands in a line, parsed where it is an object of JSON."""
    if isinstance(row, str) and row.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(row)
    return row


@contextlib.contextmanager
def _writing(path: str | None) -> Iterator[TextIO]:
    if path is None or path == "-":
        yield sys.stdout
        return
    # A file appears when it is complete, or not at all; a pipe or device is written to as it is.
    target = Path(path)
    if _is_special(target):
        with _opened(target, path) as file:
            yield file
        return
    with locked_draft(path) as draft:
        try:
            with _opened(draft, path) as file:
                yield file
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _opened(file: Path, path: str) -> TextIO:
    try:
        return file.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None


def _is_special(path: Path) -> bool:
    # Unlike those of a path these are False for names that no file may have.
    return os.path.exists(path) and not os.path.isfile(path)
