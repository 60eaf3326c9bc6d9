"""The text of `answer.py`, which answers from an exported run without this library.

It is put together from what the tokenizer and the tasks of the run need.
"""

import inspect

from mtljax.data.encoding.overlapping_chunks import Chunk, chunks
from mtljax.data.tokenizers.packed_characters import packed_characters

_BEGIN = '''\
"""Answers texts with the model of this directory: python answer.py "a text" ...

`answer(texts)` returns the answers by task to texts: strings, lists of words, or dictionaries from
the names of inputs to these. Needs {libraries}.
"""

{imports}import sys
{zlib}{abstract}from pathlib import Path
{typing}
import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file
{from_tokenizers}
HERE = Path(__file__).resolve().parent
SIGNATURE = json.loads((HERE / "signature.json").read_text(encoding="utf-8"))
KIND = SIGNATURE["tokenizer"]
PARAMETERS = jax.device_put(load_file(HERE / "parameters.safetensors"))
CALLS = {{
    each["file"]: jax.jit(export.deserialize((HERE / each["file"]).read_bytes()).call)
    for each in SIGNATURE["functions"]
}}
'''

_SUBWORDS = '''\
TOKENIZER = Tokenizer.from_file(str(HERE / "tokenizer.json"))
TOKENIZER.encode_special_tokens = True


def pieces(text):
    """The ids of a text, or a list of those of each word."""
    texts = [text] if isinstance(text, str) else [KIND["before_word"] + word for word in text]
    coded = []
    for each in texts:
        each = each.encode("utf-8", "replace").decode("utf-8")
        ids = TOKENIZER.encode(each, add_special_tokens=False).ids
        coded.append([KIND["ids"][i] for i in ids] if KIND["ids"] else ids)
    return coded if isinstance(text, str) else [ids or KIND["empty_word"] for ids in coded]
'''

_WORDS = '''\
VOCABULARY = {word: i for i, word in enumerate(KIND["pieces"])}


def pieces(text):
    """The id and the affixes of each word."""
    words = re.findall(KIND["pattern"], text) if isinstance(text, str) else text
    forms = [word.lower() if KIND["lowercase"] else word for word in words]
    ids = [VOCABULARY.get(form, 1) for form in forms]
    return [[(i, *affixes(*pair))] for i, *pair in zip(ids, words, forms)]


def affixes(word, form):
    """The hashed prefixes, suffixes and shape of a word."""
    kinds = ("9" if c.isdigit() else "xX"[c.isupper()] if c.isalpha() else c for c in word[:64])
    shape = "".join(kind for kind, _ in itertools.groupby(kinds))
    keys = [f"<{form[:n]}" if len(form) >= n else "" for n in KIND["prefixes"]]
    keys += [f"{form[-n:]}>" if len(form) >= n else "" for n in KIND["suffixes"]]
    keys += [f"={shape[:8]}"] * KIND["shape"]
    hashes = [zlib.crc32(key.encode("utf-8", "surrogatepass")) for key in keys]
    found = [1 + n % KIND["affix_buckets"] if key else 0 for n, key in zip(hashes, keys)]
    return found + packed_characters(word, KIND["characters"])
'''

_SPELLED = '''\
VOCABULARY = {piece: i for i, piece in enumerate(KIND["pieces"])}


def spelled(text):
    """The ids of characters, or of bytes."""
    if KIND["kind"] == "byte":
        return [4 + byte for byte in text.encode("utf-8", "replace")]
    text = text.replace("\\u03a3", "\\u03c3").lower() if KIND["lowercase"] else text
    return [VOCABULARY.get(character, 1) for character in text]


def pieces(text):
    """The ids of a text, or those of each word with a space before all but the first."""
    if isinstance(text, str):
        return [spelled(text)]
    return [spelled(" ") * (i > 0) + (spelled(word) or [1]) for i, word in enumerate(text)]
'''

_READ = '''

def read(parts, function):
    """The passages of an input: their ids, and where the words begin that are answered there."""
    {by_word}return [(row([pieces(part) for part in parts], function), [])]


def row(coded, function):
    """The ids of an input of one or several parts, of which the longest are cut."""
    after = [] if function["writes"] else KIND["suffix"]
    lengths = [1 + sum(map(len, ids)) for ids in coded]
    room = (function["max_length"] or sum(lengths) + len(after)) - len(after)
    room += not KIND["prefix"]
    room -= (len(KIND["between"]) - 1) * (len(coded) - 1)
    while sum(lengths) > room:
        lengths[max(range(len(lengths)), key=lambda i: (lengths[i], i))] -= 1
    joined = []
    for i, (ids, length) in enumerate(zip(coded, lengths)):
        joined += KIND["between"] if i else KIND["prefix"]
        joined += [*itertools.chain(*ids)][: length - 1]
    return joined + after


def arrays(rows):
    """Rows of ids as arrays, of a number of columns that is a multiple of 8."""
    size = -(-max(map(len, rows)) // 8) * 8
    columns = np.zeros((len(rows), size, 1 + KIND["affixes"]), np.int32)
    segments = np.zeros((len(rows), size), np.int32)
    for i, ids in enumerate(rows):
        segments[i, : len(ids)] = 1
        for j, piece in enumerate(ids):
            columns[i, j, : np.size(piece)] = piece
    more = {{"affixes": columns[..., 1:]}} if KIND["affixes"] else {{}}
    return {{"tokens": columns[..., 0], "segments": segments, **more}}
'''

_BY_WORD = """if function["by_word"]:
        (words,), gap, passages = map(split, parts), KIND["gap"], []
        sizes = [len(ids) + gap * (i == 0) for i, ids in enumerate(pieces(words))]
        around = len(KIND["prefix"] + KIND["suffix"])
        for begin, end, first, last in chunks(sizes, function["max_length"] - around + gap):
            coded = pieces(words[begin:end])
            ends = np.cumsum([len(KIND["prefix"]), *map(len, coded)]).tolist()
            firsts = [at + gap * (i > 0) for i, at in enumerate(ends[:-1])]
            ids = row([coded], function)
            passages.append((ids, firsts[first - begin : last - begin]))
        return passages
    """

_SPLIT = '''

def split(text):
    """The words of a text."""
    return re.findall(KIND["words"], text) if isinstance(text, str) else text
'''

_SHOWN = '''

def shown(task, values, passages, text):
    """The answer that the values of the passages of a text are."""
    value = values[0]
{tags}    if task["kind"] == "regression":
        return {{"value": float(value)}}
    shares = dict(zip(task["classes"], map(float, value)))
    if task["kind"] == "multilabel":
        labels = [name for name in shares if shares[name] > 0.5]
        return {{"labels": labels, "probabilities": shares}}
    return {{"label": task["classes"][int(np.argmax(value))], "probabilities": shares}}
'''

_TAGS = """\
    if task["kind"] == "tagging":
        classes = [v[at] for v, (_, firsts) in zip(values, passages) for at in firsts]
        return {"words": split(text), "tags": [task["classes"][i] for i in classes]}
"""

_PROMPT = '''

def prompt(ids, function):
    """Ids cut to what is read before a text is written; marks stand after a source."""
    if function["writes"] == "answer":
        most = function["width"] - len(KIND["answer"])
        return [*(ids if len(ids) <= most else ids[: most + 1 - function["room"]]), *KIND["answer"]]
    return [ids[0], *ids[1:][-function["width"] + 1 :]]


def written(function, row, value):
    """What was written, as text."""
    added, ids = value[value >= 0].tolist(), [int(np.ravel(piece)[0]) for piece in row]
    before = "" if function["writes"] == "answer" else decoded(ids)
    both = decoded([*ids, *added]) if before else ""
    text = both[len(before) :] if before and both.startswith(before) else decoded(added)
    return {"text" if function["writes"] == "answer" else "continuation": text.strip()}
'''

_SPACED = '''

def decoded(ids):
    """The text of some ids, with the usual spaces between words and marks."""
    text = DECODED
    for pattern, replacement in KIND["spaces"]:
        text = re.sub(pattern, replacement, text)
    return text
'''

_PLAIN = '''

def decoded(ids):
    """The text of some ids."""
    return DECODED
'''

_KEPT = """TOKENIZER.decode(
        [KIND["back"][i] for i in ids if KIND["back"][i] >= 0], skip_special_tokens=False
    )"""

_DECODED = {
    "words": _SPACED.replace(
        "DECODED", '" ".join(KIND["pieces"][i] for i in ids if i == 1 or i > 3)'
    ),
    "wordpiece": _SPACED.replace("DECODED", _KEPT),
    "bpe": _PLAIN.replace("DECODED", f'{_KEPT}.removeprefix(" ")'),
    "file": _PLAIN.replace("DECODED", _KEPT),
    "pretrained": _PLAIN.replace("DECODED", _KEPT),
    "byte": _PLAIN.replace(
        "DECODED", 'bytes(i - 4 for i in ids if i > 3).decode("utf-8", "replace")'
    ),
    "character": _PLAIN.replace(
        "DECODED",
        '"".join("\\ufffd" if i == 1 else KIND["pieces"][i] for i in ids if i == 1 or i > 3)',
    ),
}

_ANSWER = '''

def answer(texts):
    """The answers to some texts: for each a dictionary by task."""
    answers = [{{}} for _ in texts]
    for function in SIGNATURE["functions"]:
        chosen = []
        for i, text in enumerate(texts):
            given = text if isinstance(text, dict) else {{"text": text}}
            found = [[given[n] for n in names if n in given] for names in function["reads"]]
            if all(found):
                parts = [values[0] for values in found]
                chosen.append((i, parts, read(parts, function)))
        if not chosen:
            continue
        rows = [ids for *_, passages in chosen for ids, _ in passages]
{prompts}        values = jax.device_get(CALLS[function["file"]](PARAMETERS, arrays(rows)))
        at = np.cumsum([0, *(len(passages) for *_, passages in chosen)])
        for (i, parts, passages), k, end in zip(chosen, at, at[1:]):
            for name, task in function["tasks"].items():
{shown}    return answers


if __name__ == "__main__":
    for each in answer(sys.argv[1:]):
        print(json.dumps(each, ensure_ascii=False))
'''


_PROMPTS = """\
        if function["writes"]:
            rows = [prompt(ids, function) for ids in rows]
"""

_SHOWS = """\
                answers[i][name] = shown(task, values[name][k:end], passages, parts[0])
"""

_WRITES = """\
                answers[i][name] = written(function, rows[k], values[name][k])
"""

_IF_WRITES = """\
                if function["writes"]:
                    {}
                else:
                    {}
"""


def answer_file(tokenizer: str, *, tags: bool, answers: bool, writes: bool) -> str:
    """The text of `answer.py`.

    Args:
      tokenizer: the kind of the tokenizer.
      tags: whether a task answers word by word.
      answers: whether a task answers without writing.
      writes: whether a task writes text.
    """
    coded = {"words": _WORDS, "byte": _SPELLED, "character": _SPELLED}.get(tokenizer, _SUBWORDS)
    library = coded is _SUBWORDS
    spaced = writes and tokenizer in ("words", "wordpiece")
    imports = {
        "itertools": True,
        "json": True,
        "re": tags or spaced or coded is _WORDS,
    }
    begin = _BEGIN.format(
        libraries=f"jax, numpy, safetensors{', tokenizers' if library else ''} and flatbuffers",
        imports="".join(f"import {name}\n" for name in sorted(imports) if imports[name]),
        zlib="import zlib\n" if coded is _WORDS else "",
        abstract="from collections.abc import Sequence\n" if tags else "",
        typing="from typing import NamedTuple\n" if tags else "",
        from_tokenizers="from tokenizers import Tokenizer\n" if library else "",
    )
    if coded is _WORDS:
        coded += f"\n\n{inspect.getsource(packed_characters)}"
    parts = [begin, coded, _READ.format(by_word=_BY_WORD if tags else "")]
    if tags:
        parts += [_SPLIT, *(f"\n\n{inspect.getsource(code)}" for code in (Chunk, chunks))]
    if answers:
        parts.append(_SHOWN.format(tags=_TAGS if tags else ""))
    if writes:
        parts += [_PROMPT, _DECODED[tokenizer]]
    shown = [_SHOWS] if answers else []
    shown += [_WRITES] if writes else []
    between = [_IF_WRITES.format(shown[1].strip(), shown[0].strip())] if len(shown) > 1 else shown
    prompts = _PROMPTS if writes else ""
    return "".join([*parts, _ANSWER.format(prompts=prompts, shown="".join(between))])
