"""User errors and preemption, and what may be shown of texts that others wrote."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls of C0, C1 and DEL, line separators, directional overrides and isolates, surrogates."""


def visible(text: str) -> str:
    r"""A text whose control characters are written out, so that they control no terminal.

    Keys, names and paths may hold escape sequences, which move the cursor or set the title of a
    window, and directional overrides, which show letters in another order. Line ends and tabs stay.

    >>> visible("a\x1b[2Jb"), visible("caf\xe9\n")
    ('a\\x1b[2Jb', 'caf\xe9\n')
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def reason_of(error: BaseException) -> str:
    """Why something failed, in a few words of one line: those of the system where it has some.

    >>> reason_of(FileNotFoundError(2, "No such file or directory")), reason_of(KeyError())
    ('No such file or directory', 'KeyError')
    """
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text[:200] or type(error).__name__


class UserError(Exception):
    """A mistake in what the user asked for: one line that names what is wrong and where.

    The command line prints the line and exits with code 2. Pure functions of the library raise
    `ValueError` and `TypeError` instead.

    Control characters in it are written out, see `visible`.

    Attributes:
      LENGTH: the characters of the longest message; of a longer one the middle is left out.
    """

    LENGTH = 2000

    def __init__(self, message: object = "") -> None:
        text = visible(str(message))
        if len(text) > self.LENGTH:
            text = f"{text[: self.LENGTH - 300]} [...] {text[-290:]}"
        super().__init__(text)


TRAIN = frozenset(
    {
        *("array_record", "flax", "grain", "importlib_resources", "orbax", "rich", "sacrebleu"),
        *("safetensors", "tensorflow_datasets", "tokenizers", "tyro", "yaml"),
    }
)
"""The packages of the extra `train`, by the names under which they are imported."""


def missing_extra(error: ImportError, what: str) -> ModuleNotFoundError | None:
    """What to say where a package of the extra `train` is not installed.

    Args:
      error: of an import.
      what: what was wanted.

    Returns:
      An error whose one line has the command that mends it; None for any other error.

    >>> missing_extra(ModuleNotFoundError(name="flax.linen"), "mtljax.modules")
    ModuleNotFoundError("mtljax.modules needs flax: pip install 'mtljax[train]'")
    """
    package = (error.name or "").split(".")[0]
    if package not in TRAIN:
        return None
    mended = f"{what} needs {package}: pip install 'mtljax[train]'"
    return ModuleNotFoundError(mended, name=error.name)


class Diverged(UserError):
    """A loss or a gradient of a run is no longer finite."""


class NotConverged(UserError):
    """A solver stopped before the optimum; the exit code is 1."""


class Preempted(Exception):
    """A run was asked to stop, and can be resumed from the step that is saved."""


class Interrupted(Preempted):
    """A run was asked to stop by Ctrl-C."""
