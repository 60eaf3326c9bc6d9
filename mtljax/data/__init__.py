"""Data: from sources of text to batches of ids.

A loop of one's own starts with `load_data`, which reads, tokenises and packs what some tasks name::

    data = load_data(tasks, DataOptions(row_length=64, batch_tokens=4096))
    batches = data.training_batches(seed=0)
    batch = next(batches)  # {group: {"tokens": [R, S], "segments": [R, S], "targets": ..., ...}}

- `load_data` with `DataOptions`, `MixtureSettings` and `attention_by_kind` or `all_causal` gives
  `MultitaskData`, whose `Layout` of `Group`, `mtljax.kinds.Output` and `Shape` is all that a model
  must know of it.
- `StepIterator` gives a `StepBatch`, a `GroupBatch` for each input group; `input_batches` makes
  batches of new texts, and `unpack` takes what a model answers to a batch apart, text by text.
- `load_source` finds a `Source` by name or description; each `Feature` has a kind and classes.
- `TokenizerSettings` say how `train_tokenizer` makes a `Tokenizer`; `save_tokenizer` and
  `load_tokenizer` keep it in a file.

Everything else is imported from the module that defines it. The rooms, from the ground up:
`sources` (lazily read rows), `files` and `tfds` (where rows come from), `catalogue` (data sets by
name), `tokenizers`, `encoding` (rows to arrays of ids and targets), `batching` (arrays to steps).
"""

from mtljax.data.batching.batches import GroupBatch as GroupBatch
from mtljax.data.batching.batches import Shape as Shape
from mtljax.data.batching.batches import StepBatch as StepBatch
from mtljax.data.batching.batches import unpack as unpack
from mtljax.data.batching.mixture import MixtureSettings as MixtureSettings
from mtljax.data.batching.training_batches import StepIterator as StepIterator
from mtljax.data.catalogue.load_source import load_source as load_source
from mtljax.data.encoding.input_groups import Group as Group
from mtljax.data.encoding.input_groups import all_causal as all_causal
from mtljax.data.encoding.input_groups import attention_by_kind as attention_by_kind
from mtljax.data.layout import Layout as Layout
from mtljax.data.load_data import load_data as load_data
from mtljax.data.multitask_data import MultitaskData as MultitaskData
from mtljax.data.multitask_data import input_batches as input_batches
from mtljax.data.options import DataOptions as DataOptions
from mtljax.data.sources.source import Feature as Feature
from mtljax.data.sources.source import Source as Source
from mtljax.data.tokenizers import Tokenizer as Tokenizer
from mtljax.data.tokenizers import TokenizerSettings as TokenizerSettings
from mtljax.data.tokenizers import load_tokenizer as load_tokenizer
from mtljax.data.tokenizers import save_tokenizer as save_tokenizer
from mtljax.data.tokenizers import train_tokenizer as train_tokenizer
