"""Training: runs, what they leave behind, and the parts that a loop of one's own is made of."""

from mtljax.step.state import StepMetrics as StepMetrics
from mtljax.step.state import TrainState as TrainState
from mtljax.training.extended_run import extend_run as extend_run
from mtljax.training.extended_run import extension_config as extension_config
from mtljax.training.extended_run import put_best_heads_together as put_best_heads_together
from mtljax.training.merged_run import MergeSettings as MergeSettings
from mtljax.training.merged_run import merge_runs as merge_runs
from mtljax.training.model import Model as Model
from mtljax.training.model import build_model as build_model
from mtljax.training.optimizer import learning_rate_schedule as learning_rate_schedule
from mtljax.training.optimizer import make_optimizer as make_optimizer
from mtljax.training.reporting.metrics_file import read_metrics as read_metrics
from mtljax.training.reporting.metrics_writers import LoggedRun as LoggedRun
from mtljax.training.reporting.metrics_writers import LogTo as LogTo
from mtljax.training.reporting.metrics_writers import MetricsWriter as MetricsWriter
from mtljax.training.reporting.plot_curves import draw_curves as draw_curves
from mtljax.training.reporting.plot_gradients import draw_gradients as draw_gradients
from mtljax.training.reporting.progress import results_table as results_table
from mtljax.training.step import make_step as make_step
from mtljax.training.train import train as train
