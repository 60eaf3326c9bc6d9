"""Reading of a `tokenizer.json`, the file format of the `tokenizers` library."""

import json
from pathlib import Path
from typing import Any

from mtljax.errors import UserError

# Scripts, signs and controls that a model without a piece for unknown text fails on.
_STRANGE = "a b 9 é ß 中 한 😀 \u2603 \u16a0 \U00010380 \U000f0000 \x00 \ufffd"

# One character for each byte that UTF-8 begins or continues a character with.
_STEPS = (
    (0, 0x100, 1),
    (0x100, 0x800, 0x40),
    (0x800, 0x1000, 0x400),
    (0x1042, 0x10000, 0x1000),  # at 0x3000 there is a space
    (0x10000, 0x110000, 0x30000),
)
_EVERY_BYTE = "".join(chr(point) for steps in _STEPS for point in range(*steps))

_UNUSED_IDS = 1000  # ids without a piece that any file may have


def read_tokenizer_json(path: str) -> dict[str, Any]:
    """Reads a model, without the parts that make ids depend on chance or on other texts.

    Padding, truncation, special pieces around a text and BPE dropout are removed.

    Args:
        path: path of a `tokenizer.json` with any model.

    Returns:
        The model as JSON; the file is not needed any more.

    Raises:
        UserError: with the file, if it is missing, damaged or of a kind that cannot be used.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"tokenizer file {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"tokenizer file {path}: cut short or damaged: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"tokenizer file {path}: no tokenizer.json of the tokenizers library")
    content = {**content, "truncation": None, "padding": None, "post_processor": None}
    if "dropout" in content["model"]:
        content["model"] = {**content["model"], "dropout": None}
    try:
        _try(json.dumps(content))
    # The tokenizers library raises plain Exception for a model it cannot read.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tokenizer file {path}: cannot be used: {reason}") from error
    return content


def _try(model: str) -> None:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(model)
    ids = tokenizer.get_vocab().values()
    if not ids:
        raise ValueError("its vocabulary is empty")
    # Every id up to the largest costs a row of the embeddings.
    if max(ids) >= 2 * len(ids) + _UNUSED_IDS:
        raise ValueError(f"it has {len(ids)} pieces, but ids up to {max(ids)}")
    # A model that has no piece for what it does not know says so only when it meets such a text.
    tokenizer.encode_special_tokens = True
    tokenizer.encode(_STRANGE, add_special_tokens=False)
    # Byte pairs without such a piece say nothing: they leave out what they do not know.
    for character in dict.fromkeys(_STRANGE + _EVERY_BYTE):
        if _is_lost(tokenizer, character):
            raise ValueError(
                f"{character!a} and others have no piece and would be lost: its model needs an "
                "'unk_token', or pieces for all bytes"
            )


def _is_lost(tokenizer: Any, character: str) -> bool:
    """Whether a model has no piece for a character that normalizer and pre-tokenizer leave."""
    text = character
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    parts = [text]
    if tokenizer.pre_tokenizer is not None:
        parts = [part for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    for part in parts:
        covered = [token.offsets for token in tokenizer.model.tokenize(part)]
        if sum(end - start for start, end in covered) < len(part.encode()) and part.strip():
            return True
    return False
