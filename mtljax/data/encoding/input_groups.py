"""Input groups: tasks that read the same inputs share one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mtljax.data.sources.source import Source
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Attention
from mtljax.tasks.choices import chains_tags
from mtljax.tasks.suggest import suggestion
from mtljax.tasks.task import Task


@dataclass(frozen=True)
class Group:
    """Tasks that share one forward pass of the encoder.

    Attributes:
        name: a unique name, after the data set of its first task.
        tasks: its tasks, in their order in the run.
        inputs: the feature that all of them read, or several, which are concatenated.
        attention: which positions the encoder sees.
        max_length: ids of an example at most; None for the length of a row.
        chunked: whether longer texts are read in consecutive chunks (only language models do)
            rather than truncated.
    """

    name: str
    tasks: tuple[Task, ...]
    inputs: str | tuple[str, ...]
    attention: Attention
    max_length: int | None
    chunked: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The features that are read; most groups have one."""
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs

    @property
    def text_to_text(self) -> bool:
        """Whether the parts are a source text and the target text that follows it."""
        return _answers(self.tasks[0])


def attention_by_kind(task: Task) -> Attention:
    """Causal for tasks that write text, bidirectional for all others."""
    return "causal" if KINDS[task.kind].writes else "bidirectional"


def all_causal(task: Task) -> Attention:
    """Causal for every task, so that a language model shares its pass with others."""
    return "causal"


def input_groups(
    tasks: Sequence[Task],
    sources: Mapping[str, Source],
    attention: Callable[[Task], Attention] = attention_by_kind,
    *,
    apart: bool = False,
) -> tuple[Group, ...]:
    """Groups tasks that read the same inputs in the same way.

    Args:
        tasks: tasks with unique names.
        sources: the data sets of the tasks, by name of data set.
        attention: from a task to how the encoder reads its inputs.
        apart: whether every task has a group of its own.

    Returns:
        Groups in the order of their first tasks. Unless they are apart, two tasks are in one group
        if their data sets have the same identity and they agree in input features, attention,
        `max_length` and `rename_words`.

    Raises:
        UserError: if a data set does not have a feature that a task names, or not of a kind that
            the task can use.
        ValueError: if a language model would see what it predicts.
    """
    members: dict[tuple, list[Task]] = {}
    for task in tasks:
        check_features(task, sources[task.source_name])
        mode = attention(task)
        modes = KINDS[task.kind].attention
        if mode not in modes:
            kind = task.kind.replace("_", " ")
            wanted = " or ".join(modes)
            raise ValueError(f"task {task.name!r}: a {kind} needs {wanted} attention, got {mode}")
        identity = sources[task.source_name].identity
        inputs = task.inputs
        if _answers(task):
            inputs = (*task.parts, task.targets or "")
        # Two texts to classify are shortened in another way than a source and its target.
        pair = (_answers(task), task.rename_words)
        key = (identity, inputs, mode, task.max_length, pair, task.name if apart else "")
        members.setdefault(key, []).append(task)
    groups: list[Group] = []
    for (_, inputs, mode, max_length, *_), group_tasks in members.items():
        name = _unused_name(group_tasks[0], mode, [group.name for group in groups])
        chunked = all(KINDS[task.kind].writes == "continuation" for task in group_tasks)
        groups.append(Group(name, tuple(group_tasks), inputs, mode, max_length, chunked))
    return tuple(groups)


def _answers(task: Task) -> bool:
    return KINDS[task.kind].writes == "answer"


def _unused_name(task: Task, mode: Attention, taken: Sequence[str]) -> str:
    base = task.source_name.rstrip("/").replace("\\", "/").split("/")[-1] or task.name
    names = [base, f"{base}_{mode}", f"{base}_{'_'.join(task.parts)}", f"{base}_{task.name}"]
    names += [f"{base}_{i}" for i in range(2, len(taken) + 3)]
    return next(name for name in names if name not in taken)


_DESCRIPTIONS = {
    "text": "a text",
    "tokens": "a list of texts",
    "label": "a class label",
    "tags": "a list of class labels",
    "number": "a number",
    "numbers": "a list of numbers",
}


def check_features(task: Task, source: Source) -> None:
    """Checks that a data set has what a task reads.

    Raises:
        UserError: with the task, the field and the features that exist.
    """

    def check(field: str, name: str, kinds: Sequence[str]) -> None:
        where = f"task {task.name!r}, field {field!r}"
        if name not in source.features:
            close = suggestion(name, source.features)
            listing = "" if close.startswith("; known") else f" (features: {_list(source)})"
            raise UserError(
                f"{where}: data set {source.name!r} has no feature {name!r}{close}{listing}"
            )
        kind = source.features[name].kind
        if kind not in kinds:
            wanted = " or ".join(dict.fromkeys(_DESCRIPTIONS[k] for k in kinds))
            raise UserError(
                f"{where}: feature {name!r} of {source.name!r} is {_DESCRIPTIONS[kind]}, "
                f"but {task.kind if field != 'weights' else 'a weight'} needs {wanted}"
            )

    for part in task.parts:
        check("inputs", part, KINDS[task.kind].input_features)
    if task.targets is not None:
        check("targets", task.targets, KINDS[task.kind].target_features)
    if task.references is not None:
        check("references", task.references, ("text", "tokens"))
    if task.weights is not None:
        check("weights", task.weights, ("number",))


def _list(source: Source) -> str:
    return ", ".join(source.features)


def reads_word_starts(group: Group, settings: TokenizerSettings) -> bool:
    """Whether some task of a group has to be told where words begin.

    Where pieces are words, all are but the mark at the begin of a text.
    """
    return settings.kind != "words" and any(map(chains_tags, group.tasks))
