"""What a configuration and its data make together: model, method and compiled step."""

import dataclasses

from mtljax.data import MultitaskData
from mtljax.presets import Config
from mtljax.step.method import Method
from mtljax.training.check_config import check_parameters, check_penalty, check_strategy
from mtljax.training.distributed import Distributed, check_stages
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.inputs.aligned_streams import check_validation
from mtljax.training.learned_rates import check_mixture
from mtljax.training.measured_steps import distribute_measured
from mtljax.training.method import make_method
from mtljax.training.model import Model, build_model
from mtljax.training.optimizer import make_optimizer
from mtljax.training.pretrained_start import check_positions
from mtljax.training.reporting.data_overview import class_counts, total_steps
from mtljax.training.reporting.sharing_note import sharing_note
from mtljax.training.stopping import check_stopping


@dataclasses.dataclass(frozen=True)
class Composed:
    """What a configuration and its data make: everything that is compiled.

    Attributes:
      model: the network with what its tasks need.
      method: what turns the tasks' losses and gradients into an update.
      devices: the mesh, and the compiled functions that draw the first state and do a step.
      steps: optimization steps of the whole run.
      sharing: what tasks share, in one line; empty where that is a whole encoder.
    """

    model: Model
    method: Method
    devices: Distributed
    steps: int
    sharing: str = ""


def compose(config: Config, data: MultitaskData, method: Method | None = None) -> Composed:
    """Make the step of a run from its configuration and data; nothing is compiled yet.

    Args:
      config: of the run, complete.
      data: of the run.
      method: that `config` names, if it is made already.

    Raises:
      UserError: what configuration, data and the devices at hand cannot have together.
    """
    method = method or make_method(config, len(data.layout.tasks))
    check_positions(config, data.layout)
    model = build_model(config, data.layout, class_counts(data))
    check_penalty(config, model)
    check_strategy(config, model, method)
    check_parameters(config, model, method)
    check_validation(data, config, method.requires)
    check_stopping(config.stopping, data)
    steps = total_steps(config, data)
    optimizer = make_optimizer(config.optimizer, steps, config.encoder.layers, config.regularizer)
    batch = abstract_batch(data.layout)
    devices = distribute_measured(config, model, method, optimizer, batch)
    check_stages(devices, data.stages)
    check_mixture(config, data, steps)
    return Composed(model, method, devices, steps, sharing_note(config, model))
