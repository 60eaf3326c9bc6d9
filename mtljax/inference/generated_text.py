"""From generated ids to the text that is shown: its first space, its stop, its settled part."""

from collections.abc import Sequence

from mtljax.data.tokenizers import Tokenizer
from mtljax.inference.prompts import Prompt


def text_after(tokenizer: Tokenizer, prompt: Prompt, added: Sequence[int]) -> str:
    """The text of some ids after a prompt, with the space before it that belongs there."""
    if not len(added):
        return ""
    before = tokenizer.decode(prompt.tokens.tolist())
    both = tokenizer.decode([*prompt.tokens.tolist(), *added])
    if before and both.startswith(before):
        return both[len(before) :]
    alone = tokenizer.decode(list(added))
    return f" {alone}" if before else alone


def before_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """A text up to the first of some others in it, and whether there was one.

    >>> before_stop("one. two.", [".", "two"]), before_stop("one", ["."])
    (('one', True), ('one', False))
    """
    starts = [start for other in stop if (start := text.find(other)) >= 0]
    return (text[: min(starts)], True) if starts else (text, False)


def settled(text: str, stop: Sequence[str] = ()) -> str:
    """The part of a text so far that what follows cannot change.

    That is all but its last word, of which spaces and unfinished letters may still change, and but
    what may be the beginning of one of `stop`.

    >>> settled("the second wor"), settled("to be: of", ["e: off"])
    ('the second', 'to')
    """
    longest = max(map(len, stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(other.startswith(text[-length:]) for other in stop):
            text = text[:-length]
            break
    words = text.rstrip().rsplit(None, 1)
    return text[: text.rstrip().rfind(words[-1])].rstrip() if len(words) > 1 else ""
