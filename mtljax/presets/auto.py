"""The preset `auto`: a configuration chosen by the sizes, kinds and lengths of the tasks."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mtljax.kinds import KINDS
from mtljax.modules.config import HeadsConfig
from mtljax.presets.config import BatchConfig, Config, StoppingConfig, flatten
from mtljax.presets.presets import finetune, linear, small
from mtljax.presets.task_facts import TaskFacts

_MANY_TEXTS = 100_000
_MANY_WORDS = 1_000_000
_FEW_WORDS = 150_000
_FEW_CLASSES = 8
_MANY_TAGS = 150
_PIECES = {"words": 1.0, "character": 6.0, "byte": 6.0}  # a word, or else about 1.5
_EVALUATIONS = 12
_PATIENCE = 5

LONGEST_ROW = 512
"""The longest row that is chosen."""


class Reason(NamedTuple):
    """Why some settings are as they are.

    Attributes:
      fields: their dotted names.
      text: says what they are, and why.
    """

    fields: tuple[str, ...]
    text: str


class Choice(NamedTuple):
    """What `choose` chose.

    Attributes:
      config: a whole configuration.
      losses: by the names of tasks, losses in place of those of their kinds.
      reasons: for what is not as in every run.
    """

    config: Config
    losses: Mapping[str, str]
    reasons: tuple[Reason, ...]


def choose(tasks: Sequence[TaskFacts], said: Mapping[str, Any] | None = None) -> Choice:
    """Choose a configuration by what is known of the tasks; a pure function.

    - *Encoder.* Tasks that all have one answer to one text, and 100,000 texts at most, have n-grams
      straight to the heads: so few texts say what words mean, hardly what their order does, and it
      takes a quarter of the time. Others have an LSTM, in both directions where no task writes.
    - *Regularization.* A tagger drops half of its features, another LSTM 40 %, as in the preset
      `small`; n-grams of few classes have a weight decay.
    - *Tags* are chosen together by a conditional random field, where there are 150 at most; words
      are read as characters too where there are at most 150,000 to train on.
    - *Steps* are passes over the data: 5 of n-grams, 15 where there are more than eight classes, 30
      of taggers, 10 of tasks that write, 6 otherwise, within bounds that keep a run below ten
      minutes on two cores. Validation is measured twelve times, and a run ends when it has not been
      better five times in a row; the warm-up is a twentieth of the steps.
    - *Rows* hold 99 of 100 texts, and 512 words at most.
    - A *pretrained* encoder has the preset `finetune`.

    Args:
      tasks: from `task_facts`.
      said: what the user says, by dotted names, of settings that others depend on, which are
        `mtljax.presets.automatic.DEPENDED_ON`.

    Returns:
      A configuration, of which what the user says has yet to be replaced.
    """
    said = said or {}
    if said.get("encoder.pretrained"):
        text = "a pretrained encoder: the settings of the preset 'finetune'"
        chosen = dataclasses.replace(finetune().config, preset="auto")
        return Choice(chosen, {}, (Reason((), text),))
    words = sum({task.reads: task.words for task in tasks}.values())
    texts = sum({task.reads: task.texts for task in tasks}.values())
    layers = {"encoder.layers", "encoder.bidirectional", "sharing.structure"} & set(said)
    grams = not layers and said.get("encoder.kind", "linear") == "linear"
    grams = grams and _reads_grams(tasks, texts)
    writes = any(KINDS[task.kind].writes for task in tasks)
    tags = not writes and any(KINDS[task.kind].per_token for task in tasks)
    make = _linear if grams else _tagger if tags else _small
    config, why, passes, (least, most) = make(tasks, words)
    reasons = [Reason((), _overview(tasks, texts, words)), *why]

    tokens = config.batch.tokens * (4 if words > _MANY_WORDS else 1)
    row_length, longest = _row_length(tasks, said)
    row_length = said.get("batch.row_length", row_length)
    tokens = said.get("batch.tokens", max(tokens, 16 * row_length))
    if "batch.row_length" not in said:
        row_length = min(row_length, max(tokens, 64))
    if row_length != config.batch.row_length and "batch.row_length" not in said:
        most_texts = f"99 of 100 texts have {longest} words or fewer"
        short = "" if row_length > longest else ", which are cut, as longer rows cost too much"
        reasons.append(Reason(("batch.row_length",), f"rows of {row_length}: {most_texts}{short}"))
    steps = min(max(round(passes * words / tokens), least), most)
    steps = said.get("steps", steps)
    # Epochs are of the largest input group: as many steps, if groups are read by their sizes.
    expected = said["epochs"] * words / tokens if said.get("epochs") else steps
    told = "steps" in said or "epochs" in said
    every = said.get("evaluate_every", max(1, math.ceil(expected / _EVALUATIONS)))
    waits = any(task.scored for task in tasks) and not told
    patience = math.ceil(_PATIENCE * steps / _EVALUATIONS / every) if waits else 0
    if not told:
        text = f"{steps} steps of {tokens:,} words, {steps * tokens / max(words, 1):.1f} passes"
        text += f", the learning rate at its {config.optimizer.learning_rate:g} after a twentieth"
        reasons.append(Reason(("steps", "batch.tokens", "optimizer.learning_rate"), text))
    if patience:
        text = f"validation every {every} steps; {patience} without a better score end the run"
        reasons.append(Reason(("evaluate_every", "stopping.patience"), text))

    losses = _losses(tasks)
    if losses:
        text = f"{', '.join(losses)}: loss crf, since neighbouring tags depend on each other"
        reasons.append(Reason((), text))
    chosen = dataclasses.replace(
        config,
        preset="auto",
        steps=steps,
        evaluate_every=every,
        batch=BatchConfig(tokens=tokens, row_length=row_length),
        stopping=StoppingConfig(patience=patience),
    )
    return Choice(chosen, losses, tuple(reasons))


def reasons_of(choice: Choice, config: Config) -> Iterator[str]:
    """The reasons of a choice that a configuration has kept, a line each.

    Args:
      choice: from `choose`.
      config: the choice, with what the user says in its place.
    """
    chosen, kept = flatten(choice.config), flatten(config)
    for reason in choice.reasons:
        if all(chosen[name] == kept[name] for name in reason.fields):
            yield f"auto: {reason.text}"


_Made = tuple[Config, list[Reason], float, tuple[int, int]]
"""A configuration, why, passes over the data, and the bounds of the steps."""


def _linear(tasks: Sequence[TaskFacts], words: int) -> _Made:
    many = max((task.classes for task in tasks), default=0) > _FEW_CLASSES
    width, rate, decay, passes = (128, 3e-3, 0.0, 15) if many else (64, 1e-3, 1.0, 5)
    config = linear().config
    encoder = dataclasses.replace(config.encoder, embedding=width, features=width)
    config = _with_rate(dataclasses.replace(config, encoder=encoder), rate, decay)
    text = f"n-grams of width {width} straight to the heads: each task has one answer to a text, "
    text += "and of so few texts the order of words is hardly learned"
    reasons = [Reason(("encoder.kind", "encoder.embedding"), text)]
    if decay:
        text = f"weight decay {decay:g}, since few classes are soon learned by heart"
        reasons.append(Reason(("optimizer.weight_decay",), text))
    return config, reasons, passes, (400, 2000)


def _tagger(tasks: Sequence[TaskFacts], words: int) -> _Made:
    characters = 12 if words <= _FEW_WORDS else 0
    config = small().config
    config = dataclasses.replace(
        _with_rate(config, 3e-3),
        tokenizer=dataclasses.replace(config.tokenizer, characters=characters),
        encoder=dataclasses.replace(config.encoder, features=256, dropout=0.5),
        heads=HeadsConfig(pooling=("mean", "max"), dropout=0.5, tag_dropout=0.5, tag_hidden=0),
        batch=BatchConfig(tokens=1024),
    )
    text = "an LSTM of width 256 in both directions, half of its features dropped: each word has "
    text += "an answer, which the words around it decide"
    reasons = [Reason(("encoder.kind", "encoder.features", "encoder.dropout"), text)]
    if characters:
        text = f"words are read as {characters} characters too: of {words:,} few are seen often"
        reasons.append(Reason(("tokenizer.characters",), text))
    return config, reasons, 30, (600, 6000)


def _small(tasks: Sequence[TaskFacts], words: int) -> _Made:
    config = small().config
    text = f"an LSTM of width {config.encoder.features}, {config.encoder.dropout:.0%} of its "
    text += "features dropped"
    reasons = [Reason(("encoder.kind", "encoder.features", "encoder.dropout"), text)]
    passes = 10 if any(KINDS[task.kind].writes for task in tasks) else 6
    return _with_rate(config, config.optimizer.learning_rate), reasons, passes, (500, 3000)


def _with_rate(config: Config, rate: float, decay: float = 0.0) -> Config:
    optimizer = dataclasses.replace(
        config.optimizer,
        learning_rate=rate,
        weight_decay=decay,
        warmup_steps=0,
        warmup_share=0.05,
    )
    return dataclasses.replace(config, optimizer=optimizer)


def _reads_grams(tasks: Sequence[TaskFacts], texts: int) -> bool:
    """Whether all tasks have an answer to one text, and there are few of these."""
    kinds = [KINDS[task.kind] for task in tasks]
    if any(kind.per_token or kind.writes for kind in kinds) or any(t.parts > 1 for t in tasks):
        return False
    return texts <= _MANY_TEXTS


def _overview(tasks: Sequence[TaskFacts], texts: int, words: int) -> str:
    count = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{count}, {texts:,} texts of {words / max(texts, 1):.0f} words on average to train on"


def _row_length(tasks: Sequence[TaskFacts], said: Mapping[str, Any]) -> tuple[int, int]:
    """The length of a row, and the words of a long text; language models read texts in parts."""
    read = [task for task in tasks if KINDS[task.kind].writes != "continuation"]
    longest = max((task.longest for task in read), default=0)
    pieces = longest * _PIECES.get(said.get("tokenizer.kind", "words"), 1.5)
    needed = pieces + max((task.parts for task in read), default=1)
    return min(max(64, 32 * math.ceil(needed / 32)), LONGEST_ROW), longest


def _losses(tasks: Sequence[TaskFacts]) -> dict[str, str]:
    if any(KINDS[task.kind].writes for task in tasks):
        return {}
    return {task.name: "crf" for task in tasks if task.chains and task.classes <= _MANY_TAGS}
