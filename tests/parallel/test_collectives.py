import pytest

from mtljax.parallel import Collective, buffer_bytes, collectives, sent_bytes

PROGRAM = """\
HloModule jit_step

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(f32[] %x, f32[] %y)
}

%body.3 (carry: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %all-gather.7 = f32[8,4]{1,0} all-gather(%part), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
}

%cond.3 (carry: (s32[], f32[8,4])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%branch (x: f32[16]) -> f32[16] {
  ROOT %permute = bf16[16]{0} collective-permute(%x), channel_id=4, source_target_pairs={{0,1}}
}

ENTRY %main.9 (a: f32[16], b: f32[32]) -> f32[16] {
  %while.1 = (s32[], f32[8,4]) while(%init), condition=%cond.3, body=%body.3, backend_config={"known_trip_count":{"n":"12"}}
  %choice = f32[16]{0} conditional(%which, %x, %x), branch_computations={%branch, %branch}
  %scatter = f32[2,3]{1,0} reduce-scatter(%rows), channel_id=2, replica_groups={{0,1},{2,3},{4,5},{6,7}}, dimensions={0}, to_apply=%add
  %trade = (f32[1,6]{1,0}, f32[1,6]{1,0}) all-to-all(%a, %b), channel_id=3, replica_groups=mesh['task'=2,'data'=4] {'task'}
  ROOT %all-reduce-start = (f32[10]{0}, pred[4]{0}) all-reduce-start(%a, %b), replica_groups={}, to_apply=%add
}
"""  # noqa: E501


def test_a_mesh_of_devices_in_another_order():
    line = "  %g = f32[64,16]{1,0} all-gather(%x), channel_id=10, replica_groups=mesh['axis_0'=4,"
    line += "'axis_1'=1,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_0'}, dimensions={0}"
    (found,) = collectives("ENTRY %main (x: f32[16,16]) -> f32[64,16] {\n" + line + "\n}\n")
    assert (found.kind, found.size, found.group) == ("all-gather", 64 * 16 * 4, 4)


def test_kinds_sizes_groups_and_loops():
    assert collectives(PROGRAM) == [
        Collective("all-gather", 8 * 4 * 4, 4, 12),
        Collective("collective-permute", 16 * 2, 0, 2),
        Collective("reduce-scatter", 2 * 3 * 4 * 2, 2, 1),
        Collective("all-to-all", 12 * 4, 2, 1),
        Collective("all-reduce", 10 * 4 + 4, 0, 1),
    ]


def test_bytes_by_kind():
    found = collectives(PROGRAM)
    assert buffer_bytes(found) == {
        "all-gather": 12 * 128,
        "collective-permute": 64,
        "reduce-scatter": 48,
        "all-to-all": 48,
        "all-reduce": 44,
    }
    assert sent_bytes(found, devices=8) == {
        "all-gather": 12 * 128 * 3 / 4,
        "collective-permute": 64,
        "reduce-scatter": 24,
        "all-to-all": 24,
        "all-reduce": pytest.approx(2 * 44 * 7 / 8),
    }


def test_results_of_a_start_come_after_its_operands():
    line = "  %x = (f32[4]{0}, f32[32]{0}) all-gather-start(%a), replica_groups=[1,8]<=[8]"
    program = "ENTRY %main (a: f32[4]) -> f32[32] {\n" + line + "\n}\n"
    assert collectives(program) == [Collective("all-gather", 128, 8, 1)]


KERNEL = """\
%all-reduce-scatter (input: f32[1,30,8]) -> f32[16,8] {
  %input = f32[1,30,8]{2,1,0:T(8,128)} parameter(0)
  %pad = f32[32,8]{1,0:T(8,128)} pad(%input, %zero), padding=0_2x0_0
  %all-reduce.6 = f32[32,8]{1,0:T(8,128)} all-reduce(%pad), replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %part = f32[16,8]{1,0:T(8,128)} dynamic-slice(%all-reduce.6, %place, %zero), dynamic_slice_sizes={16,8}
}

ENTRY %main (a: f32[1,30,8]) -> f32[16,8] {
  ROOT %fusion.17 = f32[16,8]{1,0:T(8,128)} CALL(%a), kind=kCustom, calls=%all-reduce-scatter
}
"""  # noqa: E501


def test_a_kernel_that_keeps_a_part_of_a_sum_is_a_reduce_scatter():
    found = Collective("reduce-scatter", 32 * 8 * 4, 2, 1)
    assert collectives(KERNEL.replace("CALL", "fusion")) == [found]
    # Where the whole sum is made, and cut afterwards, it has been sent.
    assert collectives(KERNEL.replace("CALL", "call")) == [found._replace(kind="all-reduce")]


UNDER_WAY = """\
%start (input: f32[4]) -> f32[32] {
  ROOT %all-gather.1 = f32[32]{0} all-gather(%input), channel_id=9, replica_groups=[1,8]<=[8]
}

%done (input: f32[4]) -> f32[32] {
  ROOT %all-gather.2 = f32[32]{0} all-gather(%input), channel_id=9, replica_groups=[1,8]<=[8]
}

ENTRY %main (a: f32[4]) -> f32[32] {
  %fusion.1 = f32[32]{0} fusion(%a), kind=kCustom, calls=%start
  %fusion.2 = f32[32]{0} fusion(%fusion.1), kind=kCustom, calls=%done
  ROOT %all-gather.3 = f32[32]{0} all-gather(%a), channel_id=9, replica_groups=[1,8]<=[8]
}
"""


def test_an_all_gather_during_several_kernels_counts_once():
    assert collectives(UNDER_WAY) == [Collective("all-gather", 128, 8, 1)] * 2


def test_a_program_of_one_device_has_none():
    assert collectives("ENTRY %main (a: f32[4]) -> f32[4] {\n  ROOT %a = f32[4] copy(%a)\n}") == []
