import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.tasks import Slice, parse_slices

bounds = st.none() | st.integers(-120, 120)


@pytest.fixture(scope="module")
def tfds_rows():
    """The rows that TFDS takes of a split of some size."""
    import tensorflow_datasets as tfds

    def rows(text, size):
        info = tfds.core.SplitInfo(
            name="train",
            shard_lengths=[size],
            num_bytes=0,
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir="/", dataset_name="d", filetype_suffix="array_record"
            ),
        )
        instruction = tfds.core.splits._str_to_relative_instruction(text)
        absolute = tfds.core.splits._rel_to_abs_instr(instruction, {"train": info})
        start = absolute.from_ or 0
        stop = size if absolute.to is None else absolute.to
        return list(range(start, stop))

    return rows


@given(start=bounds, stop=bounds, percent=st.booleans(), size=st.integers(1, 250))
def test_rows_are_those_of_tfds(tfds_rows, start, stop, percent, size):
    if start is None and stop is None:
        return
    unit = "%" if percent else ""
    text = "train[{}:{}]".format(*("" if b is None else f"{b}{unit}" for b in (start, stop)))
    try:
        wanted = tfds_rows(text, size)
    except (ValueError, AssertionError):
        with pytest.raises(ValueError, match="reach"):
            parse_slices(text)[0].rows(size)
        return
    assert list(parse_slices(text)[0].rows(size)) == wanted


def test_parts_are_joined():
    assert parse_slices("train[:90%] + test") == (
        Slice("train", None, 90.0, percent=True),
        Slice("test"),
    )


def test_names_may_be_patterns():
    assert parse_slices("part-[0-9]*.jsonl")[0] == Slice("part-[0-9]*.jsonl")
    assert parse_slices("a/b c.jsonl[-10:]")[0] == Slice("a/b c.jsonl", -10, None)
    assert parse_slices("[:3]")[0] == Slice("", None, 3)
    assert parse_slices("a[:]")[0].everything


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no split"),
        ("train+", "names no split"),
        ("train[:50%", "is not a slice"),
        ("train[a:b]", "is not a slice"),
        ("train[1:2:3]", "is not a slice"),
        ("train[10:50%]", "mixes rows and percentages"),
        ("train[:101%]", "beyond 100 %"),
        ("train[1.5:]", "row numbers are whole"),
        ("train[1.5.5%:]", "row numbers are whole"),
    ],
)
def test_bad_slices(text, message):
    with pytest.raises(ValueError, match=message):
        parse_slices(text)


def test_rows_that_are_not_there():
    with pytest.raises(ValueError, match="row 11 of 10"):
        Slice("train", 11).rows(10)
