import unicodedata

import pytest
import regex

from mtljax.metrics import distinct_n, repetition, rouge_l, text_size, units
from mtljax.metrics.scripts import unspaced_script

# Sentences with the script as Unicode has it, by another implementation.
TEXTS = {
    "Chinese": ["我喜欢读书，也喜欢猫。", "今天天气很好！", "𠮷野家在北京"],
    "Japanese": ["私は本を読むのが好きです。", "コーヒーを飲む", "東京タワーに行った"],
    "without blanks": ["ฉันชอบอ่านหนังสือ", "ខ្ញុំចូលចិត្ត", "ຂ້ອຍມັກ", "ကျွန်တော်", "བོད་སྐད"],
}
OTHERS = [
    "I like cats.",
    "Ich mag Bücher",
    "Люблю читать",
    "أحب القراءة",
    "मुझे पढ़ना",
    "책을 좋아해요",
    "",
    "42",
]
UNSPACED = regex.compile(
    r"[\p{Script=Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
)


@pytest.mark.parametrize("script", TEXTS)
def test_scripts(script):
    assert unspaced_script(TEXTS[script]) == script
    assert unspaced_script([*OTHERS, *TEXTS[script][:2]]) == script
    assert unspaced_script([*OTHERS * 9, TEXTS[script][0]]) is None  # one that is cited
    assert unspaced_script([f"they call it {text}" for text in ("猫", "ねこ")]) is None


def test_other_scripts_have_blanks():
    assert unspaced_script(OTHERS) is unspaced_script([]) is None
    for text in OTHERS:
        assert units(text) == text.split()


def test_letters_are_those_of_the_scripts():
    for point in (*range(0x3000), *range(0x3000, 0x323B0, 7)):
        character = chr(point)
        if unicodedata.category(character) in ("Lo", "Lm"):
            alone = len(units(f"a{character}")) == 2
            assert alone == bool(UNSPACED.match(character)) or character in "ー゠〆ｰﾞﾟ", hex(point)


def test_units_of_scripts_without_blanks():
    for text in (*TEXTS["Chinese"], *TEXTS["Japanese"], *TEXTS["without blanks"][:1]):
        letters = [c for c in regex.findall(r"\X", text) if UNSPACED.match(c)]
        assert "".join(units(text)) == text
        assert len(units(text)) >= len(letters)
    assert units("我 喜欢 two cats") == ["我", "喜", "欢", "two", "cats"]


def test_measures_count_letters_where_there_are_no_blanks():
    spaced = "我 喜 欢 猫 我 喜"
    text = spaced.replace(" ", "")
    assert distinct_n([text], 1) == distinct_n([spaced], 1) == 4 / 6
    assert repetition([text], 2) == repetition([spaced], 2) == (1, 5)
    assert text_size([text]).words == 6
    assert rouge_l(["我喜欢猫"], [["我喜欢狗"]]) == rouge_l(["a b c d"], [["a b c e"]])
