"""User errors and preemption."""


class UserError(Exception):
    """A mistake in what the user asked for: one line that names what is wrong and where.

    The command line prints the line and exits with code 2. Pure functions of the library raise
    `ValueError` and `TypeError` instead.

    Attributes:
      LENGTH: the characters of the longest message; of a longer one the middle is left out.
    """

    LENGTH = 2000

    def __init__(self, message: object = "") -> None:
        text = str(message)
        if len(text) > self.LENGTH:
            text = f"{text[: self.LENGTH - 300]} [...] {text[-290:]}"
        super().__init__(text)


class Preempted(Exception):
    """A run was asked to stop, and can be resumed from the step that is saved."""


class Interrupted(Preempted):
    """A run was asked to stop by Ctrl-C."""
