"""How the texts of some tasks are read and batched."""

import dataclasses
from collections.abc import Callable

from mtljax.data.batching.mixture import PROPORTIONAL, MixtureSettings
from mtljax.data.encoding.input_groups import attention_by_kind
from mtljax.data.sources.bad_rows import BadRows
from mtljax.kinds import Attention
from mtljax.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """How the texts of some tasks are read and batched.

    Attributes:
        row_length: ids in a row of a batch, `S`, and in the longest example.
        batch_tokens: ids in a step, padding included, over all input groups.
        row_multiple: the rows of every group, `R`, are a multiple of this.
        attention: from a task to how the encoder reads its inputs.
        mixture: how the groups share the steps.
        bad_rows: what a malformed row of a file, or one that a task cannot use, does: 'stop' with
            an error that names it; 'skip', left out, of the file or of that task, and counted.
        apart: whether every task has an input group of its own, also where others read the same.
        samples: rows of train, and of validation, that are drawn of every data set at most, see
            `mtljax.data.sources.samples`; 0 for all.
        seed: of that draw.
    """

    row_length: int = 64
    batch_tokens: int = 4096
    row_multiple: int = 1
    attention: Callable[[Task], Attention] = attention_by_kind
    mixture: MixtureSettings = PROPORTIONAL
    bad_rows: BadRows = "stop"
    apart: bool = False
    samples: int = 0
    seed: int = 0


DEFAULT_OPTIONS = DataOptions()
"""Rows of 64 ids, 4096 ids a step, shared in proportion to the training tokens."""
