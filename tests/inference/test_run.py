"""A trained run, used: against the metrics it was measured with, and a decoder of its own."""

import json
import shutil
from collections import Counter

import jax
import numpy as np
import pytest

from mtljax.data import MultitaskData, load_source
from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.inference.generated_text import settled
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.run import PREVIEW_TOKENS
from mtljax.modules import encode, predict


@pytest.fixture(scope="module")
def run(loaded_tiny_run):
    return loaded_tiny_run


@pytest.fixture
def copied(tiny_run, tmp_path):
    """A copy of the run directory that may be damaged."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def summary(run):
    return json.loads((run.directory / "summary.json").read_text())


def test_a_checkpoint_may_be_named(run, tiny_run):
    assert load_run(tiny_run, step=run.step).step == run.step
    with pytest.raises(UserError, match=rf"no checkpoint of step 77; there are .*{run.step}"):
        load_run(tiny_run, step=77)


def test_what_is_loaded(run, tiny_run):
    assert run.directory == tiny_run
    assert [task.name for task in run.tasks] == ["sentiment", "casing", "writer", "stars"]
    assert run.step == summary(run)["best_step"]
    assert "params" not in repr(run)


def test_evaluation_gives_the_values_of_the_summary(run, monkeypatch):
    left_out = {"amazon": {"train": 3, "test": 2}, "movie": {"train": 1}}
    monkeypatch.setattr(MultitaskData, "skipped_targets", left_out)
    said = []
    values = run.evaluate("test", say=said.append)
    about = "rows whose targets cannot be used count as missing"
    assert said == [f"task 'amazon': {about}: 2 of test"]
    for task, splits in summary(run)["tasks"].items():
        assert values[task] == pytest.approx(splits["test"], rel=1e-5)


def test_predictions_have_the_accuracy_of_the_evaluation(run):
    rows = load_source(run.tasks[0].sources[0]).splits["test"]
    answers = run.predict([row["text"] for row in rows], tasks=["sentiment", "stars"])
    names = ["negative", "positive"]
    hits = [a["sentiment"]["label"] == r["label"] for a, r in zip(answers, rows, strict=True)]
    errors = [a["stars"]["value"] - r["rating"] for a, r in zip(answers, rows, strict=True)]
    expected = summary(run)["tasks"]
    assert np.mean(hits) == pytest.approx(expected["sentiment"]["test"]["accuracy"])
    error = expected["stars"]["test"]["mean_squared_error"]
    assert np.mean(np.square(errors)) == pytest.approx(error, rel=1e-4)
    for answer in answers[:5]:
        shares = answer["sentiment"]["probabilities"]
        assert list(shares) == names
        assert sum(shares.values()) == pytest.approx(1)
        assert answer["sentiment"]["label"] == max(shares, key=shares.__getitem__)


def test_tags_have_the_accuracy_of_the_evaluation(run):
    rows = load_source(run.tasks[1].sources[0]).splits["test"]
    assert max(len(row["tokens"]) for row in rows) > 31  # words of a row
    answers = run.predict([row["tokens"] for row in rows], tasks=["casing"])
    said, truth = [], []
    for answer, row in zip(answers, rows, strict=True):
        assert answer["casing"]["words"] == row["tokens"]
        said += answer["casing"]["tags"]
        truth += row["tags"]
    hits = np.mean(np.array(said) == np.array(truth))
    expected = summary(run)["tasks"]["casing"]["test"]["accuracy"]
    assert hits == pytest.approx(expected, abs=1e-4)


def test_answers_are_json_in_the_order_of_the_tasks(run):
    answer = run.predict(["Oh, NASA did it!"])[0]
    assert list(answer) == ["sentiment", "casing", "writer", "stars"]
    assert json.loads(json.dumps(answer)) == answer
    assert answer["casing"]["words"] == ["oh", "nasa", "did", "it"]
    restored = case_and_punctuation(answer["casing"]["restored"])
    assert restored[0] == answer["casing"]["words"]
    assert len(answer["writer"]["continuation"].split()) <= PREVIEW_TOKENS


ODD = [
    "",
    " \n\t ",
    "a\0b",
    b"caf\xe9 \xff".decode("utf-8", "surrogateescape"),
    "\ud800",
    "<s> </s> <oov> <pad>",
    "\u202e\U0001f600" * 3,
    "...!?",
    "x" * 300_000,
    "so it goes on " * 60_000,
    [],
    ["", "a b", "\0"],
]


def test_odd_texts_get_an_answer(run):
    answers = run.predict(ODD)
    assert len(answers) == len(ODD)
    for answer in answers:
        assert set(answer) == {"sentiment", "casing", "writer", "stars"}
        assert np.isfinite(answer["stars"]["value"])
        assert len(answer["casing"]["words"]) == len(answer["casing"]["tags"])
        json.dumps(answer)
    assert answers[ODD.index("so it goes on " * 60_000)]["casing"]["words"][-2:] == ["goes", "on"]


def test_an_answer_does_not_depend_on_the_other_texts(run):
    texts = ["good phone", "bad phone", "it works", "long " * 100, ""]
    together = run.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = run.predict([text])[0]
        for task in ("casing", "writer"):
            assert alone[task] == answer[task]
        assert alone["stars"]["value"] == pytest.approx(answer["stars"]["value"], abs=1e-5)


def test_arguments_of_predict(run):
    assert run.predict([]) == []
    assert list(run.predict(["a"], tasks=["stars", "sentiment"])[0]) == ["sentiment", "stars"]
    with pytest.raises(UserError, match="task 'sentimnt': unknown .*did you mean 'sentiment'"):
        run.predict(["a"], tasks=["sentimnt"])
    with pytest.raises(TypeError, match="list of texts"):
        run.predict("one text")
    with pytest.raises(TypeError, match="text 1"):
        run.predict(["a", 3])


@pytest.fixture(scope="module")
def best_word(run):
    """The most probable next word of a list of words, read whole; None at the end."""
    group = run.layout.group_of("writer").name
    ids = run.layout.outputs["writer"].ids
    network, width = run.model.network, 16

    @jax.jit
    def logits(batch):
        features = encode(network, run.params["shared"], group, batch)
        readout = predict(network, run.params["heads"]["writer"], "writer", features, 1)
        return readout.logits()[0]

    def best(words):
        encoded = run.tokenizer.encode([words])
        size = len(encoded.tokens)
        rest = width - size
        batch = {
            "tokens": np.pad(encoded.tokens, (0, rest))[None],
            "affixes": np.pad(encoded.affixes, ((0, rest), (0, 0)))[None],
            "segments": (np.arange(width) < size).astype(np.int32)[None],
            "positions": np.arange(width, dtype=np.int32)[None],
        }
        found = np.array(logits(batch)[size - 1])
        found[0] = -np.inf
        number = int(found.argmax())
        return None if number == 1 else run.tokenizer.pieces[ids[number]]

    return best


@pytest.mark.parametrize("prompt", [["the", "Flibbertigibbet", "works"], [], ["it"]])
def test_greedy_decoding_takes_the_most_probable_word(run, best_word, prompt):
    text = run.generate([prompt], max_tokens=4, temperature=0.0)[0]
    expected = []
    while len(expected) < 4 and (word := best_word([*prompt, *expected])) is not None:
        expected.append(word)
    found = run.tokenizer.encode([text]).tokens.tolist()[1:]
    assert [run.tokenizer.pieces[i] for i in found] == expected


def test_a_seed_gives_the_same_text_for_any_batch(run):
    prompts = [f"the phone {i}" for i in range(9)]
    together = run.generate(prompts, max_tokens=8, seed=5)
    assert run.generate(prompts, max_tokens=8, seed=5) == together
    assert run.generate(prompts[::-1], max_tokens=8, seed=5) == together[::-1]
    assert run.generate(prompts[8:], max_tokens=8, seed=5) == together[8:]
    assert run.generate(prompts, max_tokens=8, seed=2**32 - 1) != together


def test_equal_prompts_get_texts_of_their_own(run):
    texts = run.generate(["the phone"] * 4, max_tokens=10)
    assert len(set(texts)) == 4
    assert run.generate(["the phone"] * 2, max_tokens=10) == texts[:2]


def test_generated_text(run):
    texts = run.generate(["the phone"] * 6 + [""], max_tokens=32, temperature=2.0)
    for text in texts:
        assert "<oov>" not in text
        assert "</s>" not in text
    assert all(text[:1] in {"", *" .,;:!?…%)]}"} for text in texts[:-1])
    assert texts[-1][:1] != " "
    assert run.generate(["the phone"], max_tokens=0) == [""]
    assert run.generate([]) == []


def test_a_long_prompt_is_refused_or_cut_off(run):
    long = "the " * 500
    message = "prompt 2: the text has 501 tokens, and the model reads 32 at once"
    with pytest.raises(UserError, match=message):
        run.generate(["the", long], max_tokens=2)
    with pytest.raises(UserError, match="the text has 501 tokens"):
        run.check_prompt(long)
    found = run.generate([long], max_tokens=2, temperature=0.0, too_long="left")
    assert found == run.generate(["the " * 31], max_tokens=2, temperature=0.0)


def test_samples_are_those_of_equal_prompts(run):
    apart = run.generate(["it", "it", "the"], max_tokens=6, seed=2)
    assert run.generate(["it", "the"], max_tokens=6, seed=2, samples=2)[:3] == apart
    seen = Counter()
    found = [run.generate(["it"], max_tokens=6, seed=2, seen=seen)[0] for _ in range(2)]
    assert found == apart[:2]


def test_a_beam_of_one_is_greedy_and_a_wider_one_finds_several(run):
    options = {"max_tokens": 5, "no_repeat_ngram": 1}
    prompts = ["it", "the phone"]
    greedy = run.generate(prompts, temperature=0.0, **options)
    assert run.generate(prompts, beam=1, **options) == greedy
    several = run.generate(prompts, beam=4, samples=3, **options)
    assert len(several) == 6
    assert len(set(several[:3])) == 3
    assert run.generate(prompts[1:], beam=4, samples=3, **options) == several[3:]


def test_a_text_ends_before_a_stop(run):
    whole = run.generate(["the phone"], max_tokens=24, seed=1)[0]
    word = whole.split()[2]
    expected = whole[: whole.index(word)]
    assert run.generate(["the phone"], max_tokens=24, seed=1, stop=word) == [expected]
    assert run.generate(["the phone"], max_tokens=24, seed=1, stop=["\0", word]) == [expected]


def test_a_text_is_told_as_it_grows(run):
    said = []
    whole = run.generate(["the phone"], max_tokens=12, seed=1, on_text=said.append)[0]
    assert said[-1] == whole
    assert run.generate(["the phone"], max_tokens=12, seed=1) == [whole]
    assert len(said) == 12
    for text in said:
        assert whole.startswith(settled(text))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature: must be finite and at least 0, got -0.1"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 0.0}, r"top_p: must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k: must be at least 0, got -1"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"min_p": 1.5}, r"min_p: must be in \[0, 1\], got 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: must be finite and above 0, got 0.0"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram: must be at least 0"),
        ({"beam": -1}, "beam: must be in"),
        ({"beam": 501}, r"beam: must be in \[0, \d+\], the size of the vocabulary, got 501"),
        ({"beam": 2, "samples": 3}, "samples: must be at most the beam, 2, got 3"),
        ({"length_penalty": float("inf")}, "length_penalty: must be finite"),
        ({"samples": 0}, r"samples: must be in \[1, 10000\], got 0"),
        ({"stop": ["a", ""]}, "stop: a text must not be empty"),
        ({"task": "stars"}, "task 'stars': is no language model nor text to text"),
        ({"task": "riter"}, "did you mean 'writer'"),
    ],
)
def test_numbers_out_of_range(run, options, message):
    with pytest.raises(UserError, match=message):
        run.generate(["a"], **options)


def test_an_unknown_setting_is_named(run):
    with pytest.raises(TypeError, match="'max_token'; did you mean 'max_tokens'"):
        run.generate(["a"], max_token=3)
    with pytest.raises(TypeError, match="unknown setting 'say'"):
        run.check_prompt("a", say=print)
    with pytest.raises(TypeError, match="unknown setting 'length'"):
        run.evaluate("test", length=3)


def test_settings_of_a_configuration_and_by_name(run):
    config = GenerationConfig(max_tokens=6, seed=3, temperature=0.7)
    found = run.generate(["the phone"], config)
    assert run.generate(["the phone"], max_tokens=6, seed=3, temperature=0.7) == found
    assert run.generate(["the phone"], GenerationConfig(max_tokens=6, seed=3), temperature=0.7) == (
        found
    )


def test_evaluation_writes_one_text_a_source(run):
    with pytest.raises(UserError, match="samples: must be 1, one text for each source, got 2"):
        run.evaluate("test", generate=True, samples=2)


def test_unknown_split(run):
    with pytest.raises(UserError, match="split 'tset': unknown; did you mean 'test'"):
        run.evaluate("tset")


def truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def damage(checkpoint):
    for path in (checkpoint / "state").rglob("*"):
        if path.is_file():
            truncate(path)


def checkpoints(directory):
    return sorted((directory / "checkpoints").iterdir(), key=lambda path: int(path.name))


def test_a_damaged_checkpoint_is_passed_over(run, copied):
    damage(copied / "checkpoints" / str(run.step))
    other = next(path for path in checkpoints(copied) if path.name != str(run.step))
    before = sorted(copied.rglob("*"))
    said = []
    assert load_run(copied, warn=said.append).step == int(other.name)
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint {run.step} of {copied} cannot be read: ")
    assert "\n" not in said[0]
    assert sorted(copied.rglob("*")) == before
    with pytest.warns(UserWarning, match="cannot be read"):
        load_run(copied)


def test_a_damaged_score_is_passed_over(run, copied):
    truncate(copied / "checkpoints" / str(run.step) / "metrics" / "metrics")
    other = next(path for path in checkpoints(copied) if path.name != str(run.step))
    said = []
    assert load_run(copied, warn=said.append).step == int(other.name)
    assert said == [f"the score of checkpoint {run.step} of {copied} cannot be read"]
    # Where no score can be read, and the checkpoints are not checked either, the newest.
    truncate(other / "metrics" / "metrics", 0)
    for checkpoint in checkpoints(copied):
        (checkpoint / "digests.json").unlink()
    newest = max(int(path.name) for path in checkpoints(copied))
    said.clear()
    assert load_run(copied, warn=said.append).step == newest
    assert [line.split(" has ")[0] for line in said] == [
        *(
            f"the score of checkpoint {c.name} of {copied} cannot be read"
            for c in checkpoints(copied)
        ),
        f"checkpoint {newest}",
    ]


def test_no_checkpoint_that_can_be_read(copied):
    for checkpoint in checkpoints(copied):
        damage(checkpoint)
    with pytest.raises(UserError, match="checkpoints: no checkpoint can be read"):
        load_run(copied, warn=lambda text: None)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match="checkpoints: no checkpoint there yet"):
        load_run(copied)


@pytest.mark.parametrize("name", ["tokenizer.json", "layout.json", "tasks.yaml", "config.yaml"])
def test_a_damaged_file_is_named(copied, name):
    truncate(copied / name)
    if name == "config.yaml":  # whose first half is a configuration as well
        (copied / name).write_text("preset: small\nsteps: fo")
    with pytest.raises(UserError, match=name) as caught:
        load_run(copied)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_does_not_fit_the_checkpoint(copied):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("  features: 8", "  features: 16"))
    with pytest.raises(UserError, match="config.yaml has .* bytes, .* were written; put it back"):
        load_run(copied)
    (copied / "digests.json").unlink()  # as that line says
    with pytest.raises(UserError, match="no checkpoint can be read"):
        load_run(copied, warn=lambda text: None)


def test_directories_without_a_run(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such directory"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no run there"):
        load_run(tmp_path)
