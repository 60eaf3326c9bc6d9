"""``mtljax relate``: does joint training help these tasks."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.table import Table

from mtljax.cli import short_help
from mtljax.cli.compare import p_value
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    print_json,
    printable,
)
from mtljax.cli.presets import given, read_with_preset
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.json_values import nan_to_none, plain_values
from mtljax.local_paths import check_local, check_place
from mtljax.presets import Config
from mtljax.tasks import suggestion

if TYPE_CHECKING:
    from mtljax.studies import Answer
    from mtljax.studies.study import Done, StudyRun


_PASSES = 10.0
"""Over the largest input group, where nothing is said: a study has many runs."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Say whether joint training helps: train tasks jointly and each alone, over seeds.

    Takes the options of `mtljax train`, which are those of the joint run; without --steps or
    --epochs it has the steps of its preset, but ten passes over the largest input group at most.
    Called again with the same options it goes on where it was left; runs that are complete are not
    done again.

    Attributes:
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      study_dir: directory of the study; studies/PRESET by default, with the name of the tasks file
        where it is given.
      seeds: how many, from --seed on.
      alone: what each model of one task is given: the 'share' of the tokens that its texts have in
        the joint run, so that all of them cost what the joint one costs, if no tasks read the same
        texts; or as many as the 'whole' joint run.
      groups: the most groups that the tasks are put in by their gradients.
      leave_out: tasks that are new to a model of the others ('all': each in turn): learned from few
        samples and from all, with the encoder frozen, tuned, by an adapter, and from nothing.
      samples: training texts that a new task is learned from; 'all' for all there are.
      transfer: try the encoder of each task on each other, whose head alone is trained: a run for
        every ordered pair and seed.
      check_groups: so many random groupings, and that by gradients, are really trained, a model a
        group, and compared with one model of all and one of each.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      jobs: do no run, but print a command for each, for another scheduler; when all are done, the
        same command without this says the answer. Those of --check-groups are known, and printed,
        when the joint runs are done.
      only: do these runs of the study alone, and give no answer.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the answer as JSON, and the progress to stderr.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    study_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    seeds: int = 3
    alone: Literal["share", "whole"] = "share"
    groups: int = 2
    leave_out: tuple[str, ...] = ()
    samples: tuple[str, ...] = ("16", "64", "256", "all")
    transfer: tyro.conf.FlagCreatePairsOff[bool] = False
    check_groups: int = 0
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    jobs: tyro.conf.FlagCreatePairsOff[bool] = False
    only: tuple[str, ...] = ()
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def _help_text(config: Config) -> str:
    what = (
        "Say whether joint training helps: train tasks jointly and each alone, over seeds. Called "
    )
    what += "again with the same options it goes on where it was left."
    study = (
        ("--seeds N", "how many, from --seed on (3)"),
        (
            "--alone share|whole",
            "tokens of each single run: its share of the joint run, or as many",
        ),
        ("--groups N", "the most groups that tasks are put in by their gradients (2)"),
        ("--transfer", "try the encoder of each task on each other"),
        ("--leave-out NAME", "a task that is new to a model of the others, learned from few texts"),
        ("--check-groups N", "train the recommended grouping and N random ones"),
        ("--study-dir DIR", "directory of the study; studies/PRESET, or with the tasks' name"),
        ("--json", "print the answer as JSON, and the progress to stderr"),
    )
    groups = (("the study", study), *short_help.settings(config))
    return short_help.text("relate [--tasks FILE] [OPTIONS]", what, groups, config)


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    given_arguments = arguments
    options, tasks, notes = read_with_preset(Options, "relate", arguments, help_text=_help_text)
    check_local("study directory", options.study_dir)
    set_xla_flags(options.config.parallel.xla_flags)
    if given(arguments, "--samples") is not None and not options.leave_out:
        raise UserError("--samples: of a task that is new; name one with --leave-out")
    data_dir = data_directory(options.data_dir)
    stem = f"-{Path(options.tasks).stem}" if options.tasks else ""
    directory = Path(options.study_dir or f"studies/{options.config.preset}{stem}")
    if not options.jobs:
        check_place("study directory", directory, directory=True)
    console = Output(stderr=options.json or options.jobs, soft_wrap=True)
    for line in notes:
        console.print(printable(line))

    def on_run(number: int, count: int, done: "Done") -> None:
        became = "diverged" if done.summary is None else f"{done.summary['steps']} steps"
        line = f"[{number}/{count}] {done.run.name}: {became}, {done.seconds:.0f} s"
        console.print(printable(line))

    with (
        joined(ProcessOptions(), "relate", directory) as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.studies import do_runs, plan_study, relate, runs_that_check, write_report

        places: dict[str, Any] = {
            "data_dir": data_dir,
            "cache_dir": cache_directory(options.cache_dir),
        }
        wanted = {"seeds": options.seeds, "budget": options.alone, **places}
        wanted |= {"leave_out": options.leave_out, "samples": options.samples}
        wanted |= {"transfer": options.transfer}
        if given(arguments, "--steps") is None and given(arguments, "--epochs") is None:
            wanted |= {"passes": _PASSES}
        if options.jobs or options.only:
            plan = plan_study(options.config, tasks, **wanted)
            runs = plan.runs
            if options.check_groups:  # known when the joint runs are done
                checking = {"groups": options.groups, "check_groups": options.check_groups}
                runs = [*runs, *runs_that_check(plan, directory, **checking)]
            if options.jobs:
                for one in runs:
                    command = [a for a in given_arguments if a != "--jobs"]
                    print(printable(shlex.join(["mtljax", "relate", *command, "--only", one.name])))
                return 0
            runs = _chosen(runs, options.only)
            for number, one in enumerate(
                do_runs(runs, directory, **places, preempted=preempted), 1
            ):
                on_run(number, len(runs), one)
            return 0
        answer = relate(
            options.config,
            tasks,
            directory,
            groups=options.groups,
            check_groups=options.check_groups,
            on_run=on_run,
            preempted=preempted,
            **wanted,
        )
    plain = plain_values(answer)
    report = write_report(answer, directory / "report.html")
    _write_json(directory / "answer.json", plain)
    if options.json:
        print_json(plain)
    else:
        console.print(_table(answer), soft_wrap=False)
        if answer.new_tasks:
            console.print(_new_tasks(answer), soft_wrap=False)
        for line in answer.advice:
            console.print(printable(line))
    console.print(printable(f"report: {report}"))
    return 0


def _chosen(runs: "Sequence[StudyRun]", names: Sequence[str]) -> "list[StudyRun]":
    known = [one.name for one in runs]
    for name in names:
        if name not in known:
            raise UserError(f"only: the study has no run {name!r}{suggestion(name, known)}")
    return [one for one in runs if one.name in names]


def _write_json(path: Path, value: Any) -> None:
    from mtljax.training.persistence.atomic_write import replacing

    with replacing(path) as temporary:
        text = json.dumps(nan_to_none(value), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _table(answer: "Answer") -> Table:
    from mtljax.cli.compare import difference_cells
    from mtljax.training.reporting.progress import format_value

    table = Table("task", "metric", title="test", title_justify="left")
    for column in ("alone", "joint", "difference", "95 % interval", "p"):
        table.add_column(column, justify="right")
    table.add_column("")
    for name, one in answer.tasks.items():
        change, interval, _, _ = difference_cells(
            one.metric, one.difference, lower_is_better=one.lower_is_better
        )
        table.add_row(
            printable(name),
            one.metric.replace("_", " "),
            format_value(one.metric, one.alone.value),
            format_value(one.metric, one.joint.value),
            change,
            interval,
            p_value(one.difference.p),
            one.verdict,
        )
    return table


def _new_tasks(answer: "Answer") -> Table:
    from mtljax.training.reporting.progress import format_value

    table = Table("task", "metric", title="new tasks, test", title_justify="left")
    ways = next(iter(answer.new_tasks.values())).values
    for column in ("samples", *ways):
        table.add_column(column, justify="right")
    for name, one in answer.new_tasks.items():
        for number, count in enumerate(one.samples):
            cells = [
                "" if value is None else format_value(one.metric, value.value)
                for way in ways
                for value in (one.values[way][number] if way in one.values else None,)
            ]
            table.add_row(printable(name), one.metric.replace("_", " "), str(count), *cells)
    return table
