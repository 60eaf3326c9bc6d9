import json
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.catalogue.embedded import load_embedded
from mtljax.data.tokenizers import (
    WordTokenizer,
    load_tokenizer,
    save_tokenizer,
    split_words,
    train_tokenizer,
    word_splitting,
)
from mtljax.data.tokenizers.word_splitting import usual_spaces

MARKED = {
    "Hindi": "मुझे हिन्दी किताबें पढ़ना पसंद है",
    "Bengali": "আমি বাংলায় গান গাই",
    "Tamil": "எனக்கு தமிழ் புத்தகங்கள் பிடிக்கும்",
    "Malayalam with joiners": "അവന്\u200d മലയാളം പറഞ്ഞു",
    "Sinhala with joiners": "ශ්\u200dරී ලංකාව",
    "Thai": "ฉันชอบอ่านหนังสือ ที่นี่",
    "Khmer": "ខ្ញុំចូលចិត្តអានសៀវភៅ",
    "Persian with non-joiners": "می\u200cخواهم کتاب\u200cها را بخوانم",
    "vowelled Arabic": "الْحَمْدُ لِلَّهِ رَبِّ الْعَالَمِينَ",
    "vowelled Hebrew": "בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "Vietnamese": "tôi thích đọc sách tiếng việt",
    "emoji": "👩\u200d👩\u200d👧 👍🏽 ❤️ 1️⃣ 🇩🇪 🤷🏽\u200d♀️",
    "a flag of tags": f"🏴{''.join(chr(0xE0000 + ord(c)) for c in 'gbeng')}\U000e007f",
}
EUROPEAN = (
    "Don't stop: the well-known X_1 costs £3.50 (not $4) … “really”?",
    "Der Weg über die Straße – „schön“, sagte er; 25 % weniger als 1.000,50 €.",
    "L’été dernier, j'ai vu qu'il n'y avait « rien » à Orléans ; c'est ça !",
    "El niño comió piñas: ¿cuántas? ¡Tres! El 1.º y la 2.ª.",
    "Zażółć gęślą jaźń, Příliš žluťoučký kůň, árvíztűrő tükörfúrógép.",
    "Съешь ещё этих мягких булок, ЭВМ-2000; Ο Οδυσσέας είδε τη θάλασσα·",
    "İstanbul'da ışık, Þingvellir Ærø Škoda ŀ ﬁn ½ x² № 5 @home #tag a/b c++ ☃ ☎ 50°",
)


@pytest.mark.parametrize("language", MARKED)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_keep_their_marks(language, form):
    text = unicodedata.normalize(form, MARKED[language])
    assert split_words(text) == text.split()
    # Written back as it was, from ids.
    settings = TokenizerSettings(min_count=1)
    for tokenizer in (
        train_tokenizer([[text]], settings),
        train_tokenizer([[text]], TokenizerSettings("wordpiece", vocab_size=400)),
    ):
        assert tokenizer.decode(tokenizer.encode([text]).tokens.tolist()) == text


@pytest.mark.parametrize("text", [*MARKED.values(), *EUROPEAN, "a😀b ☎️! 🇩🇪🇫🇷 👍🏽👍 «é́»"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_no_character_is_split(text, form):
    text = unicodedata.normalize(form, text)
    # Extended grapheme clusters, as Unicode's annex 29 has them, by another implementation.
    ends, at = set(), 0
    for cluster in regex.findall(r"\X", text):
        at += len(cluster)
        ends.add(at)
    at = 0
    for word in split_words(text):
        at = text.index(word, at) + len(word)
        assert at in ends, word
    assert "".join(split_words(text)) == "".join(text.split())


@pytest.mark.parametrize("text", EUROPEAN)
def test_other_texts_keep_their_words(text):
    assert split_words(text) == split_words(text, rule=1)
    assert split_words(text, 5) == split_words(text, 5, rule=1) == split_words(text)[:5]
    # Decomposed they have the same words.
    decomposed = unicodedata.normalize("NFD", text)
    composed = [unicodedata.normalize("NFC", word) for word in split_words(decomposed)]
    assert composed == split_words(unicodedata.normalize("NFC", decomposed))


@pytest.mark.parametrize("name", ["movie_lm", "moby_dick", "us_address", "amazon_sentiment"])
def test_the_sets_inside_keep_their_words(name):
    first = next(iter(load_embedded(name).splits["train"]))
    feature = next(key for key in ("text", "tokens", "sentence", "address") if key in first)
    for row in load_embedded(name).splits["train"]:
        for text in [row[feature]] if isinstance(row[feature], str) else row[feature]:
            assert split_words(text) == split_words(text, rule=1)


letters = st.characters(
    codec="utf-8",
    exclude_categories=["M", "Cs"],
    exclude_characters="\u200c\u200d",
).filter(lambda c: not regex.match(r"[\p{RI}\p{Emoji_Modifier}\U000e0020-\U000e007f]", c))


@given(st.text(letters, max_size=20))
def test_texts_without_marks_keep_their_words(text):
    assert split_words(text) == split_words(text, rule=1)


def test_all_marks_are_known():
    every = [chr(point) for point in range(0x110000)]
    expected = [c for c in every if unicodedata.category(c)[0] == "M"]
    assert regex.findall(f"[{word_splitting._combining_marks()}]", "".join(every)) == expected


def test_usual_spaces_between_marked_words():
    assert usual_spaces("दिन - रात ।") == "दिन-रात।"
    assert usual_spaces("كتاب ، قلم ؟") == "كتاب، قلم؟"


def test_a_tokenizer_of_before_keeps_its_rule(tmp_path):
    text = MARKED["Hindi"]
    earlier = WordTokenizer(split_words(text, rule=1), TokenizerSettings(), word_rule=1)
    save_tokenizer(earlier, tmp_path / "a.json")
    assert "word_rule" not in json.loads((tmp_path / "a.json").read_bytes())
    loaded = load_tokenizer(tmp_path / "a.json")
    assert isinstance(loaded, WordTokenizer) and loaded.word_rule == 1
    ids = loaded.encode([text]).tokens.tolist()
    assert ids == earlier.encode([text]).tokens.tolist() and len(ids) > len(split_words(text)) + 1
    now = WordTokenizer(split_words(text), TokenizerSettings())
    save_tokenizer(now, tmp_path / "b.json")
    assert load_tokenizer(tmp_path / "b.json").encode([text]).tokens.tolist() == [
        *now.encode([text]).tokens.tolist()
    ]
