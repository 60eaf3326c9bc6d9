"""The `mtljax` command: one file a subcommand, thin.

Nothing heavy is imported before a subcommand asks for it, so that ``mtljax --help`` is quick.
"""

from mtljax.cli.main import main as main
