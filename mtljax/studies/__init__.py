"""Does it help: runs on the same texts side by side, and studies of tasks alone and together."""

from mtljax.studies.answers import Answer as Answer
from mtljax.studies.answers import CheckedGrouping as CheckedGrouping
from mtljax.studies.answers import NewTask as NewTask
from mtljax.studies.answers import Transfer as Transfer
from mtljax.studies.comparison import Comparison as Comparison
from mtljax.studies.comparison import TaskComparison as TaskComparison
from mtljax.studies.comparison import compare as compare
from mtljax.studies.data_cards import DataCard as DataCard
from mtljax.studies.data_cards import data_cards as data_cards
from mtljax.studies.intervals import Difference as Difference
from mtljax.studies.intervals import Interval as Interval
from mtljax.studies.intervals import difference as difference
from mtljax.studies.intervals import interval as interval
from mtljax.studies.intervals import mean_gain as mean_gain
from mtljax.studies.plot_comparison import draw_comparison as draw_comparison
from mtljax.studies.plot_new_tasks import draw_new_tasks as draw_new_tasks
from mtljax.studies.relate import StudyPlan as StudyPlan
from mtljax.studies.relate import plan_study as plan_study
from mtljax.studies.relate import relate as relate
from mtljax.studies.relate import runs_that_check as runs_that_check
from mtljax.studies.report import write_report as write_report
from mtljax.studies.study import StudyRun as StudyRun
from mtljax.studies.study import do_runs as do_runs
from mtljax.studies.text_states import TextStates as TextStates
from mtljax.studies.text_states import text_states as text_states
