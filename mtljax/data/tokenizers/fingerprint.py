"""Fingerprints of tokenizers: hashes of their settings and training texts."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from mtljax.data.tokenizers.protocol import Text
from mtljax.data.tokenizers.settings import TokenizerSettings


def begin_fingerprint(settings: TokenizerSettings) -> "hashlib._Hash":
    """A SHA-256 of the settings but for the path of a file, to be updated with the texts."""
    fields = dataclasses.asdict(settings)
    del fields["file"]
    if not settings.characters:
        # Tokenizers of before there were any keep their fingerprints.
        del fields["characters"]
    return hashlib.sha256(_canonical(fields))


def read_along(
    corpora: Iterable[Iterable[Text]], fingerprint: "hashlib._Hash"
) -> Iterator[Iterator[Text]]:
    """Passes texts through, corpus by corpus, and updates the fingerprint with each one.

    A corpus is read to its end before the next one is asked for. Lengths of texts and words are
    hashed too, so that no two different corpora give the same bytes.

    Args:
        corpora: texts, corpus by corpus.
        fingerprint: the hash, from `begin_fingerprint`.

    Yields:
        The corpora.
    """
    for corpus in corpora:
        fingerprint.update(b"corpus\n")
        yield _read_along(corpus, fingerprint)


def fingerprint_of_model(settings: TokenizerSettings, content: Any) -> str:
    """The fingerprint of a tokenizer whose training texts are not known.

    Args:
        settings: settings of the tokenizer.
        content: its model, as plain JSON.
    """
    fingerprint = begin_fingerprint(settings)
    fingerprint.update(b"model\n" + _canonical(content))
    return fingerprint.hexdigest()


def content_digest(content: Any) -> str:
    """The SHA-256 of plain JSON, independent of the order of its keys and of its spaces."""
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
