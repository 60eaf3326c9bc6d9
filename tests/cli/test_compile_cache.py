"""`--compile-cache DIR`."""

import contextlib
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator

import jax
import pytest
from etils import epath

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
HITS, MISSES = (f"/jax/compilation_cache/cache_{name}" for name in ("hits", "misses"))


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    events: Counter[str] = Counter()

    def note(event: str, **more: object) -> None:
        events[event] += 1

    jax.monitoring.register_event_listener(note)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(note)


def there(cls, *parts):
    """A path of a fake scheme, which lies on this machine."""
    first, *rest = map(str, parts)
    return pathlib.Path(first.removeprefix("fake://"), *rest)


def test_programs_are_kept_for_the_next_start_and_a_bad_directory_is_a_warning(
    mtljax, tiny_run, tmp_path
):
    before = [getattr(jax.config, name) for name in SETTINGS]
    arguments = ["predict", tiny_run, "a good day", "--task", "sentiment", "--json"]
    answers = []
    epath.register_path_cls("fake://")(type("FakePath", (pathlib.PosixPath,), {"__new__": there}))
    places = [(f"fake://{tmp_path}/b/cache", tmp_path / "b" / "cache")] * 2
    places += [(tmp_path / "a" / "cache", tmp_path / "a" / "cache")]
    for number, (directory, real) in enumerate(places):
        with counted() as events:
            code, out, err = mtljax(*arguments, "--compile-cache", directory)
        assert (code, err) == (0, "")
        assert (events[HITS] > 0, events[MISSES] > 0) == ((False, True), (True, False))[number % 2]
        assert any(path.name.endswith("-cache") for path in real.iterdir())
        answers.append(out)
    (tmp_path / "file").touch()
    bad = tmp_path / "file" / "cache"
    code, out, err = mtljax(*arguments, "--compile-cache", bad)
    assert code == 0
    assert err == (
        f"warning: --compile-cache {bad}: Not a directory; nothing that is compiled is kept\n"
    )
    assert answers == [out] * 3
    assert [getattr(jax.config, name) for name in SETTINGS] == before


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("nosuch://a/b", "the scheme nosuch:// is unknown"),
        ("s3://a/b", "scheme s3:// needs a package (Install s3fs to access S3)"),
    ],
)
def test_a_scheme_that_there_is_not(refused, tiny_run, monkeypatch, directory, message):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    said = refused("predict", tiny_run, "a day", "--compile-cache", directory)
    assert f"--compile-cache {directory}: {message}" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--cache-dir", "gs://a/b"],
        ["train", "--tasks", "gs://a/b"],
        ["relate", "--study-dir", "gs://a/b"],
        ["tune", "--search-dir", "gs://a/b"],
        ["merge", "a", "b", "--run-dir", "gs://a/b"],
        ["prepare", "glue/sst2", "--data-dir", "gs://a/b"],
    ],
)
def test_places_that_must_be_on_this_machine(refused, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    message = refused(*arguments)
    assert "gs://a/b: paths of scheme gs:// cannot be used here" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--run-dir", "{}://a/b"],
        ["train", "--data-dir", "{}://a/b", "--tasks", "tasks.yaml"],
        ["predict", "{}://a/b", "a day"],
        ["show", "{}://a/b"],
        ["compare", "{}://a/b", "{}://a/c"],
        ["merge", "{}://a/b", "{}://a/c", "--run-dir", "new"],
    ],
)
def test_places_that_may_be_elsewhere(refused, tmp_path, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.chdir(tmp_path)
    task = "{kind: classification, dataset: some, inputs: text, targets: label}"
    (tmp_path / "tasks.yaml").write_text(f"tasks: {{one: {task}}}\n")
    for name, message in (
        ("nosuch", "the scheme nosuch:// is unknown"),
        ("s3", "scheme s3:// needs a package (Install s3fs to access S3)"),
    ):
        assert message in refused(*(argument.format(name) for argument in arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.yaml"]
