"""The tokenizer of a pretrained model: its own ids, and the pieces that it puts around texts."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.errors import UserError
from mtljax.special_tokens import Marks

_JSON, _VOCABULARY, _CONFIG = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
_NO_TOKENS = {"truncation": None, "padding": None}


class PretrainedModel(NamedTuple):
    """What a directory says of its tokenizer.

    Attributes:
      content: a model of the `tokenizers` library, as JSON, without what is put around texts.
      marks: its special ids, and those that are put around texts.
      vocabulary: rows of the model's table of words, of which the last may stand for nothing.
    """

    content: dict[str, Any]
    marks: Marks
    vocabulary: int


def read_pretrained_tokenizer(directory: str) -> PretrainedModel:
    """Reads `tokenizer.json`, or `vocab.txt`, of a pretrained model.

    Args:
        directory: of the model.

    Raises:
        UserError: with the file, if it is missing, damaged, of a kind that cannot be used, or has
            more ids than the model.
    """
    path = Path(directory)
    settings = {**_read_json(path / "config.json"), **_read_json(path / "special_tokens_map.json")}
    settings |= _read_json(path / _CONFIG)
    try:
        model = _library_model(path, settings)
        marks = _marks(model, settings, path)
    except UserError:
        raise
    # The tokenizers library raises plain Exception for a model it cannot read.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tokenizer of {directory}: cannot be used: {reason}") from None
    size = max(model.get_vocab().values(), default=-1) + 1
    text = _read_json(path / "config.json")
    rows = text.get("vocab_size", (text.get("text_config") or {}).get("vocab_size", size))
    if not isinstance(rows, int) or size > rows:
        raise UserError(
            f"tokenizer of {directory}: has ids up to {size - 1}, and the model a table of {rows}"
        )
    content = {**json.loads(model.to_str()), **_NO_TOKENS, "post_processor": None}
    if "dropout" in content["model"]:
        content["model"]["dropout"] = None
    return PretrainedModel(content, marks, rows)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cut short or damaged: {error}") from None
    return content if isinstance(content, dict) else {}


def _library_model(path: Path, settings: dict[str, Any]) -> Any:
    import tokenizers

    if (path / _JSON).exists():
        content = _read_json(path / _JSON)
        if not isinstance(content.get("model"), dict):
            raise UserError(f"{path / _JSON}: no tokenizer.json of the tokenizers library")
        return tokenizers.Tokenizer.from_str(json.dumps({**content, **_NO_TOKENS}))
    if not (path / _VOCABULARY).exists():
        raise UserError(
            f"tokenizer of {path}: has neither {_JSON} nor {_VOCABULARY}; where transformers is "
            f"installed, AutoTokenizer.from_pretrained(DIR).save_pretrained(NEW) writes {_JSON}"
        )
    return _word_pieces(path / _VOCABULARY, settings)


def _word_pieces(path: Path, settings: dict[str, Any]) -> Any:
    """The tokenizer of BERT, of which there is the vocabulary alone."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    try:
        pieces = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    vocabulary = {piece: i for i, piece in enumerate(pieces) if piece or i + 1 < len(pieces)}
    special = {
        name: _text(settings.get(f"{name}_token"), f"[{name.upper()}]")
        for name in ("unk", "cls", "sep", "pad", "mask")
    }
    for piece in (special["unk"], special["cls"], special["sep"], special["pad"]):
        if piece not in vocabulary:
            raise UserError(f"{path}: has no piece {piece!r}")
    model = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk"]))
    model.normalizer = normalizers.BertNormalizer(
        lowercase=bool(settings.get("do_lower_case", True)),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
    )
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.WordPiece()
    model.add_special_tokens([piece for piece in special.values() if piece in vocabulary])
    cls, sep = special["cls"], special["sep"]
    model.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    return model


def _marks(model: Any, settings: dict[str, Any], path: Path) -> Marks:
    """What is put around texts, by trying it, and the special ids."""
    alone = [model.encode(text, add_special_tokens=False).ids for text in ("a", "b")]
    single, pair = model.encode("a").ids, model.encode("a", "b").ids
    at = _find(single, alone[0])
    prefix, suffix = tuple(single[:at]), tuple(single[at + len(alone[0]) :])
    first = _find(pair, alone[0]) + len(alone[0])
    second = first + _find(pair[first:], alone[1])
    between = tuple(pair[first:second])

    def special(*names: str) -> int | None:
        for name in names:
            piece = settings.get(f"{name}_token")
            found = None if piece is None else model.token_to_id(_text(piece, ""))
            found = settings.get(f"{name}_token_id") if found is None else found
            found = found[0] if isinstance(found, list) and found else found
            if isinstance(found, int):
                return found
        return None

    unknown = model.token_to_id(getattr(model.model, "unk_token", None) or "")
    unknown = special("unk", "mask", "pad", "eos") if unknown is None else unknown
    # Where an end mark follows a text, as in T5, none stands before it.
    start = special("pad") if suffix else special("bos", "cls", "eos")
    if not prefix and not suffix:
        prefix = () if start is None else (start,)
    elif not prefix:
        asked = settings.get("decoder_start_token_id")
        start = asked if isinstance(asked, int) else start
    end = special("eos", "sep")
    between = between or (() if end is None else (end,))
    start = prefix[0] if prefix else start
    if len(prefix) > 1 or start is None or not between or unknown is None:
        raise UserError(
            f"tokenizer of {path}: needs one piece before a text and one after it, got "
            f"{list(prefix)} and {list(between)}"
        )
    pad = special("pad")
    pad = unknown if pad is None else pad
    return Marks(pad, unknown, start, between[0], prefix, between, suffix)


def _find(ids: list[int], part: list[int]) -> int:
    for i in range(len(ids) - len(part) + 1):
        if ids[i : i + len(part)] == part:
            return i
    raise ValueError("its post-processor changes the pieces of a text")


def _text(piece: Any, default: str) -> str:
    """A special piece as written, which may be in a description of it."""
    if isinstance(piece, dict):
        piece = piece.get("content")
    return piece if isinstance(piece, str) else default
