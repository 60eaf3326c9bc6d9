"""``mtljax data``: what a data set, a file or the data of a tasks file hold."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from mtljax.cli.options import data_directory, next_command, parse, print_json, printable
from mtljax.errors import UserError
from mtljax.json_values import plain_values
from mtljax.presets import AUTO, LONGEST_ROW, read_automatic
from mtljax.tasks import Dataset, load_tasks
from mtljax.tasks.dataset import ENDINGS, PACKED_ENDINGS

_SHOWN = 60  # letters of a value


@dataclasses.dataclass(frozen=True)
class Options:
    """Say what a data set is: rows, lengths, classes, duplicates, what would be cut.

    Of a tasks file, what each task has of it: the texts are then counted in the pieces of the
    tokenizer, and what is odd is told as at the start of a run.

    Attributes:
      what: a file (JSON lines, CSV, TSV, CoNLL, text), a set inside the package or in TFDS format,
        or a tasks file (YAML).
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      row_length: pieces of a row, as --batch.row-length of 'mtljax train'; by default what it would
        choose for the tasks, 512 at most.
      json: print one JSON object.
    """

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE|SET|TASKS")]
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    row_length: int | None = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "data", arguments)
    if options.row_length is not None and options.row_length < 2:
        raise UserError(f"--row-length: must be 2 or more, got {options.row_length}")
    of_tasks = options.what.endswith((".yaml", ".yml"))
    found, lines = (_of_tasks if of_tasks else _of_set)(options)
    if options.json:
        print_json(plain_values(found))
    else:
        for line in lines:
            print(printable(line))
    return 0


def _of_set(options: Options) -> tuple[dict[str, Any], Iterator[str]]:
    from mtljax.data import load_source
    from mtljax.studies.source_card import source_card, suggested_tasks

    dataset = _dataset(options.what)
    data_dir = data_directory(options.data_dir)
    source = load_source(dataset, data_dir, bad_rows="skip")
    card = source_card(source, options.row_length or LONGEST_ROW)
    name = dataset if isinstance(dataset, str) else dataset.name
    draft: dict[str, Any] = {"tasks": suggested_tasks(card, name)}
    if isinstance(dataset, Dataset):
        draft = {"sources": {name: {"path": str(dataset.path)}}, **draft}
    return {**card._asdict(), "draft": draft}, _set_lines(options, card, draft)


def _dataset(what: str) -> str | Dataset:
    """The name of a set, or the description of a file."""
    path = Path(what)
    known = {*ENDINGS} & {*path.suffixes}
    if not known and not path.is_file():
        return what
    if not known:
        endings = ", ".join((*ENDINGS, *(f".jsonl{packed}" for packed in PACKED_ENDINGS)))
        raise UserError(f"{what}: of no format that is known by its ending ({endings})")
    name = re.sub(r"\W", "_", path.name.split(".")[0], flags=re.ASCII).strip("_") or "data"
    return Dataset(name, path=what)


def _set_lines(options: Options, card: Any, draft: dict[str, Any]) -> Iterator[str]:
    yield f"{options.what}: {_counted(card.rows)}"
    for split, count in card.left_out.items():
        if count:
            yield f"  {count:,} malformed rows of {split} are left out"
    for name, feature in card.features.items():
        yield f"  {name} ({feature.kind})"
        yield from (
            f"    {line}" for line in _feature_lines(feature, card.longer.get(name), options)
        )
    if draft["tasks"]:
        yield ""
        yield "a tasks file to begin with, from what recurs:"
        yield ""
        written = yaml.safe_dump(
            draft, sort_keys=False, default_flow_style=None, allow_unicode=True
        )
        yield from written.splitlines()


def _feature_lines(feature: Any, longer: float | None, options: Options) -> Iterator[str]:
    if feature.missing:
        yield f"missing in {feature.missing:,} rows"
    words = None if feature.recurs else feature.words
    if words is not None:
        median, most, longest = words
        yield f"{_words(median)} in the middle, {most} or fewer in 95 %, {longest} at most"
        if longer:
            limit = f"the {LONGEST_ROW} of the longest row that is chosen"
            if options.row_length:
                limit = f"--batch.row-length {options.row_length}"
            yield f"{100 * longer:.1f} % have more words than {limit}"
    common = ", ".join(f"{value[:_SHOWN]} {count:,}" for value, count in feature.common)
    if feature.kind == "text" and words is not None:
        if feature.repeated:
            yield f"{feature.repeated:,} rows of train repeat an earlier one, most often:"
            yield from (f"  {value[:_SHOWN]} {count:,}" for value, count in feature.common[:2])
    elif feature.distinct:
        values = "1 value" if feature.distinct == 1 else f"{feature.distinct:,} different values"
        yield f"{values}, most often {common}"
        if feature.kind == "number" and feature.recurs:
            yield "few whole numbers: if they are names of classes, kind: classification"
    for split, count in feature.also_trained.items():
        if count and words is not None:
            yield f"{count:,} rows of {split} are in train too"


def _of_tasks(options: Options) -> tuple[dict[str, Any], Iterator[str]]:
    from mtljax.data import load_data
    from mtljax.studies import data_cards
    from mtljax.training.model import data_options
    from mtljax.training.reporting.data_notes import data_notes

    tasks = load_tasks(options.what)
    said: dict[str, Any] = {"preset": AUTO, "data": {"bad_rows": "skip"}}
    if options.row_length:
        said["batch"] = {"row_length": options.row_length}
    data_dir = data_directory(options.data_dir)
    config, tasks, _ = read_automatic(said, tasks, data_dir)
    data = load_data(
        tasks, data_options(config, tasks), data_dir=data_dir, tokenizer=config.tokenizer
    )
    cards, notes = data_cards(data, tasks), data_notes(data)
    found = {"tasks": {name: card._asdict() for name, card in cards.items()}, "notes": notes}
    kinds = {task.name: task.kind for task in tasks}
    skipped = [*data.skipped_rows.values(), *data.skipped_targets.values()]
    # Such rows stop a run that is not told to leave them out.
    more = ("--data.bad-rows", "skip") if any(any(n.values()) for n in skipped) else ()
    following = next_command("train", "--tasks", options.what, *more)
    return found, _task_lines(kinds, cards, [*notes, following])


def _task_lines(
    kinds: dict[str, str], cards: dict[str, Any], notes: Sequence[str]
) -> Iterator[str]:
    for name, card in cards.items():
        yield f"{name} ({kinds[name]}): {_counted(card.rows)}"
        median, most = card.words
        yield f"  {_words(median)} in the middle, {most} or fewer in 95 %"
        if card.classes:
            yield f"  {card.classes} classes, balance {card.balance:.2f} (1: all equally frequent)"
        for split, count in card.repeated.items():
            if count:
                yield f"  {count:,} texts of {split} are in train too"
        for other, count in card.in_other_tasks.items():
            yield f"  {count:,} texts of test are in what {other} is trained on"
        for split, share in card.cut.items():
            yield f"  {100 * share:.1f} % of the texts of {split} are cut"
    yield from notes


def _words(count: int) -> str:
    return "1 word" if count == 1 else f"{count} words"


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} of {split}" for split, count in rows.items() if count)
