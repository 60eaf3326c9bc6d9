"""``mtljax generate``: continue prompts with a run, or answer them."""

import contextlib
import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.draft import draft_of
from mtljax.cli.inputs import read_texts
from mtljax.cli.options import Output, options_from, parse, print_json, printable, warn
from mtljax.cli.resumed import Lines, resumed
from mtljax.errors import UserError
from mtljax.inference.generation_config import CONTINUATION, GenerationConfig, default_config
from mtljax.kinds import KINDS
from mtljax.local_paths import check_place

if TYPE_CHECKING:
    from mtljax.inference import Run
    from mtljax.tasks import Task

BATCH = 64
"""Prompts per batch, so that texts appear while a long input is still being read."""

_Texts = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")]
_SHOWN = {field.name for field in dataclasses.fields(GenerationConfig)} - {"stop", "too_long"}
_Settings = options_from(GenerationConfig, *_SHOWN, stop=_Texts)


@dataclasses.dataclass(frozen=True)
class Options:
    """Continue a prompt with a language model of a run, or answer it with text to text.

    Prompts are given as arguments, in a file, or on stdin with --input -. A line of a file is a
    JSON string, {"prompt": "..."}, {"text": "..."}, {"tokens": ["...", ...]}, texts by the names of
    the task's features, or plain text. Without any a language model begins a text. Text to text is
    written with --max-tokens 128 and --temperature 0 unless others are given.

    Attributes:
      run: run directory.
      prompt: the beginning of the text, or the text to be answered; may be given several times.
      input: file with a prompt a line; - for stdin.
      output: write JSON lines to this file, which appears when it is complete; the same command
        resumes it where it was interrupted.
      task: name of the language model or task of text to text; by default the first one.
      generation: how texts are written.
      truncate_left: read the end of a prompt that is longer than the model reads at once, instead
        of refusing it.
      stream: show words as they are generated.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print one JSON object a line, {"prompt", "continuation"}.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    prompt: _Texts = ()
    input: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    output: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    task: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    generation: Annotated[GenerationConfig, tyro.conf.arg(name="", constructor=_Settings)] = (
        CONTINUATION
    )
    truncate_left: tyro.conf.FlagCreatePairsOff[bool] = False
    stream: tyro.conf.FlagCreatePairsOff[bool] = False
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "generate", arguments)
    with compile_cache(options.compile_cache):
        return _run(arguments, options)


def _run(arguments: Sequence[str], options: Options) -> int:
    _check(options)
    if options.output not in (None, "-"):
        check_place("--output", options.output)
    from mtljax.inference import load_run

    loaded = load_run(options.run, warn=warn)
    task = next(t for t in loaded.tasks if t.name == loaded.language_model(options.task))
    config = chosen_settings(arguments, options, task)
    loaded.generate([], config, task=task.name)  # names a bad setting before reading any prompt
    prompts = _prompts(options, loaded, task, config)
    if options.stream:
        _stream(loaded, task, prompts, config)
    elif options.output is None or options.output == "-":
        for prompt, text in _texts(loaded, task, prompts, config, Counter()):
            _show(task, prompt, text, options.json)
    else:
        settings = {
            **dataclasses.asdict(config),
            "task": task.name,
            "run": str(Path(options.run).resolve()),
            "step": loaded.step,
            "input": options.input,
        }
        with resumed(options.output, settings, config.samples) as lines:
            _write(loaded, task, prompts, config, lines, options)
    return 0


def _check(options: Options) -> None:
    if options.prompt and options.input is not None:
        raise UserError("give either --prompt or --input, not both")
    if options.stream:
        for name, value in (
            ("json", options.json),
            ("output", options.output),
            ("beam", options.generation.beam),
        ):
            if value:
                raise UserError(f"--stream shows words as they are written: not with --{name}")


def chosen_settings(arguments: Sequence[str], options: Options, task: "Task") -> GenerationConfig:
    """The settings that the arguments choose; the others are the defaults of the task's kind."""
    defaults = default_config(KINDS[task.kind])
    if defaults != CONTINUATION:
        # The arguments again, now that the task and so the defaults are known.
        options = parse(
            Options, "generate", arguments, default=Options(options.run, generation=defaults)
        )
    too_long = "left" if options.truncate_left else "refuse"
    return dataclasses.replace(options.generation, too_long=too_long)


def _prompts(options: Options, run: "Run", task: "Task", config: GenerationConfig) -> Iterator[Any]:
    """The prompts, each checked, so that a bad one is named by its place."""

    def check(text: Any, place: str) -> None:
        try:
            run.check_prompt(text, config, task=task.name)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None

    if options.input is None:
        if not options.prompt:
            if KINDS[task.kind].writes == "answer":
                raise UserError("missing argument: --prompt or --input, a text to be answered")
            yield ""  # a language model begins
        for number, prompt in enumerate(options.prompt, start=1):
            check(prompt, f"prompt {number}")
            yield prompt
        return
    file = "stdin" if options.input == "-" else options.input
    for number, line, _ in read_texts(options.input, (task,)):
        named = isinstance(line, dict) and "prompt" in line and not line.keys() & {*task.parts}
        text = line["prompt"] if named else line  # pyright: ignore[reportArgumentType, reportCallIssue]
        check(text, f"{file}:{number}")
        yield text


def _texts(
    run: "Run",
    task: "Task",
    prompts: Iterator[Any],
    config: GenerationConfig,
    seen: Counter[str],
) -> Iterator[tuple[Any, str]]:
    while batch := list(itertools.islice(prompts, BATCH)):
        texts = iter(run.generate(batch, config, task=task.name, seen=seen))
        for prompt in batch:
            for text in itertools.islice(texts, config.samples):
                yield prompt, text


def _write(
    run: "Run",
    task: "Task",
    prompts: Iterator[Any],
    config: GenerationConfig,
    lines: Lines,
    options: Options,
) -> None:
    """Write the lines of an output, after those that an interrupted command left."""
    done = [
        line.get("prompt") if isinstance(line, dict) else None
        for line in lines.done[:: config.samples]
    ]
    before = list(itertools.islice(prompts, len(done)))
    if before != done:
        raise UserError(
            f"--output {options.output}: an unfinished one of other prompts is there; remove "
            f"{draft_of(options.output or '')} to start again"
        )
    seen = run.count_prompts(before, task.name, config.samples) if before else Counter[str]()
    with _progress(options, len(lines.done)) as advance:
        for prompt, text in _texts(run, task, prompts, config, seen):
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
    """Number of lines of the complete output, where that can be known."""
    if options.input is None:
        return max(1, len(options.prompt)) * options.generation.samples
    if not Path(options.input).is_file():
        return None
    with open(options.input, "rb") as file:
        return sum(1 for _ in file) * options.generation.samples


def _stream(run: "Run", task: "Task", prompts: Iterator[Any], config: GenerationConfig) -> None:
    """Print each text while it is written, as far as it is settled."""
    from mtljax.inference.generated_text import settled

    seen = Counter[str]()
    one = dataclasses.replace(config, samples=1)
    for prompt in prompts:
        for _ in range(config.samples):
            shown = ""

            def show(text: str, prompt: Any = prompt) -> None:
                nonlocal shown
                printed = printable(_joined(task, prompt, text))
                if printed.startswith(shown):
                    sys.stdout.write(printed[len(shown) :])
                    sys.stdout.flush()
                    shown = printed

            def on_text(text: str, show: Callable[[str], None] = show) -> None:
                show(settled(text, config.stop))

            show("")
            (text,) = run.generate([prompt], one, task=task.name, seen=seen, on_text=on_text)
            show(text)
            sys.stdout.write("\n")


def _show(task: "Task", prompt: Any, text: str, json: bool) -> None:
    if json:
        print_json({"prompt": prompt, "continuation": text})
    else:
        Output().print(printable(_joined(task, prompt, text)), soft_wrap=True)
    sys.stdout.flush()


def _joined(task: "Task", prompt: Any, text: str) -> str:
    if KINDS[task.kind].writes == "answer":
        return text.strip()
    if isinstance(prompt, Mapping):
        names = (task.inputs, "text", "tokens")
        prompt = next(prompt[name] for name in names if name in prompt)
    begin = prompt if isinstance(prompt, str) else " ".join(prompt)
    return f"{begin}{text.lstrip() if begin[-1:].isspace() else text}"
