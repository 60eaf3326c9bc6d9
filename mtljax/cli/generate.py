"""``mtljax generate``: let a language model of a run go on with a prompt."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from mtljax.cli.options import Output, parse, print_json, printable, warn
from mtljax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Let a language model of a run go on with a prompt, or text to text answer it.

    Attributes:
      run: run directory.
      prompt: how the text begins, or the text to be answered; may be given several times.
      task: name of the language model or task of text to text; by default the first one.
      max_tokens: tokens that are added at most.
      temperature: 0 takes the most probable word each time, 1 draws from the model's distribution.
      top_k: draw from that many most probable words; 0 for all.
      top_p: draw from the most probable words that together have this probability.
      seed: of the draws.
      samples: texts for each prompt.
      json: print one JSON object a line, {"prompt", "continuation"}.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    prompt: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")
    ] = ()
    task: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    max_tokens: int = 50
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    seed: int = 0
    samples: int = 1
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "generate", arguments)
    if options.samples < 1:
        raise UserError(f"samples: must be at least 1, got {options.samples}")
    from mtljax.training import load_run

    prompts = [text for text in options.prompt or ("",) for _ in range(options.samples)]
    loaded = load_run(options.run, warn=warn)
    name = loaded.language_model(options.task)
    answers = any(task.name == name and task.kind == "text_to_text" for task in loaded.tasks)
    added = loaded.generate(
        prompts,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        task=options.task,
    )
    console = Output()
    for prompt, text in zip(prompts, added, strict=True):
        if options.json:
            print_json({"prompt": prompt, "continuation": text})
            continue
        if answers:
            console.print(printable(text), soft_wrap=True)
            continue
        joined = f"{prompt}{text.lstrip() if prompt[-1:].isspace() else text}"
        console.print(printable(joined), soft_wrap=True)
    return 0
