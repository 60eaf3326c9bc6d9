"""Augmentation of text to text: words that source and target share are renamed in both.

Where a name in training always comes with the same other name, a model memorises the pair and
writes it for a new source too. A renamed word can only be copied from the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtljax.data.batching.batches import GroupBatch
from mtljax.special_tokens import SPECIALS


@dataclass(frozen=True)
class Renaming:
    """Which words are renamed, and to what.

    Attributes:
        rate: probability that a word which source and target share is renamed.
        classes: int32 `[V]`, the class of each input id.
        names: int32 `[W]`, ids of the words that replace others, all equally often.
        special: ids that are no words.
    """

    rate: float
    classes: np.ndarray
    names: np.ndarray
    special: frozenset[int] = frozenset(range(len(SPECIALS)))


def rename(batch: GroupBatch, renaming: Renaming, seeds: Sequence[Sequence[int]]) -> GroupBatch:
    """Renames words of a batch of text to text.

    In each text, every word that occurs in both source and target is, with probability `rate`,
    replaced by another word at all its positions: in the source, in the target that is read and in
    the classes that are predicted. SwitchOut (Wang, Pham, Dai and Neubig 2018) replaces words of
    both as well, but independently. A word that is renamed has no affixes.

    Args:
        batch: a batch of text to text, `[R, S]`; it is not changed. Positions of weight above 0
            predict the target.
        renaming: which words are renamed, and to what.
        seeds: for each row, integers from 0; the words of a row depend on them alone.

    Returns:
        The batch with new `tokens`, `affixes` and `targets`.
    """
    tokens, segments = batch["tokens"], batch["segments"]
    predicts = np.any([weights > 0 for weights in batch["weights"].values()], axis=0)
    in_target = np.zeros_like(predicts)
    in_target[:, 1:] = predicts[:, :-1]  # the end of a target is predicted and not read
    word = ~np.isin(tokens, list(renaming.special))
    # One number for each distinct word of each text of each row.
    size = len(renaming.classes)
    text = np.arange(len(tokens))[:, None] * (segments.shape[1] + 1) + segments
    word_in_text = text.astype(np.int64) * size + tokens
    shared = np.intersect1d(word_in_text[word & in_target], word_in_text[word & ~in_target])
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
    nearest = np.minimum(np.searchsorted(words, word_in_text), len(words) - 1)
    renamed = words[nearest] == word_in_text
    tokens = np.where(renamed, names[nearest], tokens).astype(tokens.dtype)
    # The class of a renamed word is predicted at the position before it.
    predicts_renamed = np.zeros_like(renamed)
    predicts_renamed[:, :-1] = (renamed & in_target)[:, 1:]
    next_class = np.roll(renaming.classes[tokens], -1, axis=1)
    targets = {
        task: np.where(predicts_renamed, next_class, old).astype(old.dtype)
        for task, old in batch["targets"].items()
    }
    new = {**batch, "tokens": tokens, "targets": targets}
    if "affixes" in batch:
        new["affixes"] = np.where(renamed[..., None], 0, batch["affixes"])
    return new
