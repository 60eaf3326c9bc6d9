"""The metrics of a model on a split of data, those of the texts that it writes among them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.inference.generation_config import GenerationConfig, check_generation
from mtljax.inference.generation_metrics import (
    bleu_note,
    generation_metrics,
    sources_of,
    write_texts,
)
from mtljax.inference.text_generator import TextGenerator
from mtljax.kinds import KINDS
from mtljax.modules.network import Params
from mtljax.training.evaluation import Evaluator, Values
from mtljax.training.model import Model


class Written(NamedTuple):
    """How the texts of text to text are generated, to be measured.

    Attributes:
      generators: from the name of a task to what generates its texts.
      config: how, one text for each source.
      keep: directory where they are kept, as ``TASK-SPLIT.jsonl``; None for nowhere.
    """

    generators: Callable[[str], TextGenerator]
    config: GenerationConfig
    keep: Path | None = None


def measured(
    model: Model,
    params: Params,
    data: MultitaskData,
    split: str,
    written: Written | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Values:
    """Metric values of every task on a split of data.

    Args:
      model: of the layout of the data.
      params: its parameters.
      data: of its tasks.
      split: of the data.
      written: how texts are generated; None for none.
      say: is called with a line on how texts are measured, where it is not the usual.

    Returns:
      Values by task and metric; tasks without a target in the split are left out.

    Raises:
      UserError: for texts that cannot be generated so.
    """
    answering = [task for task in model.tasks if written and KINDS[task.kind].writes == "answer"]
    if written and written.config.samples != 1:
        samples = written.config.samples
        raise UserError(f"samples: must be 1, one text for each source, got {samples}")
    for task in answering:
        assert written is not None
        check_generation(written.config, model.layout.outputs[task.name].num_classes)
    values = Evaluator(model, data)(params, split, full=True)
    for task in answering:
        assert written is not None
        sources = sources_of(task, data.sources[task.source_name].splits.get(split, ()))
        if task.name not in values or not sources:
            continue
        generator = written.generators(task.name)
        texts = generator.generate([source.source for source in sources], written.config)
        if written.keep is not None:
            write_texts(written.keep / f"{task.name}-{split}.jsonl", sources, texts)
        if note := bleu_note(sources):
            say(f"task {task.name!r}: {note}")
        lowercase = data.tokenizer.settings.lowercase
        values[task.name] |= generation_metrics(sources, texts, lowercase=lowercase)
    return values
