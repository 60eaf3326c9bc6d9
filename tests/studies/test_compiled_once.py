"""Programs that are compiled once."""

from pathlib import Path

import jax
import pytest

from mtljax.studies.compiled_once import compiled_once

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def test_programs_are_kept_while_it_lasts_and_settings_are_as_before():
    before = [getattr(jax.config, name) for name in NAMES]
    jax.config.update(NAMES[0], None)
    try:
        with pytest.raises(KeyError), compiled_once():
            directory = Path(getattr(jax.config, NAMES[0]) or "")
            assert directory.is_dir()
            jax.config.update(NAMES[1], 0.0)
            jax.jit(lambda x: x * 3 + 1).lower(1.0).compile()
            assert list(directory.iterdir())
            raise KeyError
        assert not directory.exists()
        assert getattr(jax.config, NAMES[0]) is None
        assert getattr(jax.config, NAMES[1]) == before[1]
    finally:
        jax.config.update(NAMES[0], before[0])
    # One that is kept for the whole process stays.
    with compiled_once():
        assert getattr(jax.config, NAMES[0]) == before[0]
