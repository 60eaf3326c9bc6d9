"""Preparation of sets of the TFDS catalogue: download, and conversion to array_record files."""

import contextlib
import logging
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data.catalogue.embedded import EMBEDDED
from mtljax.data.tfds.builder_imports import missing_packages
from mtljax.data.tfds.builders import find_builder
from mtljax.data.tfds.tensorflow_stub import tensorflow_stubbed
from mtljax.errors import UserError
from mtljax.tasks import suggestion

_RETRIES = 2  # of a download; TFDS itself would try for minutes
_TIMEOUT = 10.0  # seconds until a host that does not answer is taken to be out of reach
_LIBRARIES = ("tensorflow", "apache_beam")


class Prepared(NamedTuple):
    """A prepared data set.

    Attributes:
        name: name by which tasks read it.
        directory: the directory of its files.
        splits: number of rows by name of split.
        already: whether it existed before.
    """

    name: str
    directory: Path
    splits: Mapping[str, int]
    already: bool


def prepare_dataset(
    name: str, data_dir: str | os.PathLike[str], *, progress: bool = False
) -> Prepared:
    """Downloads a set of the TFDS catalogue and writes it as array_record files.

    TensorFlow is not needed. Downloads are kept in `downloads` under the data directory. The set
    appears next to it when it is complete, or not at all.

    Args:
        name: `name`, `name/config`, `name:version` or `name/config:version`. Without a config, the
            set's first one.
        data_dir: where prepared sets lie; made if need be.
        progress: whether bars are drawn on stderr.

    Returns:
        The prepared set. One that existed before is left as it is.

    Raises:
        UserError: in one line, if there is no such set, if it needs what is not installed or cannot
            be downloaded, or for any other failure while it is prepared.
    """
    if name in EMBEDDED:
        raise UserError(f"data set {name!r} comes with the package: there is nothing to prepare")
    root = Path(os.path.expanduser(data_dir))
    with _output(progress):
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"data directory {str(data_dir)!r}: {error.strerror or error}"
            ) from None
        builder_class = find_builder(name)
        with tensorflow_stubbed():
            _refuse_missing_packages(builder_class, name)
            builder = _builder(builder_class, name, root)
            already = Path(builder.data_dir).exists()
            if already and builder.info.file_format.value != "array_record":
                raise UserError(
                    f"data set {name!r}: {builder.data_dir} is there in format "
                    f"{builder.info.file_format.value}, which only TensorFlow reads: "
                    f"prepare it in another data directory"
                )
            if not already:
                _prepare(builder, name, root)
    return Prepared(
        name=str(Path(builder.data_dir).parent.relative_to(root).as_posix()),
        directory=Path(builder.data_dir),
        splits={str(key): split.num_examples for key, split in builder.info.splits.items()},
        already=already,
    )


@contextlib.contextmanager
def _output(progress: bool) -> Iterator[None]:
    # Progress of TFDS is no result: it goes to stderr or nowhere.
    from tensorflow_datasets.core.utils import tqdm_utils

    retries = logging.getLogger("urllib3.connectionpool")
    level, bars = retries.level, tqdm_utils._active
    with (
        open(os.devnull, "w") as nowhere,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sys.stderr if progress else nowhere),
    ):
        warnings.simplefilter("ignore")
        retries.setLevel(logging.ERROR)
        (tqdm_utils.enable_progress_bar if progress else tqdm_utils.disable_progress_bar)()
        try:
            yield
        finally:
            retries.setLevel(level)
            (tqdm_utils.enable_progress_bar if bars else tqdm_utils.disable_progress_bar)()


def _refuse_missing_packages(builder_class: Any, name: str) -> None:
    missing = missing_packages(builder_class)
    if not missing:
        return
    libraries = [package for package in missing if package in _LIBRARIES]
    if libraries:
        needed = " and ".join(
            "TensorFlow" if package == "tensorflow" else "Apache Beam" for package in libraries
        )
        command = f"tfds build {shlex.quote(name)} --file_format array_record --data_dir DIR"
        raise UserError(
            f"data set {name!r} needs {needed} to be prepared: where that is installed, run "
            f"'{command}', and copy DIR/{name.split('/')[0].split(':')[0]} here"
        )
    raise UserError(
        f"data set {name!r} needs what is not installed: pip install {' '.join(missing)}"
    )


def _builder(builder_class: Any, name: str, root: Path) -> Any:
    base, _, version = name.partition(":")
    _, _, config = base.partition("/")
    options = {"config": config} if config else {}
    if version:
        options["version"] = version
    try:
        return builder_class(data_dir=str(root), **options)
    except Exception as error:
        known = sorted(builder_class.builder_configs)
        if config and config not in known:
            raise UserError(
                f"data set {name!r}: unknown config {config!r}{suggestion(config, known)}"
            ) from error
        raise UserError(f"data set {name!r}: {_short(error)}") from error


def _prepare(builder: Any, name: str, root: Path) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    downloads = root / "downloads"
    manual = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if manual and not (downloads / "manual").is_dir():
        raise UserError(
            f"data set {name!r} has files that you fetch yourself, into {downloads / 'manual'}: "
            f"{' '.join(manual.split())}"
        )
    _check_network(builder, name)
    incomplete_before = _incomplete(downloads)
    retries_before = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = _RETRIES
    try:
        builder.download_and_prepare(
            download_dir=str(downloads),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            file_format="array_record",
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"data set {name!r}: {_reason(error)}") from error
    finally:
        downloader.MAX_RETRIES = retries_before
        for path in _incomplete(downloads) - incomplete_before:
            shutil.rmtree(path, ignore_errors=True)
        _remove_empty(root / builder.name)


def _check_network(builder: Any, name: str) -> None:
    # TFDS knows the addresses of most sets beforehand; a host that does not answer would make it
    # wait, and retry, for minutes.
    import requests

    hosts: dict[str, str] = {}
    for url in builder.url_infos or ():
        if url.startswith("http"):
            hosts.setdefault(url.split("/")[2], url)
    # The addresses are those of all configs: one host that answers is enough to try.
    tried = dict(list(hosts.items())[:3])
    for url in tried.values():
        with contextlib.suppress(requests.exceptions.RequestException):
            requests.head(url, timeout=_TIMEOUT, allow_redirects=False)
            return
    if tried:
        raise UserError(f"data set {name!r}: {_unreachable(', '.join(tried))}")


def _unreachable(hosts: str) -> str:
    return (
        f"{hosts} cannot be reached; prepare it where there is a network, "
        f"and copy its directory here"
    )


def _reason(error: BaseException) -> str:
    # The first cause says most: TFDS and its promises wrap it in messages of many lines.
    import requests

    while True:
        if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout):
            url = str(getattr(error.request, "url", None) or "//a host")
            return _unreachable(url.split("/")[2])
        if error.__cause__ is None:
            break
        error = error.__cause__
    if isinstance(error, ImportError) and error.name:
        return f"needs the Python package {error.name!r}"
    return _short(error)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def _incomplete(downloads: Path) -> set[Path]:
    # Downloads and unpacked archives that are not complete.
    patterns = ("*/*.tmp.*", "*.tmp.*", "extracted/*incomplete*")
    return {path for pattern in patterns for path in downloads.glob(pattern)}


def _remove_empty(folder: Path) -> None:
    # What a failure leaves of a set's own directories, if nothing else is in them.
    with contextlib.suppress(OSError):
        inside = [path for path in folder.rglob("*") if path.is_file()]
        if all(path.parent.name == ".config" for path in inside):
            for path in inside:
                path.unlink()
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir()
            folder.rmdir()
