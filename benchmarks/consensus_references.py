"""Keeps, of the texts that answer one source, those that agree most with the others.

Several people describe the same facts, some in a way of their own. A model that learns from all of
them spreads its probability over all; what BLEU counts is what they have in common. Of the training
split the texts with the highest sentence BLEU against the others of their source are kept, from
validation and test nothing is left out. Writes `train.jsonl`, `validation.jsonl` and `test.jsonl`.

    python benchmarks/consensus_references.py e2e_nlg --data-dir DATA --out consensus
"""

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from mtljax.data import load_source

FEATURES = ("source", "target", "references")


def agreement(texts: Sequence[str]) -> list[float]:
    """For each text, its sentence BLEU from 0 to 100 against the others; 0 where it is alone."""
    bleu = BLEU(lowercase=True, effective_order=True)
    return [
        bleu.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score if len(texts) > 1 else 0.0
        for i, text in enumerate(texts)
    ]


def consensus(rows: Iterable[Mapping[str, Any]], share: float) -> list[dict[str, Any]]:
    """The rows whose targets agree most with the others of their source.

    Args:
        rows: with `source` and `target`.
        share: of the rows of each source that is kept, rounded up.

    Returns:
        Rows with `source`, `target` and, the target alone, `references`; source by source in the
        order in which they come first.
    """
    targets: dict[str, list[str]] = {}
    for row in rows:
        targets.setdefault(row["source"], []).append(row["target"])
    kept = []
    for source, texts in targets.items():
        scores = agreement(texts)
        best = sorted(range(len(texts)), key=lambda i: -scores[i])
        for i in best[: math.ceil(share * len(texts))]:
            kept.append({"source": source, "target": texts[i], "references": [texts[i]]})
    return kept


def write(dataset: str, data_dir: str, out: Path, share: float) -> dict[str, int]:
    """Write the three files, each whole or not at all.

    Returns:
        The number of rows by split.
    """
    splits = load_source(dataset, data_dir).splits
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in ("train", "validation", "test"):
        rows: Sequence[Mapping[str, Any]]
        rows = [{feature: row[feature] for feature in FEATURES} for row in splits[name]]
        if name == "train":
            rows = consensus(rows, share)
        draft = out / f".{name}.part"
        draft.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        draft.replace(out / f"{name}.jsonl")
        counts[name] = len(rows)
    return counts


def main() -> None:
    """Write the files, and say how many rows they have."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="with source, target and references")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.34, help="of the texts of each source")
    arguments = parser.parse_args()
    if not 0 < arguments.share <= 1:
        parser.error(f"--share: {arguments.share:g} is not in (0, 1]")
    print(write(arguments.dataset, arguments.data_dir, arguments.out, arguments.share))


if __name__ == "__main__":
    main()
