"""Use of a trained run: predict, generate and evaluate."""

from mtljax.inference.decisions import Decisions as Decisions
from mtljax.inference.decisions import reject_below as reject_below
from mtljax.inference.generation_config import GenerationConfig as GenerationConfig
from mtljax.inference.inputs import UserInput as UserInput
from mtljax.inference.labelled_file import OnFile as OnFile
from mtljax.inference.labelled_file import evaluate_file as evaluate_file
from mtljax.inference.run import Run as Run
from mtljax.inference.run import load_run as load_run
