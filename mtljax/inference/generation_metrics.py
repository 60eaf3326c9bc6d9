"""Metrics of generated texts against references, and the file that keeps them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax import metrics
from mtljax.data.tokenizers import Text
from mtljax.errors import UserError
from mtljax.tasks import Task
from mtljax.training.persistence.atomic_write import replace_text


class ReferencedSource(NamedTuple):
    """A source with its references.

    Attributes:
      source: the text that is read.
      references: the texts that would be right, one or more.
    """

    source: Text
    references: tuple[str, ...]


def sources_of(task: Task, rows: Iterable[Mapping[str, Any]]) -> list[ReferencedSource]:
    """The sources of some rows, each once, with the references of all rows that have it.

    References are the targets, and what the task names as `references`, each once.

    Args:
      task: a task of text to text.
      rows: rows of its data set, by the names of features.

    Returns:
      The sources in the order of the rows, without rows that have no reference.
    """
    by_source: dict[str, tuple[Text, dict[str, None]]] = {}
    for row in rows:
        source = row[str(task.inputs)]
        key = source if isinstance(source, str) else json.dumps(list(source))
        target = row[task.targets or ""]
        others = row[task.references] if task.references else None
        others = [others] if isinstance(others, str) else others or []
        texts = [_joined(text) for text in (target, *others) if text is not None]
        if texts:
            by_source.setdefault(key, (source, {}))[1].update(dict.fromkeys(texts))
    return [ReferencedSource(source, tuple(texts)) for source, texts in by_source.values()]


def generation_metrics(
    sources: Sequence[ReferencedSource], texts: Sequence[str], *, lowercase: bool
) -> dict[str, float]:
    """Metrics of generated texts.

    Args:
      sources: what the texts were generated from, with references.
      texts: the generated text of each source.
      lowercase: whether ``bleu`` and ``chrf`` compare lower-cased texts, as is fair where the
        tokenizer knows small letters only.

    Returns:
      Metrics by name: ``bleu`` and ``chrf`` from 0 to 100; ``rouge_l``, ``distinct_1``,
      ``distinct_2`` and ``repetition_4`` from 0 to 1.
    """
    references = [source.references for source in sources]
    return {
        "bleu": metrics.bleu(texts, references, lowercase=lowercase),
        "chrf": metrics.chrf(texts, references, lowercase=lowercase),
        "rouge_l": float(metrics.compute(metrics.rouge_l(texts, references))),
        "distinct_1": metrics.distinct_n(texts, 1),
        "distinct_2": metrics.distinct_n(texts, 2),
        "repetition_4": float(metrics.compute(metrics.repetition(texts, 4))),
    }


def bleu_note(sources: Sequence[ReferencedSource]) -> str | None:
    """What is said of how ``bleu`` splits the references of some sources; None of the usual."""
    tokenizer, script = metrics.bleu_tokenizer([source.references for source in sources])
    if script is None:
        return None
    language = f"are {script}" if script != "without blanks" else "have no blanks between words"
    return f"bleu is by sacrebleu's tokenizer {tokenizer!r}: the references {language}"


def write_texts(path: Path, sources: Sequence[ReferencedSource], texts: Sequence[str]) -> None:
    """Write the texts of some sources, one JSON object a line.

    Args:
      path: of the file; it appears when it is complete, with its directory.
      sources: what the texts were generated from, with references.
      texts: the generated text of each source.

    Raises:
      UserError: if the file cannot be written.
    """
    lines = (
        {"source": source.source, "text": text, "references": list(source.references)}
        for source, text in zip(sources, texts, strict=True)
    )
    content = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, content.encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else " ".join(text)
