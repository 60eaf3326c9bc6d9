import collections
import math

import pytest
import sacrebleu

from mtljax.metrics import bleu, bleu_tokenizer, chrf

TEXTS = ["the cat sat on a mat today", "a dog barked at the cat ."]
REFERENCES = [
    ["the cat sat on the mat today", "today a cat sat there"],
    ["the dog barked at a cat ."],
]


def ngrams(text, n):
    words = text.split()
    return collections.Counter(zip(*(words[i:] for i in range(n)), strict=False))


def plain_bleu(texts, references):
    """Papineni's formula over words, without smoothing."""
    logs, length, wanted = 0.0, 0, 0
    for n in range(1, 5):
        hits = total = 0
        for text, own in zip(texts, references, strict=True):
            most = collections.Counter()
            for reference in own:
                most |= ngrams(reference, n)
            hits += (ngrams(text, n) & most).total()
            total += ngrams(text, n).total()
        logs += math.log(hits / total) / 4
    for text, own in zip(texts, references, strict=True):
        size = len(text.split())
        length += size
        wanted += min((len(r.split()) for r in own), key=lambda other: (abs(other - size), other))
    return 100 * math.exp(logs) * min(1.0, math.exp(1 - wanted / length))


def test_bleu_is_that_of_the_paper():
    assert bleu(TEXTS, REFERENCES) == pytest.approx(plain_bleu(TEXTS, REFERENCES))


def test_case_counts_unless_it_does_not():
    shouted = [text.upper() for text in TEXTS]
    assert bleu(shouted, REFERENCES) < 5
    assert bleu(shouted, REFERENCES, lowercase=True) == pytest.approx(bleu(TEXTS, REFERENCES))
    assert chrf(shouted, REFERENCES, lowercase=True) == pytest.approx(chrf(TEXTS, REFERENCES))


def test_equal_numbers_of_references_are_the_streams_of_sacrebleu():
    own = [r[:1] for r in REFERENCES]
    stream = [r[0] for r in own]
    assert bleu(TEXTS, own) == sacrebleu.corpus_bleu(TEXTS, [stream]).score
    assert chrf(TEXTS, own) == sacrebleu.corpus_chrf(TEXTS, [stream]).score


def test_more_references_help_only_their_text():
    assert chrf(TEXTS, REFERENCES) >= chrf(TEXTS, [r[:1] for r in REFERENCES])
    more = [REFERENCES[0], [*REFERENCES[1], TEXTS[1]]]
    assert bleu(TEXTS[1:], more[1:]) == pytest.approx(100)


@pytest.mark.parametrize("function", [bleu, chrf])
@pytest.mark.parametrize(
    ("texts", "references", "message"),
    [
        ([], [], "texts: there are none"),
        (["a"], [], "references: 0 for 1 texts"),
        (["a"], [[]], "references: none for text 0"),
        (["a"], ["a"], "references: a list of texts is needed for text 0"),
    ],
)
def test_bad_arguments(function, texts, references, message):
    with pytest.raises(ValueError, match=message):
        function(texts, references)


CHINESE = (
    ["我喜欢读书。", "猫坐在垫子上"],
    [["我很喜欢读书。"], ["猫在垫子上", "一只猫坐在垫子上"]],
)
JAPANESE = (["私は本が好きです"], [["私は本を読むのが好きです"]])
THAI = (["ฉันชอบอ่าน"], [["ฉันชอบอ่านหนังสือ"]])


@pytest.mark.parametrize(
    ("texts", "references", "tokenizer"),
    [(*CHINESE, "zh"), (*JAPANESE, "char"), (*THAI, "char"), (TEXTS, REFERENCES, "13a")],
)
def test_tokens_that_fit_the_references(monkeypatch, texts, references, tokenizer):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    streams = [[r[0] for r in references], [r[1] if len(r) > 1 else None for r in references]]
    expected = sacrebleu.corpus_bleu(texts, streams, tokenize=tokenizer, force=True).score
    assert bleu(texts, references) == pytest.approx(expected)
    assert bleu_tokenizer(references)[0] == tokenizer
    assert bleu(texts, references, tokenize="13a") <= bleu(texts, references)
    assert bleu(texts, references) > 20


def test_the_tokens_of_japanese_are_those_of_mecab_where_it_is(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in ("MeCab", "ipadic"))
    assert bleu_tokenizer(JAPANESE[1]) == ("ja-mecab", "Japanese")


def test_an_unknown_tokenizer():
    with pytest.raises(ValueError, match="tokenize: 'moses' is none of "):
        bleu(TEXTS, REFERENCES, tokenize="moses")
