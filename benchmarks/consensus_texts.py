"""For each source of a training split, the texts that agree most with what people wrote.

Several people describe the same facts, some in a way of their own. A model that learns from all of
them spreads its probability over all; what BLEU counts is what they have in common. Here a trained
model writes texts for the sources that it was trained on, a beam of them and some that are drawn.
Of these and the people's, the ones with the highest sentence BLEU against the (other) people's are
kept: the data for another model, which learns one way to say it. This is distillation of sequences
(Kim and Rush 2016), by the measure that counts. Validation and test stay what they are. Writes
`train.jsonl`, `validation.jsonl` and `test.jsonl`.

    python benchmarks/consensus_texts.py e2e_nlg --run RUN --data-dir DATA --out e2e_distilled
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sacrebleu.metrics.bleu import BLEU

from mtljax.data import load_source
from mtljax.inference import Run, load_run

FEATURES = ("source", "target", "references")
SAMPLES, BEAM, TEMPERATURE = 16, 4, 0.7


def written(run: Run, sources: Sequence[str]) -> list[list[str]]:
    """For each source the texts of a beam, and texts that are drawn."""
    task = next(task.name for task in run.tasks if task.kind == "text_to_text")
    drawn = run.generate(
        sources, max_tokens=80, temperature=TEMPERATURE, samples=SAMPLES, seed=0, task=task
    )
    beams = run.generate(sources, max_tokens=80, beam=BEAM, samples=BEAM, task=task)
    return [
        drawn[i * SAMPLES : (i + 1) * SAMPLES] + beams[i * BEAM : (i + 1) * BEAM]
        for i in range(len(sources))
    ]


def consensus(texts: Sequence[str], people: Sequence[str], keep: int) -> list[str]:
    """The texts that agree most with what people wrote.

    Args:
        texts: what a model wrote.
        people: what people wrote. Each is compared with the others, where there are two or more.
        keep: texts that are kept at most.

    Returns:
        Unlike texts, the best ones first.
    """
    bleu = BLEU(lowercase=True, effective_order=True)
    scores = {text: bleu.sentence_score(text, people).score for text in texts}
    for i, text in enumerate(people):
        others = [*people[:i], *people[i + 1 :]]
        if len(others) > 1:
            scores.setdefault(text, bleu.sentence_score(text, others).score)
    return sorted(scores, key=lambda text: -scores[text])[:keep]


def write(dataset: str, run: Run, data_dir: str, out: Path, keep: int) -> dict[str, int]:
    """Write the three files, each whole or not at all.

    Returns:
        The number of rows by split.
    """
    splits = load_source(dataset, data_dir).splits
    rows = {
        name: [{feature: row[feature] for feature in FEATURES} for row in splits[name]]
        for name in ("train", "validation", "test")
    }
    people: dict[str, list[str]] = {}
    for row in rows["train"]:
        people.setdefault(row["source"], []).append(row["target"])
    rows["train"] = [
        {"source": source, "target": text, "references": [text]}
        for source, texts in zip(people, written(run, list(people)), strict=True)
        for text in consensus(texts, people[source], keep)
    ]
    out.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        draft = out / f".{name}.part"
        draft.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        draft.replace(out / f"{name}.jsonl")
    return {name: len(lines) for name, lines in rows.items()}


def main() -> None:
    """Write the files, and say how many rows they have."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="with source, target and references")
    parser.add_argument("--run", required=True, help="of a model that was trained on it")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=int, default=3, help="texts of each source")
    arguments = parser.parse_args()
    if arguments.keep < 1:
        parser.error(f"--keep: {arguments.keep} is less than 1")
    run = load_run(arguments.run)
    if not any(task.kind == "text_to_text" for task in run.tasks):
        parser.error(f"--run: {arguments.run} has no task of text to text")
    counts = write(arguments.dataset, run, arguments.data_dir, arguments.out, arguments.keep)
    print(", ".join(f"{name} {count} rows" for name, count in counts.items()))


if __name__ == "__main__":
    main()
