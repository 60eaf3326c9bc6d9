"""The data that a run was trained on, read again."""

from pathlib import Path

from mtljax.data import MultitaskData, load_data
from mtljax.training.model import data_options
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.run_directory import RunFiles


def run_data(
    directory: Path,
    files: RunFiles,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> MultitaskData:
    """Read and encode the data of a run, with its tokenizer, and check that it is the same.

    Args:
      directory: of the run.
      files: what is in it.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory of the cache of tokenised data; None for no cache.

    Returns:
      The data of its tasks.

    Raises:
      UserError: if the data is missing or has changed.
    """
    data = load_data(
        files.tasks,
        data_options(files.config, files.tasks),
        data_dir=data_dir,
        tokenizer=files.tokenizer,
        cache_dir=cache_dir,
        begun=files.layout.outputs,
    )
    run_directory.check_same_data(directory, data)
    return data
