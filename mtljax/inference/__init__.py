"""Use of a trained run: predict, generate and evaluate."""

from mtljax.inference.generation_config import GenerationConfig as GenerationConfig
from mtljax.inference.inputs import UserInput as UserInput
from mtljax.inference.run import Run as Run
from mtljax.inference.run import load_run as load_run
