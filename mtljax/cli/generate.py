"""``mtljax generate``: what a task of a run writes after some prompts."""

import contextlib
import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mtljax.cli.inputs import read_texts
from mtljax.cli.options import Output, parse, print_json, printable, warn
from mtljax.cli.resumed import Lines, draft_of, resumed
from mtljax.errors import UserError

if TYPE_CHECKING:
    from mtljax.inference import Run
    from mtljax.tasks import Task

BATCH = 64
"""Prompts that are read at a time, so that texts flow while a long input is read."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Let a language model of a run go on with a prompt, or text to text answer it.

    Prompts are given as arguments, in a file, or on stdin with --input -. A line of a file is a
    JSON string, {"prompt": "..."}, {"text": "..."}, {"tokens": ["...", ...]}, texts by the names of
    the task's features, or plain text. Without any a language model begins a text.

    Attributes:
      run: run directory.
      prompt: how the text begins, or the text to be answered; may be given several times.
      input: file with a prompt a line; - for stdin.
      output: write JSON lines to this file, which appears when it is complete; the same command
        goes on with it where it was interrupted.
      task: name of the language model or task of text to text; by default the first one.
      max_tokens: tokens that are added at most; by default 50 for a language model, else 128.
      temperature: 0 takes the most probable word each time, 1 draws from the model's distribution;
        by default 0.8 for a language model, else 0.
      top_k: draw from that many most probable words; 0 for all.
      top_p: draw from the most probable words that together have this probability.
      min_p: draw from the words at least this share as probable as the most probable one.
      repetition_penalty: divides the scores of words that are there already; 1 for none.
      no_repeat_ngram: no n words in a row twice, for this n; 0 for no such rule.
      beam: search for the most probable text with so many beginnings; 0 draws words instead. With a
        beam, temperature, top_k, top_p, min_p and seed do not count.
      length_penalty: of a beam; 0 favours short texts, 1 compares means a word, more favours long
        ones.
      samples: texts for each prompt; with a beam the best ones.
      stop: end a text before this one; may be given several times.
      seed: of the draws.
      truncate_left: read the end of a prompt that is longer than the model reads at once, instead
        of refusing it.
      stream: show words as they are written.
      json: print one JSON object a line, {"prompt", "continuation"}.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    prompt: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")
    ] = ()
    input: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    output: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    task: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    max_tokens: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    temperature: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    beam: int = 0
    length_penalty: float = 1.0
    samples: int = 1
    stop: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")] = ()
    seed: int = 0
    truncate_left: tyro.conf.FlagCreatePairsOff[bool] = False
    stream: tyro.conf.FlagCreatePairsOff[bool] = False
    json: tyro.conf.FlagCreatePairsOff[bool] = False


_ELSEWHERE = ("run", "prompt", "input", "output", "stream", "json")


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "generate", arguments)
    _check(options)
    from mtljax.inference import load_run

    loaded = load_run(options.run, warn=warn)
    task = next(t for t in loaded.tasks if t.name == loaded.language_model(options.task))
    how = _settings(options, task)
    loaded.generate([], **how)  # names a setting out of range before any prompt is read
    prompts = _prompts(options, loaded, task, how)
    if options.stream:
        _stream(loaded, task, prompts, how)
    elif options.output is None or options.output == "-":
        for prompt, text in _texts(loaded, prompts, how, Counter()):
            _show(task, prompt, text, options.json)
    else:
        settings = {
            **how,
            "run": str(Path(options.run).resolve()),
            "step": loaded.step,
            "input": options.input,
        }
        with resumed(options.output, settings, options.samples) as lines:
            _write(loaded, prompts, how, lines, options)
    return 0


def _check(options: Options) -> None:
    if options.prompt and options.input is not None:
        raise UserError("give either --prompt or --input, not both")
    if options.stream:
        for name in ("json", "output", "beam"):
            if getattr(options, name):
                raise UserError(f"--stream shows words as they are written: not with --{name}")


def _settings(options: Options, task: "Task") -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(options)]
    how = {name: getattr(options, name) for name in names if name not in _ELSEWHERE}
    answers = task.kind == "text_to_text"
    if how["max_tokens"] is None:
        how["max_tokens"] = 128 if answers else 50
    if how["temperature"] is None:
        how["temperature"] = 0.0 if answers else 0.8
    return {**how, "task": task.name}


def _prompts(options: Options, run: "Run", task: "Task", how: Mapping[str, Any]) -> Iterator[Any]:
    check = {name: how[name] for name in ("task", "max_tokens", "truncate_left")}
    if options.input is None:
        if not options.prompt:
            if task.kind == "text_to_text":
                raise UserError("missing argument: --prompt or --input, a text to be answered")
            yield ""  # a language model begins
        for number, prompt in enumerate(options.prompt, start=1):
            _checked(run, prompt, f"prompt {number}", check)
            yield prompt
        return
    place = "stdin" if options.input == "-" else options.input
    for number, line in enumerate(read_texts(options.input), start=1):
        named = isinstance(line, dict) and "prompt" in line and not line.keys() & {*task.parts}
        text = line["prompt"] if named else line  # pyright: ignore[reportArgumentType, reportCallIssue]
        _checked(run, text, f"{place}:{number}", check)
        yield text


def _checked(run: "Run", text: Any, place: str, check: Mapping[str, Any]) -> None:
    try:
        run.check_prompt(text, **check)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _texts(
    run: "Run", prompts: Iterator[Any], how: Mapping[str, Any], seen: Counter[str]
) -> Iterator[tuple[Any, str]]:
    while batch := list(itertools.islice(prompts, BATCH)):
        texts = iter(run.generate(batch, **how, seen=seen))
        for prompt in batch:
            for text in itertools.islice(texts, how["samples"]):
                yield prompt, text


def _write(
    run: "Run", prompts: Iterator[Any], how: Mapping[str, Any], lines: Lines, options: Options
) -> None:
    samples, seen = how["samples"], Counter[str]()
    done = [
        line.get("prompt") if isinstance(line, dict) else None for line in lines.done[::samples]
    ]
    before = list(itertools.islice(prompts, len(done)))
    if before != done:
        raise UserError(
            f"--output {options.output}: an unfinished one of other prompts is there; remove "
            f"{draft_of(options.output or '')} to begin anew"
        )
    if before:
        seen = run.count_prompts(before, how["task"], samples)
    with _progress(options, len(lines.done)) as advance:
        for prompt, text in _texts(run, prompts, how, seen):
            print_json({"prompt": prompt, "continuation": text}, lines.file)
            lines.file.flush()
            advance()


@contextlib.contextmanager
def _progress(options: Options, done: int) -> Iterator[Callable[[], Any]]:
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=_count(options), completed=done)
        yield lambda: bar.advance(task)


def _count(options: Options) -> int | None:
    """Lines that there will be, where that can be known."""
    if options.input is None:
        return max(1, len(options.prompt)) * options.samples
    if not Path(options.input).is_file():
        return None
    with open(options.input, "rb") as file:
        return sum(1 for _ in file) * options.samples


def _stream(run: "Run", task: "Task", prompts: Iterator[Any], how: Mapping[str, Any]) -> None:
    from mtljax.inference.text_generator import settled

    seen = Counter[str]()
    for prompt in prompts:
        for _ in range(how["samples"]):
            shown = ""

            def show(text: str, prompt: Any = prompt) -> None:
                nonlocal shown
                whole = printable(_joined(task, prompt, text))
                if whole.startswith(shown):
                    sys.stdout.write(whole[len(shown) :])
                    sys.stdout.flush()
                    shown = whole

            def say(text: str, show: Callable[[str], None] = show) -> None:
                show(settled(text, how["stop"]))

            show("")
            (text,) = run.generate([prompt], **{**how, "samples": 1}, seen=seen, say=say)
            show(text)
            sys.stdout.write("\n")


def _show(task: "Task", prompt: Any, text: str, json: bool) -> None:
    if json:
        print_json({"prompt": prompt, "continuation": text})
    else:
        Output().print(printable(_joined(task, prompt, text)), soft_wrap=True)
    sys.stdout.flush()


def _joined(task: "Task", prompt: Any, text: str) -> str:
    if task.kind == "text_to_text":
        return text.strip()
    if isinstance(prompt, Mapping):
        names = (task.inputs, "text", "tokens")
        prompt = next(prompt[name] for name in names if name in prompt)
    begin = prompt if isinstance(prompt, str) else " ".join(prompt)
    return f"{begin}{text.lstrip() if begin[-1:].isspace() else text}"
