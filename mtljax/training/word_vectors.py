"""A run whose word table begins with static vectors of words."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data import Tokenizer
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.pretrained.word_vectors import WordVectors, read_word_vectors
from mtljax.special_tokens import SPECIALS
from mtljax.step.state import TrainState
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps


def vectors_of(config: Config, tokenizer: Tokenizer, directory: Path) -> WordVectors | None:
    """The vectors that a run begins with, by the ids of their words.

    None where it names none, or has begun.

    They are multiplied by one number, so that they are as long as those that are drawn.

    Args:
      config: of the run.
      tokenizer: has the words.
      directory: of the run.

    Raises:
      UserError: the file cannot be read, its vectors have another width, or the encoder begins as
        another one.
    """
    encoder = config.encoder
    if not encoder.vectors:
        return None
    if encoder.from_run or encoder.pretrained:
        other = "from_run" if encoder.from_run else "pretrained"
        raise UserError(f"encoder.vectors and encoder.{other}: name one of them")
    if checkpoint_steps(directory / run_directory.CHECKPOINTS):
        return None
    if config.tokenizer.kind != "words":
        kind = config.tokenizer.kind
        raise UserError(f"encoder.vectors: are of words, tokenizer.kind is {kind!r}")
    path, first = Path(config.encoder.vectors), len(SPECIALS)
    words = {word: i for i, word in enumerate(tokenizer.pieces[first:], start=first)}
    found = read_word_vectors(path, words, lowercase=tokenizer.settings.lowercase)
    width = found.values.shape[1]
    if width != config.encoder.embedding:
        raise UserError(
            f"{path}: vectors of {width} numbers, encoder.embedding is {config.encoder.embedding} "
            f"(--encoder.embedding {width})"
        )
    size = float(np.sqrt(np.mean(found.values.astype(np.float64) ** 2)))
    scale = width**-0.5 / (size or 1.0)
    return found._replace(values=(scale * found.values).astype(np.float32))


def start_from_vectors(
    config: Config, found: WordVectors | None, state: TrainState, say: Callable[[str], None]
) -> TrainState:
    """The first state of a run with these rows in its word table, on the same devices.

    Args:
      config: of the run.
      found: from `vectors_of`.
      state: as drawn.
      say: is called with one line on what share of the words has a vector.
    """
    if found is None:
        return state

    def replaced(params: dict) -> dict:
        embedding = params["shared"]["embedding"]
        table = embedding["words"]
        new = jax.device_put(jnp.asarray(table).at[found.ids].set(found.values), table.sharding)
        shared = {**params["shared"], "embedding": {**embedding, "words": new}}
        return {**params, "shared": shared}

    words = state.params["shared"]["embedding"]["words"].shape[0] - len(SPECIALS)
    share = f"{len(found.ids):,} of {words:,} words ({len(found.ids) / words:.0%})"
    say(f"{config.encoder.vectors}: vectors of {share}, the others are drawn")
    average = None if state.average is None else replaced(state.average)
    return state._replace(params=replaced(state.params), average=average)
