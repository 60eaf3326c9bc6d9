"""How the texts of a tagged data set are split into words, and what their tags say of the text."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation, restored_text
from mtljax.data.tokenizers import Text, split_words


class TaggedText(NamedTuple):
    """How the texts of a data set relate to its words and tags.

    Attributes:
      split: from a text, or the list of its words, to the words that have tags, as those of the
        data set were made.
      restore: from words and their tags to the text that the tags describe; None where tags do not
        describe how a text is written.
    """

    split: Callable[[Text], list[str]]
    restore: Callable[[Sequence[str], Sequence[str]], str] | None = None


def _plain_words(text: Text) -> list[str]:
    return split_words(text) if isinstance(text, str) else list(text)


def _lower_cased_words(text: Text) -> list[str]:
    return case_and_punctuation(text if isinstance(text, str) else " ".join(text))[0]


PLAIN = TaggedText(_plain_words)
"""Of the data sets that are not in `TAGGED_TEXTS`."""

TAGGED_TEXTS = {"movie_casepunct": TaggedText(_lower_cased_words, restored_text)}
"""By the name of a data set."""


def tagged_text(dataset: str | tuple[str, ...]) -> TaggedText:
    """How the texts of a task's data set, or of several, are split and restored.

    >>> form = tagged_text("movie_casepunct")
    >>> form.split("Oh, it did!"), form.restore(["oh", "it"], ["TITLE+COMMA", "O"])
    (['oh', 'it', 'did'], 'Oh, it')
    >>> tagged_text("us_address").split("Oh, it did!")
    ['Oh', ',', 'it', 'did', '!']
    """
    return TAGGED_TEXTS.get(dataset, PLAIN) if isinstance(dataset, str) else PLAIN
