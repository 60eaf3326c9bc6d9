"""User errors and preemption."""


class UserError(Exception):
    """A mistake in what the user asked for: one line that names what is wrong and where.

    The command line prints the line and exits with code 2. Pure functions of the library raise
    `ValueError` and `TypeError` instead.
    """


class Preempted(Exception):
    """A run was asked to stop, and can be resumed from the step that is saved."""
