import jax
import pytest

from mtljax.errors import UserError
from mtljax.training import multihost
from mtljax.training.multihost import (
    CollectiveError,
    check_same,
    collective_error,
    is_loss_of_process,
    is_writer,
    on_all_processes,
)


@pytest.fixture
def three(monkeypatch):
    """This process is the first of three; sets what the others say, call by call."""
    answers = []
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(multihost, "gather_texts", lambda text: [text, *answers.pop(0)])

    def say(*others):
        answers.extend(others)

    return say


def fail():
    raise UserError("no such file")


def test_alone():
    assert is_writer()
    assert on_all_processes(lambda: 3) == 3
    with pytest.raises(UserError, match="^no such file$") as error:
        on_all_processes(fail)
    assert not isinstance(error.value, CollectiveError)
    check_same(fail)  # nothing is compared
    assert not isinstance(collective_error(UserError("x")), CollectiveError)
    assert not is_loss_of_process(ValueError("Gloo all-reduce failed"))


def test_nobody_fails(three):
    three(["", ""])
    assert on_all_processes(lambda: 3) == 3


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["no such file", "no such file"], "no such file"),
        (["", ""], "process 0: no such file"),
        (["", "other"], "process 0: no such file"),
    ],
)
def test_this_one_fails(three, others, message):
    three(others)
    with pytest.raises(CollectiveError) as error:
        on_all_processes(fail)
    assert str(error.value) == message


def test_another_fails(three):
    three(["", "disk full"])
    with pytest.raises(CollectiveError, match="^process 2: disk full$"):
        on_all_processes(lambda: 3)


def test_the_same_values(three, monkeypatch):
    said = []
    monkeypatch.setattr(multihost, "gather_texts", lambda text: said.append(text) or [text] * 3)
    check_same(lambda: {f"name{i}": str(i) for i in range(450)})
    # In portions that can be exchanged.
    assert [len(text) for text in said] == [1600, 1600, 400]


def test_other_values(three, monkeypatch):
    values = {"steps": "3", "seed": "0", "heads.hidden": "4"}
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(multihost, "gather_texts", lambda text: said.append(text) or [text] * 3)
        check_same(lambda: values | {"seed": "1", "heads.hidden": "5"})
        check_same(lambda: values)
    other, same = said
    three([same, other])
    with pytest.raises(
        CollectiveError, match=r"^process 2 was started with another seed, heads\.hidden "
    ):
        check_same(lambda: values)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer"), True),
        (RuntimeError("INTERNAL: Barrier failed because: task disconnected"), True),
        (ValueError("shapes (3,) and (4,) do not fit"), False),
        (OSError("Connection reset by peer"), False),
    ],
)
def test_losses_of_a_process(three, error, lost):
    assert is_loss_of_process(error) is lost
