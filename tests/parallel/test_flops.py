import jax
import jax.numpy as jnp
import pytest

from mtljax.parallel import matmul_flops


def compiled(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    program = jax.jit(function).lower(*arguments).compile()
    return program.as_text() or "", (program.cost_analysis() or {}).get("flops")


def test_a_product_counts_as_often_as_its_loop_runs():
    def layers(x, kernels):
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels)[0]

    text, _ = compiled(layers, (6, 8), (5, 8, 8))
    assert matmul_flops(text) == 5 * 2 * 6 * 8 * 8


def test_the_costliest_branch_counts():
    def either(which, x, small, large):
        one, two = (lambda x, s, _: x @ s @ s.T), (lambda x, _, b: x @ b @ b.T)
        return jax.lax.cond(which[0] > 0, one, two, x, small, large)

    text, _ = compiled(either, (1,), (64, 32), (32, 16), (32, 48))
    assert matmul_flops(text) == 2 * (2 * 64 * 32 * 48)


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": "VALID"},
        {"padding": "SAME", "window_strides": (2, 1)},
        {"padding": [(3, 1), (0, 2)], "rhs_dilation": (2, 1)},
        {"padding": [(1, 1), (2, 0)], "lhs_dilation": (2, 3)},
        {"padding": "SAME", "feature_group_count": 2},
    ],
)
def test_convolutions_are_counted_as_xla_counts_them(settings):
    groups = settings.get("feature_group_count", 1)
    given = {"window_strides": (1, 1), **settings}
    names = ("NHWC", "HWIO", "NHWC")
    text, flops = compiled(
        lambda x, kernel: jax.lax.conv_general_dilated(x, kernel, **given, dimension_numbers=names),
        (2, 7, 6, 4),
        (3, 2, 4 // groups, 6),
    )
    assert "convolution(" in text
    assert matmul_flops(text) == flops


# What a TPU makes of `einsum("bsd,btd->bst")` for 8 texts of 16 and 12 positions of width 4, and of
# the product of rows and a matrix, as its compiler writes them.
TPU = """\
%fused (x: f32[8,16,4], y: f32[8,12,4]) -> f32[8,16,12] {
  %x = f32[8,16,4]{2,1,0:T(8,128)} parameter(0)
  %y = f32[8,12,4]{2,1,0:T(8,128)} parameter(1)
  ROOT %c.1 = f32[8,16,12]{2,1,0:T(8,128)} convolution(%x, %y), window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0oi->0bf
}

%body (carry: (s32[], f32[8,16,4])) -> (s32[], f32[8,16,4]) {
  %rows = f32[8,16,4]{2,1,0:T(8,128)} get-tuple-element(%carry), index=1
  %kernel = f32[4,4,1]{1,0,2:T(4,128)} parameter(1)
  %c.2 = f32[8,16,4]{2,1,0:T(8,128)} convolution(%rows, %kernel), window={size=1}, dim_labels=0bf_io0->0bf
}

%cond (carry: (s32[], f32[8,16,4])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  ROOT %less = pred[]{:T(512)} compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[8,16,4], y: f32[8,12,4]) -> f32[8,16,12] {
  %loop = (s32[]{:T(128)}, f32[8,16,4]{2,1,0:T(8,128)}) while(%init), condition=%cond, body=%body
  ROOT %scores = f32[8,16,12]{2,1,0:T(8,128)} fusion(%x, %y), kind=kOutput, calls=%fused
}
"""  # noqa: E501


def test_products_of_a_tpu():
    assert matmul_flops(TPU) == 2 * 8 * 16 * 12 * 4 + 3 * (2 * 8 * 16 * 4 * 4)


def test_no_products():
    assert matmul_flops(compiled(jnp.sin, (3,))[0]) == 0
    assert matmul_flops("") == 0
