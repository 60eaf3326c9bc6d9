"""Words renamed alike in a text and its answer, so that a model learns to copy.

Where a name in training always comes with the same other name, a model learns the pair by heart and
writes it for a new pair too. A renamed word can be had from the source alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtljax.data.batching.batches import GroupBatch
from mtljax.special_tokens import SPECIALS

_WORDS = len(SPECIALS)  # ids from here on are words


@dataclass(frozen=True)
class Renaming:
    """What is renamed, and as what.

    Attributes:
        rate: probability of a word that a text and its answer share.
        classes: int32 `[V]`, the class of each input id.
        names: int32 `[W]`, ids that take the place of others, all equally often.
    """

    rate: float
    classes: np.ndarray
    names: np.ndarray


def rename(batch: GroupBatch, renaming: Renaming, seeds: Sequence[Sequence[int]]) -> GroupBatch:
    """Renames words of a batch of text to text.

    In each text, every word that stands in the source and in the answer is, with probability
    `rate`, replaced by another wherever it stands there: in the source, in the answer that is read
    and in the one that is predicted. SwitchOut (Wang, Pham, Dai and Neubig 2018) replaces words of
    both as well, each by one of its own. A word that is renamed has no affixes.

    Args:
        batch: of text to text; it is not changed. Positions of weight above 0 predict the answer.
        renaming: what is renamed, and as what.
        seeds: for each row, whole numbers from 0, on which alone its words depend.

    Returns:
        The batch, its `tokens`, `affixes` and `targets` new.
    """
    tokens, segments = batch["tokens"], batch["segments"]
    predicts = np.any([weights > 0 for weights in batch["weights"].values()], axis=0)
    answer = np.zeros_like(predicts)
    answer[:, 1:] = predicts[:, :-1]  # the end of an answer is predicted and not read
    word = tokens >= _WORDS
    # One number for each word of each text of each row.
    size = len(renaming.classes)
    text = np.arange(len(tokens))[:, None] * (segments.shape[1] + 1) + segments
    place = text.astype(np.int64) * size + tokens
    shared = np.intersect1d(place[word & answer], place[word & ~answer])
    row = shared // (size * (segments.shape[1] + 1))
    chosen, names = [np.zeros(0, bool)], [np.zeros(0, renaming.names.dtype)]
    for number, count in zip(*np.unique(row, return_counts=True), strict=True):
        rng = np.random.default_rng(seeds[number])
        chosen.append(rng.random(count) < renaming.rate)
        drawn = rng.integers(len(renaming.names), size=chosen[-1].sum())
        names.append(renaming.names[drawn])
    words, names = shared[np.concatenate(chosen)], np.concatenate(names)
    if not len(words):
        return batch
    at = np.minimum(np.searchsorted(words, place), len(words) - 1)
    renamed = words[at] == place
    tokens = np.where(renamed, names[at], tokens).astype(tokens.dtype)
    follows = np.zeros_like(renamed)
    follows[:, :-1] = (renamed & answer)[:, 1:]
    next_class = np.roll(renaming.classes[tokens], -1, axis=1)
    targets = {
        task: np.where(follows, next_class, old).astype(old.dtype)
        for task, old in batch["targets"].items()
    }
    new = {**batch, "tokens": tokens, "targets": targets}
    if "affixes" in batch:
        new["affixes"] = np.where(renamed[..., None], 0, batch["affixes"])
    return new
