import pytest

from mtljax.training.persistence.atomic_write import replace_text, replacing


def test_a_file_is_replaced_as_a_whole(tmp_path):
    replace_text(tmp_path / "a", "old")
    replace_text(tmp_path / "a", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"


def test_after_an_error_the_old_content_is_there(tmp_path):
    replace_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
