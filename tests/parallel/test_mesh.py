import jax
import pytest
from jax.sharding import AbstractMesh, AxisType

from mtljax.parallel import AXES, make_mesh
from mtljax.parallel.mesh import axes_size, mesh_shape, present_axes, row_axes


@pytest.mark.parametrize(
    "sizes, expected",
    [
        ((2, 4, 1), (2, 4, 1)),
        ((2, 0, 1), (2, 4, 1)),
        ((-1, 1, 2), (4, 1, 2)),
        ((1, 1, 0), (1, 1, 8)),
        ((8, 0, 1), (8, 1, 1)),
    ],
)
def test_what_the_others_leave(sizes, expected):
    assert mesh_shape(*sizes, num_devices=8) == expected


@pytest.mark.parametrize("sizes", [(3, 0, 1), (2, 2, 1), (16, 1, 1), (1, 1, 1), (3, 5, 0)])
def test_sizes_that_do_not_multiply(sizes):
    with pytest.raises(ValueError, match="a mesh of task .* does not multiply to 8 devices"):
        mesh_shape(*sizes, num_devices=8)


def test_two_axes_cannot_both_be_left():
    with pytest.raises(ValueError, match="axes task and model cannot both"):
        mesh_shape(0, 2, -1, 8)


def test_a_mesh_of_one_device_has_all_axes():
    mesh = make_mesh()
    assert dict(mesh.shape) == dict.fromkeys(AXES, 1)
    assert mesh.axis_types == (AxisType.Auto,) * 3
    assert mesh.devices.item() == jax.devices()[0]
    with pytest.raises(ValueError, match="does not multiply to 1 devices"):
        make_mesh(data=2)


def test_axes_that_rows_are_split_over():
    mesh = AbstractMesh((2, 4, 1), AXES)
    assert present_axes(mesh) == row_axes(mesh) == ("task", "data")
    assert present_axes(mesh, ("data", "task", "model")) == ("data", "task")
    assert row_axes(AbstractMesh((1, 4, 2), AXES)) == ("data",)
    assert axes_size(mesh, ("data", "task")) == 8 and axes_size(mesh, ()) == 1
