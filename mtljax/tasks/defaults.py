"""Tasks on the embedded data."""

from mtljax.tasks.task import Task

_MOVIE = Task(
    "movie_sentiment",
    dataset="movie_sentiment",
    kind="classification",
    inputs="text",
    targets="label",
)
_AMAZON = Task(
    "amazon_sentiment",
    dataset="amazon_sentiment",
    kind="classification",
    inputs="text",
    targets="label",
)

DEFAULT_TASKS: tuple[Task, ...] = (
    _MOVIE,
    Task(
        "movie_casepunct",
        dataset="movie_casepunct",
        kind="tagging",
        inputs="tokens",
        targets="tags",
    ),
    Task("movie_lm", dataset="movie_lm", kind="language_model", inputs="text"),
    _AMAZON,
)
"""The tasks that are trained when no tasks file is given."""

SENTIMENT_TASKS: tuple[Task, ...] = (_MOVIE, _AMAZON)
"""Two sentiment tasks, positive or negative."""
