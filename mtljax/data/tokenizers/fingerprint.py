"""What a tokenizer was trained on, as a hash."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from mtljax.data.tokenizers.protocol import Text
from mtljax.data.tokenizers.settings import TokenizerSettings


def begin_fingerprint(settings: TokenizerSettings) -> "hashlib._Hash":
    """A SHA-256 that has read the settings, but for the path of a file, which says nothing."""
    fields = dataclasses.asdict(settings)
    del fields["file"]
    return hashlib.sha256(_canonical(fields))


def read_along(
    corpora: Iterable[Iterable[Text]], fingerprint: "hashlib._Hash"
) -> Iterator[Iterator[Text]]:
    """Hands texts on, corpus by corpus, and has the fingerprint read each one.

    A corpus is read to its end before the next one is asked for. What is hashed says where each
    text and each word ends, so that no two different corpora give the same bytes.

    Args:
        corpora: texts, corpus by corpus.
        fingerprint: from `begin_fingerprint`.

    Yields:
        The corpora.
    """
    for corpus in corpora:
        fingerprint.update(b"corpus\n")
        yield _read_along(corpus, fingerprint)


def fingerprint_of_model(settings: TokenizerSettings, content: Any) -> str:
    """The fingerprint of a tokenizer that was trained on nothing that is known.

    Args:
        settings: its settings.
        content: its model, plain JSON.
    """
    fingerprint = begin_fingerprint(settings)
    fingerprint.update(b"model\n" + _canonical(content))
    return fingerprint.hexdigest()


def content_digest(content: Any) -> str:
    """The SHA-256 of plain JSON, whatever the order of its keys and its spaces."""
    return hashlib.sha256(_canonical(content)).hexdigest()


def _read_along(corpus: Iterable[Text], fingerprint: "hashlib._Hash") -> Iterator[Text]:
    for text in corpus:
        if isinstance(text, str):
            head, characters = f"text {len(text)}\n", text
        else:
            head, characters = f"words {' '.join(str(len(word)) for word in text)}\n", "".join(text)
        fingerprint.update(head.encode() + characters.encode("utf-8", "surrogatepass"))
        yield text


def _canonical(content: Any) -> bytes:
    # ASCII, so that lone surrogates survive.
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
