"""Targets and weights of a task, in flat arrays next to the ids of its inputs."""

import numpy as np

from mtljax.data.tokenizers import Encodings, Tokenizer
from mtljax.kinds import KINDS, Output, TargetRows
from mtljax.kinds.target_rows import Fault, Rows
from mtljax.tasks.task import Task


def read_targets(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
    numbered: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the targets of one task.

    Args:
        task: the task.
        rows: rows of its data set.
        encodings: their inputs, not truncated.
        output: what the task predicts.
        tokenizer: made the encodings.
        fault: called for a row that cannot be used, once however much is wrong with it.
        numbered: whether numbers among the targets are numbers of classes that the data set names.

    Returns:
        Targets, of the dtype of the kind of task, and weights `alpha_ij`, float32; both `[n]` for
        kinds with a target a token, `[rows]` for the others; 0 where there is none. Targets with an
        entry for each class are `[rows, classes]`.
    """
    faulty: set[int] = set()

    def once(row: int, reason: str, item: int | None = None) -> None:
        if row not in faulty:
            faulty.add(row)
            fault(row, reason, item)

    return KINDS[task.kind].encode_targets(
        TargetRows(
            rows=rows,
            input_name=task.parts[0],
            target_name=task.targets or "",
            weight_name=task.weights,
            tokens=encodings.tokens,
            words=encodings.words,
            starts=encodings.starts,
            end_id=tokenizer.marks.answer[-1],
            vocab_size=tokenizer.vocab_size,
            output=output,
            fault=once,
            numbered=numbered,
        )
    )
