"""Tasks: what to read, which head, which loss, which metrics."""

from mtljax.tasks.choices import chains_tags as chains_tags
from mtljax.tasks.choices import loss_name as loss_name
from mtljax.tasks.choices import main_metric as main_metric
from mtljax.tasks.choices import metric_names as metric_names
from mtljax.tasks.dataset import Column as Column
from mtljax.tasks.dataset import Dataset as Dataset
from mtljax.tasks.defaults import DEFAULT_TASKS as DEFAULT_TASKS
from mtljax.tasks.defaults import SENTIMENT_TASKS as SENTIMENT_TASKS
from mtljax.tasks.file import TasksLike as TasksLike
from mtljax.tasks.file import dump_tasks as dump_tasks
from mtljax.tasks.file import load_tasks as load_tasks
from mtljax.tasks.file import parse_tasks as parse_tasks
from mtljax.tasks.join import join_tasks as join_tasks
from mtljax.tasks.shared_heads import check_shared_heads as check_shared_heads
from mtljax.tasks.shared_heads import tasks_by_head as tasks_by_head
from mtljax.tasks.slices import Slice as Slice
from mtljax.tasks.slices import parse_slices as parse_slices
from mtljax.tasks.suggest import suggestion as suggestion
from mtljax.tasks.task import Task as Task
