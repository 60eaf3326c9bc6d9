"""Default tasks, on the data sets inside the package."""

import dataclasses

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
    dataclasses.replace(_MOVIE, label_smoothing=0.1),
    Task(
        "movie_casepunct",
        dataset="movie_casepunct",
        kind="tagging",
        inputs="tokens",
        targets="tags",
        weight=2.0,
    ),
    Task("movie_lm", dataset="movie_lm", kind="language_model", inputs="text", weight=3.0),
    dataclasses.replace(_AMAZON, label_smoothing=0.1),
)
"""The tasks that are trained when no tasks file is given; weights chosen by hand, with seed 0."""

SENTIMENT_TASKS: tuple[Task, ...] = (_MOVIE, _AMAZON)
"""Two sentiment tasks, positive or negative."""
