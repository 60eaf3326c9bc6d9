"""Reading of a `tokenizer.json`, the file format of the `tokenizers` library."""

import json
from pathlib import Path
from typing import Any

from mtljax.errors import UserError

# Scripts, signs and controls that a model without a piece for unknown text fails on.
_STRANGE = "a b 9 é ß 中 한 😀 \u2603 \u16a0 \U00010380 \U000f0000 \x00 \ufffd"

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
