"""Models merged in the space of their parameters: trees in, a tree out.

All are functions of the parameters of models that were trained from the same start, ``base``; their
differences from it are task vectors.
"""

from mtljax.merging.dare import dare as dare
from mtljax.merging.task_arithmetic import task_arithmetic as task_arithmetic
from mtljax.merging.ties import ties as ties
