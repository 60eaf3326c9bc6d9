"""`--compile-cache DIR`."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import jax

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


def test_programs_are_kept_for_the_next_start_and_a_bad_directory_is_a_warning(
    mtljax, tiny_run, tmp_path
):
    before = [getattr(jax.config, name) for name in SETTINGS]
    arguments = ["predict", tiny_run, "a good day", "--task", "sentiment", "--json"]
    answers = []
    for number, directory in enumerate([tmp_path / "a" / "cache"] * 2):
        with counted() as events:
            code, out, err = mtljax(*arguments, "--compile-cache", directory)
        assert (code, err) == (0, "")
        assert (events[HITS] > 0, events[MISSES] > 0) == ((False, True), (True, False))[number]
        assert any(path.name.endswith("-cache") for path in directory.iterdir())
        answers.append(out)
    (tmp_path / "file").touch()
    bad = tmp_path / "file" / "cache"
    code, out, err = mtljax(*arguments, "--compile-cache", bad)
    assert code == 0
    assert err == (
        f"warning: --compile-cache {bad}: Not a directory; nothing that is compiled is kept\n"
    )
    assert answers == [out, out]
    assert [getattr(jax.config, name) for name in SETTINGS] == before
