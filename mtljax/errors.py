"""What a person can put right."""


class UserError(Exception):
    """A mistake in what the user asked for: one line that names what is wrong and where.

    The command line prints the line and exits with code 2. Pure functions of the library raise
    `ValueError` and `TypeError` instead.
    """
