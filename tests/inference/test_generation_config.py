import dataclasses

import pytest

from mtljax.errors import UserError
from mtljax.inference.generation_config import GenerationConfig, check_generation, with_settings


def test_every_number_has_a_range():
    fields = {field.name: field for field in dataclasses.fields(GenerationConfig)}
    without = {name for name, field in fields.items() if "holds" not in field.metadata}
    assert without == {"beam", "stop", "too_long"}  # which depend on others, or are no numbers
    check_generation(GenerationConfig(), 1)


@pytest.mark.parametrize("beam", [0, 1, 7])
def test_a_beam_as_wide_as_the_vocabulary(beam):
    check_generation(GenerationConfig(beam=beam), 7)
    with pytest.raises(UserError, match=r"beam: must be in \[0, 7\], the size of the vocabulary"):
        check_generation(GenerationConfig(beam=8), 7)


def test_a_choice_out_of_its_range():
    config = with_settings(GenerationConfig(), {"too_long": "middle"})
    with pytest.raises(UserError, match="too_long: must be one of refuse, left, right, got middle"):
        check_generation(config, 7)


def test_settings_replace_those_of_a_configuration():
    config = GenerationConfig(beam=3, seed=1)
    assert with_settings(config, {}) == config
    changed = with_settings(config, {"seed": 2, "stop": ["a", "b"]})
    assert changed == GenerationConfig(beam=3, seed=2, stop=("a", "b"))
    with pytest.raises(TypeError, match="unknown setting 'temprature'; did you mean 'temperature'"):
        with_settings(config, {"temprature": 1.0})
