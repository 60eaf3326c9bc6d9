"""What follows from the results of a study, in sentences."""

from collections.abc import Mapping, Sequence

from mtljax.studies.answers import CheckedGrouping, Groups, NewTask, TaskAnswer
from mtljax.studies.intervals import Difference
from mtljax.studies.study import Done
from mtljax.training.reporting.progress import SHARES


def advice_of(answers: dict[str, TaskAnswer], groups: Groups | None) -> list[str]:
    """What follows from the differences; the groups of gradients are a hint, and said as such."""
    by_verdict = {
        verdict: [name for name, one in answers.items() if one.verdict == verdict]
        for verdict in ("helps", "costs", "not told apart")
    }
    advice = []
    if helped := by_verdict["helps"]:
        advice.append(f"Joint training helps {listed(helped)}.")
    if hurt := by_verdict["costs"]:
        costs = listed([f"{name} ({change(answers[name])})" for name in hurt])
        advice.append(f"It costs {costs}: train {'it' if len(hurt) == 1 else 'them'} apart.")
    if unsure := by_verdict["not told apart"]:
        advice.append(
            f"The interval does not exclude 0 for {listed(unsure)}: more seeds or more test texts "
            "would tell, or joint training for the sake of one model."
        )
    if groups is not None and len(set(groups.labels)) > 1:
        parts = [
            listed([n for n, label in zip(groups.names, groups.labels, strict=True) if label == g])
            for g in dict.fromkeys(groups.labels)
        ]
        advice.append(
            f"By their gradients the tasks would be grouped as {'; '.join(parts)}: a hint for the "
            "next study, not a result of this one."
        )
    return advice


def too_short(done: Sequence[Done]) -> list[str]:
    """A warning where runs were best at their last step: longer ones may tell something else."""
    summaries = [one.summary for one in done if one.summary is not None]
    last = sum(summary["best_step"] == summary["steps"] for summary in summaries)
    if 2 * last <= len(summaries):
        return []
    return [
        f"{last} of {len(summaries)} runs were best at their last step: with more steps the answer "
        "may be another."
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def change(answer: TaskAnswer) -> str:
    """The difference of a task in its own units, with a sign."""
    unit = answer.metric.replace("_", " ")
    if answer.metric in SHARES:
        return f"{signed(answer.metric, answer.difference.value)} points of {unit}"
    return f"{signed(answer.metric, answer.difference.value)} in {unit}"


def signed(metric: str, value: float) -> str:
    """A difference of a metric with a sign, shares in points."""
    return f"{100 * value:+.1f}" if metric in SHARES else f"{value:+.4g}"


def new_task_advice(new_tasks: Mapping[str, NewTask]) -> list[str]:
    """What a new task gains over beginning from nothing, for each number of samples."""
    return [
        f"A new task like {name} ({task.metric.replace('_', ' ')}), against beginning from "
        "nothing: "
        + "; ".join(
            f"from {count} samples {_gained(task, number)}"
            for number, count in enumerate(task.samples)
        )
        + "."
        for name, task in new_tasks.items()
    ]


_IN_WORDS = {"frozen": "a frozen encoder", "tuned": "tuning", "adapter": "an adapter"}


def _gained(task: NewTask, number: int) -> str:
    gains = [(way, of_way[number]) for way, of_way in task.gains.items()]
    sure = [(way, one) for way, one in gains if one is not None and (one.low > 0 or one.high < 0)]

    def better(one: Difference) -> float:
        return -one.value if task.lower_is_better else one.value

    parts = []
    for way, one in sorted(sure, key=lambda pair: -better(pair[1])):
        verb = "gains" if better(one) > 0 else "costs"
        change = signed(task.metric, abs(one.value)).removeprefix("+")
        unit = " points" if task.metric in SHARES else ""
        parts.append(f"{_IN_WORDS[way]} {verb} {change}{unit}")
    return listed(parts) if parts else "nothing is told apart"


def checked_advice(checked: Sequence[CheckedGrouping]) -> list[str]:
    """Whether the recommended groups are ahead of the others that were really trained."""
    if not checked:
        return []
    best = next(one for one in checked if one.name == "recommended")
    groups = "; ".join(map(listed, best.groupings[0]))
    parts = []
    for one in checked:
        if one.lead is None:
            continue
        ahead = "ahead of" if one.lead.low > 0 else "behind" if one.lead.high < 0 else ""
        lead = ", ".join(f"{100 * part:+.1f}" for part in one.lead[1:])
        verb = ahead or "not told apart from"
        parts.append(f"{verb} {_GROUPINGS[one.name]} (mean relative gain {lead} %)")
    found = f"is {listed(parts)}" if parts else "has no runs that did not diverge"
    return [f"The grouping that gradients recommend ({groups}), really trained, {found}."]


_GROUPINGS = {
    "all together": "one model of all",
    "each alone": "each alone",
    "random": "random groups",
}
