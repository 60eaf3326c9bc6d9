"""``mtljax prepare``: download data sets of the TFDS catalogue."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from mtljax.cli.options import DATA_DIR, Output, data_directory, parse, print_json
from mtljax.errors import UserError
from mtljax.local_paths import check_local


@dataclasses.dataclass(frozen=True)
class Options:
    """Download data sets of the TFDS catalogue and write them as array_record files.

    TensorFlow is not needed. A data set that is there already is not changed. A terminal shows the
    progress on stderr.

    Attributes:
      names: names in the catalogue: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
      data_dir: directory of prepared data sets; the environment's MTLJAX_DATA_DIR by default.
      json: print one JSON object a line, {"name", "directory", "splits", "already"}.
    """

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME ...")]
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "prepare", arguments)
    if not options.names:
        raise UserError("name a data set, such as glue/sst2")
    directory = data_directory(options.data_dir)
    if directory is None:
        raise UserError(f"name a directory: --data-dir DIR, or {DATA_DIR} in the environment")
    check_local("data directory", directory)
    from mtljax.data.catalogue.prepare import prepare_dataset

    console = Output(soft_wrap=True)
    for name in options.names:
        prepared = prepare_dataset(name, directory, progress=sys.stderr.isatty())
        if options.json:
            print_json({**prepared._asdict(), "directory": str(prepared.directory)})
            continue
        rows = ", ".join(f"{count:,} {split}" for split, count in prepared.splits.items())
        done = "already there" if prepared.already else "prepared"
        console.print(f"{prepared.name}: {done}, {rows} ({prepared.directory})")
    return 0
