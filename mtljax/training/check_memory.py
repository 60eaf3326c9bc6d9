"""Whether a configuration can fit into the memory that there is, before any of it is taken.

A system gives more memory than it has, and ends a process that uses it: without this check a size
with a digit too many ends a run minutes later, without a word.
"""

import os

import jax

from mtljax.errors import UserError
from mtljax.modules.structures import structure_of
from mtljax.presets import Config

_GIB = 2**30
_ARRAYS = 3  # of int32, for each token of a batch: ids, segments, positions
_BATCH = 2**12  # bytes that the arrays of a batch take at least, however short they are
_PROCESS = 2**27  # bytes that a process with Python and its libraries takes, at least


def check_memory(config: Config, num_tasks: int) -> None:
    """Check that the largest arrays of a configuration fit into memory, all devices together.

    A lower bound, from the sizes that the configuration names: parameters of float32 with the two
    moments of the optimizer, of the encoder and of a structure of sharing, the features of one
    batch, batches made ahead, and processes that make them. What fits here may still not fit;
    `mtljax plan` says what a step needs.

    Args:
      config: the configuration.
      num_tasks: number of tasks, whose input groups may be encoded one after the other.

    Raises:
      UserError: if they do not, with the setting that takes most.
    """
    encoder, tokenizer = config.encoder, config.tokenizer
    least = structure_of(config.sharing).least
    per_layer = {
        "linear": 0,
        "lstm": encoder.features**2,
        "transformer": 4 * encoder.features**2 + 2 * encoder.features * encoder.feed_forward,
    }[encoder.kind]
    has_ngrams = encoder.kind == "linear" and encoder.ngrams > 1
    has_affixes = tokenizer.hashed > 0
    width = encoder.embedding if encoder.kind == "linear" else encoder.features
    # Bytes: of a parameter and its moments; of a feature and its gradient, in float32 or bfloat16.
    parameter, feature = 3 * 4, 2 * (4 if jax.default_backend() == "cpu" else 2)
    largest_group = config.batch.tokens // num_tasks
    batch = max(4 * _ARRAYS * config.batch.tokens, _BATCH)
    sizes = {
        "encoder.layers and its widths": parameter * encoder.layers * per_layer,
        "encoder.dense": (
            parameter * encoder.dense * width + feature * largest_group * encoder.dense
        ),
        "encoder.ngram_buckets": parameter * has_ngrams * encoder.ngram_buckets * encoder.embedding,
        "tokenizer.affix_buckets": (
            parameter * has_affixes * tokenizer.affix_buckets * encoder.embedding
        ),
        "batch.ahead": batch * config.batch.ahead * max(config.batch.workers, 1),
        "batch.workers": _PROCESS * config.batch.workers,
        "gradients.sketch": 4 * config.gradients.sketch * (config.gradients.strategy == "sketched"),
        "batch.tokens": feature * largest_group * (encoder.embedding + encoder.features),
        **{
            f"sharing.{name}": parameter * numbers
            for name, numbers in least(config.sharing, encoder, num_tasks, per_layer).items()
        },
    }
    needed, there = sum(sizes.values()), memory()
    if there is not None and needed > there:
        largest = max(sizes, key=lambda name: sizes[name])
        raise UserError(
            f"{largest}: at least {needed / _GIB:,.1f} GiB of memory are needed, and there are "
            f"{there / _GIB:,.1f}"
        )


def memory() -> int | None:
    """Bytes of memory of all devices of this run; None where nobody says."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if limit := stats.get("bytes_limit"):
        return limit * jax.device_count()
    if jax.default_backend() != "cpu":
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * jax.process_count()
    except (AttributeError, OSError, ValueError):
        return None
