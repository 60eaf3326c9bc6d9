"""Configurations of training runs, and the presets that return them."""

from mtljax.presets.config import ENCODER_SHAPE as ENCODER_SHAPE
from mtljax.presets.config import BatchConfig as BatchConfig
from mtljax.presets.config import Config as Config
from mtljax.presets.config import DataConfig as DataConfig
from mtljax.presets.config import GradientsConfig as GradientsConfig
from mtljax.presets.config import OptimizerConfig as OptimizerConfig
from mtljax.presets.config import ParallelConfig as ParallelConfig
from mtljax.presets.config import RegularizerConfig as RegularizerConfig
from mtljax.presets.config import StoppingConfig as StoppingConfig
from mtljax.presets.config import check as check
from mtljax.presets.config import flatten as flatten
from mtljax.presets.presets import PRESETS as PRESETS
from mtljax.presets.presets import Preset as Preset
from mtljax.presets.presets import default_tasks as default_tasks
from mtljax.presets.presets import preset as preset
from mtljax.presets.profile_window import NO_PROFILE as NO_PROFILE
from mtljax.presets.profile_window import ProfileWindow as ProfileWindow
from mtljax.presets.profile_window import check_window as check_window
from mtljax.presets.yaml_config import ConfigLike as ConfigLike
from mtljax.presets.yaml_config import differences as differences
from mtljax.presets.yaml_config import dump_config as dump_config
from mtljax.presets.yaml_config import like_run as like_run
from mtljax.presets.yaml_config import parse_config as parse_config
from mtljax.presets.yaml_config import read_config as read_config
