from mtljax.parallel.program import arrays, read_program, result, runs

PROGRAM = """\
HloModule jit_step

%inner (x: f32[4]) -> f32[4] {
  ROOT %double = f32[4]{0} add(%x, %x)
}

%body (carry: (s32[], f32[4])) -> (s32[], f32[4]) {
  %one = f32[4]{0} fusion(%x), kind=kLoop, calls=%inner
  ROOT %two = (s32[], f32[4]{0}) tuple(%i, %one)
}

%limit (carry: (s32[], f32[4])) -> pred[] {
  %n = s32[]{:T(128)} constant(7), metadata={op_name="jit(step)"}
  ROOT %less = pred[]{:T(512)} compare(%i, %n), direction=LT
}

%until (carry: (s32[], f32[4])) -> pred[] {
  ROOT %less = pred[] fusion(%i), kind=kLoop, calls=%something
}

ENTRY %main.1 (a: f32[4]) -> f32[4] {
  %counted = (s32[], f32[4]{0}) while(%init), condition=%limit, body=%body
  %noted = (s32[], f32[4]{0}) while(%init), condition=%until, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %unknown = (s32[], f32[4]{0}) while(%init), condition=%until, body=%body
  ROOT %choice = f32[4]{0} conditional(%which, %a, %a), branch_computations={%inner, %inner}
}
"""  # noqa: E501


def test_how_often_each_computation_runs():
    program = read_program(PROGRAM)
    assert program.entry == "main.1"
    assert runs(program) == {
        "inner": 7 + 5 + 1 + 2,
        "body": 7 + 5 + 1,
        "limit": 0,
        "until": 0,
        "main.1": 1,
    }


def test_branches_are_told_from_what_runs_for_sure():
    calls = read_program(PROGRAM).computations["main.1"].calls
    assert [(call.names, call.times, call.branch) for call in calls] == [
        (("body",), 7, False),
        (("body",), 5, False),
        (("body",), 1, False),
        (("inner", "inner"), 1, True),
    ]


def test_what_a_line_makes():
    line = "  %loop = (s32[]{:T(128)}, bf16[8,512]{1,0:T(8,128)(2,1)}, /*index=2*/pred[]) while(%a)"
    assert result(line) == ("loop", (("s32", ()), ("bf16", (8, 512)), ("pred", ())), "while")
    assert result("}") is None and arrays("token[]") == (("token", ()),)
    assert read_program("") == ("", {})
