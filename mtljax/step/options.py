"""What a step does besides weighting and updating."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax

from mtljax.step.loss_spikes import SPIKES

NON_FINITE = ("stop", "leave_out", "skip")
STRATEGIES = (
    *("auto", "unrolled", "vmapped", "scanned"),
    *("lagged", "sketched", "representation"),
)


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """Settings of a step.

    Attributes:
      task_weights: the weight ``alpha_i`` of each task in the objective; empty for 1 each.
      strategy: how per-task gradients are computed, see `mtljax.gradients.task_gradients`;
        'lagged' and 'sketched' use the weights of the step before and free each gradient once it is
        accumulated; 'representation' takes them at the encoder's output.
      sketch: numbers that 'sketched' keeps of a gradient.
      telemetry: whether `StepMetrics.gradients` is computed.
      accumulate: batches whose mean gradient makes one update.
      average: decay of the moving average of the parameters; 0 for none.
      penalty: Omega(w), from parameters to a scalar; None for none.
      non_finite: what a NaN or infinite loss or gradient does: 'stop', nothing here, for whoever
        reads the metrics; 'leave_out', its task counts as absent; 'skip', the parameters stay.
      seed: of the random keys: that of a step is ``fold_in(key(seed), step)``; an integer, or an
        array of one, which may be an argument of what is compiled.
      frozen: parameters that stay as they are: a tree of bools like the parameters or a prefix of
        their tree, or a function from them to one; None for none. They are not differentiated,
        are in no product of gradients, and the optimizer keeps nothing for them.
      loss_spikes: what a loss far above those of its task before does: 'keep', nothing; 'stop',
        nothing here, but it is told; 'leave_out', its task counts as absent; 'skip', the parameters
        stay.
      spike_deviations: how far above, in standard deviations, see `mtljax.step.loss_spikes`.
    """

    task_weights: tuple[float, ...] = ()
    strategy: str = "auto"
    sketch: int = 4096
    telemetry: bool = False
    accumulate: int = 1
    average: float = 0.0
    penalty: Callable[[Any], jax.Array] | None = None
    non_finite: Literal["stop", "leave_out", "skip"] = "stop"
    seed: int | jax.Array = 0
    frozen: Any = None
    loss_spikes: Literal["keep", "stop", "leave_out", "skip"] = "keep"
    spike_deviations: float = 6.0


def check_options(options: StepOptions, num_tasks: int) -> None:
    """Check the settings that no signature can.

    Raises:
      ValueError: naming the first that is out of range.
    """
    if options.task_weights and len(options.task_weights) != num_tasks:
        raise ValueError(
            f"task_weights must have {num_tasks} entries, got {len(options.task_weights)}"
        )
    if options.strategy not in STRATEGIES:
        raise ValueError(
            f"strategy must be one of {', '.join(STRATEGIES)}, got {options.strategy!r}"
        )
    if options.non_finite not in NON_FINITE:
        raise ValueError(
            f"non_finite must be one of {', '.join(NON_FINITE)}, got {options.non_finite!r}"
        )
    if options.loss_spikes not in SPIKES:
        raise ValueError(
            f"loss_spikes must be one of {', '.join(SPIKES)}, got {options.loss_spikes!r}"
        )
    if not options.spike_deviations > 0:
        raise ValueError(f"spike_deviations must be positive, got {options.spike_deviations}")
    if options.accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {options.accumulate}")
    if not 0 <= options.average < 1:
        raise ValueError(f"average must be in [0, 1), got {options.average}")
