"""``--parallel.xla-flags``: flags of XLA, which reads them once, when JAX starts its devices."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

from mtljax.errors import UserError

_FLAG = re.compile(r"xla_\w+(=[^\s-][^\s]*|=-?\d[^\s]*)?")
_UNKNOWN = re.compile(r"Unknown flags? in XLA_FLAGS: (.*)")
_START = "import jax; jax.devices()"


def set_xla_flags(flags: Sequence[str]) -> None:
    """Put flags into the environment, where XLA and the library of TPUs read them.

    XLA ends a process that has a flag it does not know: another process tries them first.

    Args:
      flags: ``NAME=VALUE``; names that begin with ``xla_tpu_`` are those of the library of TPUs,
        which alone knows whether it has them.

    Raises:
      UserError: for what is no flag, or none of this XLA.
    """
    if not flags:
        return
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise UserError(
                f"parallel.xla_flags: {flag!r} is no flag; it must be 'xla_NAME=VALUE', without "
                "dashes in front"
            )
    of_tpus = [flag for flag in flags if flag.startswith("xla_tpu_")]
    _add("LIBTPU_INIT_ARGS", of_tpus)
    before = os.environ.get("XLA_FLAGS", "")
    if before and not before.startswith("-"):
        raise UserError("parallel.xla_flags: not where XLA_FLAGS in the environment names a file")
    _add("XLA_FLAGS", [flag for flag in flags if flag not in of_tpus])
    if os.environ.get("XLA_FLAGS", "") != before and (problem := _refused()):
        os.environ["XLA_FLAGS"] = before
        raise UserError(f"parallel.xla_flags: {problem}")


def _add(variable: str, flags: Sequence[str]) -> None:
    there = os.environ.get(variable, "").split()
    new = [f"--{flag}" for flag in flags if f"--{flag}" not in there]
    if new:
        os.environ[variable] = " ".join([*there, *new])


def _refused() -> str:
    """What XLA says to the flags of the environment; empty if it takes them."""
    tried = subprocess.run(
        [sys.executable, "-c", _START],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if tried.returncode == 0:
        return ""
    unknown = _UNKNOWN.search(tried.stderr)
    if unknown:
        return f"this XLA has no flag {unknown[1].strip().replace('--', '')}"
    return f"XLA does not take {os.environ['XLA_FLAGS']}"
