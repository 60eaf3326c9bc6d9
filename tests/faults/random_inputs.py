"""Random tasks files and data files: each is read, or refused in a short line, in two seconds.

python tests/faults/random_inputs.py 500            # seeds 0 to 499
python tests/faults/random_inputs.py 1 --first 17   # one of them, with its traceback
"""

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mtljax.cli.inputs import read_texts
from mtljax.data import load_data
from mtljax.data.options import DataOptions
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError, visible
from mtljax.tasks import Task, load_tasks

SECONDS = 2.0
FEATURES = ["text", "label", "number", "tokens", "tags", "topics", "nosuch", "text2"]
KINDS = [
    *("classification", "multilabel", "tagging", "regression", "language_model", "text_to_text"),
]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 10**9, 10**30, -(10**400), 0.5, 1e308, float("nan")),
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "1e3",
        "nan",
        "[1, 2",
        "['a', 'b']",
        "\x1b[2J",
        "\u202e",
        "ä" * 3000,
    ),
    *([], [[]], [0, 1], ["a", "a"], [None], {}, {"a": 1}, {"a": {"b": [1]}}, [1.5, "x", None]),
]
OPTIONS = {
    "metrics": ["accuracy", ["macro_f1"], ["span_f1", "span_f1"], ["bleu"], []],
    "loss": ["softmax", "hinge", "squared", "huber", "sigmoid"],
    "scheme": ["bio", "bioes", "iob1", "none", "bilou", "bmes"],
    "class_weights": ["balanced", {"a": 2.0}, {"nosuch": 1}],
    "max_length": [4, 64, 10**9, 1],
    "batch_size": [1, 8, 10**9],
    "weight": [1, 0.1, 1e30],
    "rate": [0.5, [0.1, 0.3], 1e-12],
    "label_smoothing": [0.1, 0.999],
    "weights": ["number", "text"],
    "references": ["tokens", "text"],
    "rename_words": [0.5],
}
FEATURE_OPTIONS: list[Any] = [
    {"label": {"kind": "label", "classes": ["a", "b"]}},
    {"label": {"kind": "label", "classes": [True, 0, "a"]}},
    {"tags": {"kind": "tags"}, "tokens": {"kind": "tokens"}},
    {"number": {"kind": "number"}, "text": {"kind": "text"}},
    {"topics": {"kind": "label_set", "separator": ";"}},
]
SOURCE_OPTIONS: dict[str, dict[str, list[Any]]] = {
    "jsonl": {"features": FEATURE_OPTIONS},
    "csv": {
        "features": FEATURE_OPTIONS,
        "escape": ["\\", "x"],
        "skip_blanks": [True],
        "quotes": [True, False],
        "header": [True, False],
        "separator": [",", "\t", ";"],
    },
    "conll": {
        "features": [
            {"tokens": 0, "tags": 1},
            {"tokens": "form", "tags": 1},
            {"tokens": 1, "tags": 0},
        ],
        "separator": ["\t", " ", "|"],
        "comments": ["#", "", "%"],
    },
    "text": {"paragraphs": [True, False]},
}
ALL_OPTIONS: dict[str, list[Any]] = {
    "splits": [
        {"train": "{}", "validation": "{}[:2]"},
        {"train": "{}[10%:90%]", "validation": "{}[90%:]", "test": "{}[:1]"},
        {"train": "{}[50%:10%]"},
        {"test": "{}"},
        {"train": "*", "validation": ["{}", "{}"]},
    ],
    "format": ["jsonl", "csv", "tsv", "conll", "text", "parquet"],
}
FORMATS = {"json": "jsonl", "tsv": "csv", "conllu": "conll", "txt": "text"}


def data_bytes(rng: random.Random) -> tuple[str, bytes]:
    """The ending and the content of a data file: a right one, and then a few damages."""
    count = rng.choice([0, 1, 5, 20, 60, 60])
    rows = []
    for i in range(count):
        words = rng.choices(["good", "bad", "film", "नमस्ते", "e\u0301", "東京", "x" * 40], k=5)
        row = {
            "text": " ".join(words) + f" {i}",
            "label": rng.choice(["a", "b"]) if i else "a",
            "number": rng.choice([1, 2.5, -3]),
            "tokens": words,
            "tags": [rng.choice(["O", "B-X", "I-X"]) for _ in words],
            "topics": rng.sample(["u", "v", "w"], rng.randint(0, 3)),
        }
        if rng.random() < 0.05:
            row[rng.choice(list(row))] = rng.choice(ODD)
        if rng.random() < 0.02:
            del row[rng.choice(list(row))]
        rows.append(row)
    ending = rng.choice(["jsonl", "json", "csv", "tsv", "conll", "txt", "conllu"])
    if ending == "txt":
        text = "".join(f"{row.get('text')}\n" for row in rows)
    elif ending == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif ending == "json":
        text = json.dumps(rows)
    elif ending in ("csv", "tsv"):
        mark = "," if ending == "csv" else "\t"
        cells = [list(FEATURES[:6])]
        cells += [[row.get(name, "") for name in FEATURES[:6]] for row in rows]
        text = "".join(
            mark.join(
                f'"{str(cell).replace(chr(34), chr(34) * 2)}"' if mark in str(cell) else str(cell)
                for cell in line
            )
            + "\n"
            for line in cells
        )
    else:
        text = ""
        for row in rows:
            tokens, tags = row.get("tokens"), row.get("tags")
            if isinstance(tokens, list) and isinstance(tags, list):
                pairs = zip(tokens, tags, strict=False)
                text += "".join(f"{word}\t{tag}\n" for word, tag in pairs) + "\n"
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 4])):
        content = damaged(rng, content)
    return ending, content


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The content with one damage."""
    at, lines = rng.randint(0, len(content)), content.split(b"\n")
    kind = rng.randrange(11)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + rng.randbytes(rng.randint(1, 20)) + content[at:]
    if kind == 2 and content:
        flipped = bytearray(content)
        for _ in range(rng.randint(1, 10)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 3:
        del lines[rng.randrange(len(lines))]
        return b"\n".join(lines)
    if kind == 4:
        return content.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\n"]))
    if kind == 5:
        return content.decode("utf-8", "replace").encode(
            rng.choice(["utf-16", "utf-32", "latin-1"]), "replace"
        )
    if kind == 6:
        packed = gzip.compress(content)
        return packed if rng.random() < 0.7 else packed[: len(packed) // 2]
    if kind == 7:
        insert = rng.choice([b"\x00", b"\xef\xbb\xbf", b'"', b"[" * 5000, b"\t", b"#", b"{", b","])
        return content[:at] + insert + content[at:]
    if kind == 8:
        return b"\n".join(lines[:1] * rng.choice([2, 200]) + lines)
    if kind == 9:
        return content[:at] + str(rng.choice(ODD)).encode("utf-8", "replace") + content[at:]
    return content[:at] + b"a" * rng.choice([1000, 300_000]) + content[at:]


def tasks_text(rng: random.Random, data: str) -> str:
    """A tasks file: a right one, odd values, and then a few damages of its text."""
    source: dict[str, Any] = {"path": data}
    ending = data.partition(".")[2]
    known = SOURCE_OPTIONS[FORMATS.get(ending, ending)]
    if known is SOURCE_OPTIONS["conll"]:
        source["features"] = {"tokens": 0, "tags": 1}
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        name = rng.choice(list(known))
        source[name] = rng.choice(known[name] if rng.random() < 0.9 else ODD)
    if rng.random() < 0.2:
        name = rng.choice(list(ALL_OPTIONS))
        source[name] = json.loads(json.dumps(rng.choice(ALL_OPTIONS[name])).replace("{}", data))
        if name == "splits":
            source["path"] = "."
    tasks = {}
    for i in range(rng.choice([1, 1, 2, 3])):
        kind = rng.choice(KINDS if rng.random() < 0.95 else ["classify"])
        if known is SOURCE_OPTIONS["conll"] and rng.random() < 0.8:
            kind = "tagging"
        if known is SOURCE_OPTIONS["text"] and rng.random() < 0.8:
            kind = "language_model"
        fitting = {
            "classification": ("text", "label"),
            "multilabel": ("text", "topics"),
            "tagging": ("tokens", "tags"),
            "regression": ("text", "number"),
            "text_to_text": ("text", "text"),
        }.get(kind, ("text", None))
        if rng.random() < 0.07:
            fitting = rng.choice(FEATURES), rng.choice(FEATURES)
        task: dict[str, Any] = {"dataset": "s", "kind": kind, "inputs": fitting[0]}
        if fitting[1] is not None:
            task["targets"] = fitting[1]
        for _ in range(rng.choice([0, 0, 0, 1])):
            name = rng.choice(list(OPTIONS))
            task[name] = rng.choice(OPTIONS[name] if rng.random() < 0.7 else ODD)
        if rng.random() < 0.05:
            task[rng.choice(list(task))] = rng.choice(ODD)
        tasks[rng.choice(["t", "1", "x"]) + str(i) if rng.random() < 0.97 else "a b"] = task
    content: Any = {"sources": {"s": source}, "tasks": tasks}
    if rng.random() < 0.03:
        content[rng.choice(["tasks", "sources", "more"])] = rng.choice(ODD)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=rng.random() < 0.5)
    if rng.random() < 0.12:
        raw = damaged(rng, text.encode("utf-8", "surrogatepass"))
        return raw.decode("utf-8", "surrogateescape")
    return text


def check(seed: int, directory: Path) -> tuple[str, float]:
    """Read one random case.

    Args:
      seed: of the case.
      directory: an empty one, for its files.

    Returns:
      The refusal, or "" where all was read, and the seconds of the processor that it took.

    Raises:
      Exception: anything but a `UserError`, or a refusal that is no short line.
    """
    rng = random.Random(seed)
    ending, content = data_bytes(rng)
    (directory / f"d.{ending}").write_bytes(content)
    path = directory / "tasks.yaml"
    text = tasks_text(rng, f"d.{ending}")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    skipped = rng.choice(["error", "skip"])
    options = DataOptions(row_length=32, batch_tokens=256, bad_rows=skipped)
    start, said = time.process_time(), ""
    tasks: Sequence[Task] = ()
    notes: list[str] = []
    try:
        tasks = load_tasks(path)
        tokenizer = TokenizerSettings(kind=rng.choice(["words", "words", "character", "byte"]))
        data = load_data(tasks, options, tokenizer=tokenizer, say=notes.append)
        next(data.training_batches(0))
    except UserError as error:
        said = str(error)
    try:
        for _ in read_texts(str(directory / f"d.{ending}"), tasks):
            pass
    except UserError as error:
        notes.append(str(error))
    seconds = time.process_time() - start
    for line in (said, *notes):
        if len(line) > UserError.LENGTH or visible(line) != line:
            raise AssertionError(f"no short line: {line[:300]!r}")
    return said, seconds


def main() -> int:
    """Check as many cases as the command line says, and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the refusals")
    arguments = parser.parse_args()
    wrong = refused = 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        with tempfile.TemporaryDirectory() as place:
            try:
                said, seconds = check(seed, Path(place))
            except Exception:
                wrong += 1
                print(f"seed {seed}:\n{traceback.format_exc(limit=-6)}", flush=True)
                continue
        refused += bool(said)
        if seconds > SECONDS:
            wrong += 1
            print(f"seed {seed}: {seconds:.1f} s  {said[:100]}", flush=True)
        if arguments.show:
            print(f"seed {seed}: {said}")
    print(f"{arguments.count} cases, {refused} refused, {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
