"""Configurations as older versions wrote them say the same as those of today."""

import json

import pytest

from mtljax.errors import UserError
from mtljax.pretrained import read_shape

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
}
SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
PAIRS = {
    "modernbert": (
        {
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "global_attn_every_n_layers": 3,
            "local_attention": 128,
            "layer_norm_eps": 1e-05,
            "norm_eps": 1e-05,
            "position_embedding_type": "absolute",
        },
        {
            "layer_types": (["full_attention"] + ["sliding_attention"] * 2) * 2,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "gemma3_text": (
        {
            "rope_theta": 1000000,
            "rope_local_base_freq": 10000,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 512,
            "sliding_window_pattern": 6,
            "attn_logit_softcapping": None,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
            "sliding_window": 512,
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
    "llama": (
        {"rope_theta": 500000.0, "rope_scaling": SCALING, "num_key_value_heads": 2},
        {"rope_parameters": {**SCALING, "rope_theta": 500000.0}, "num_key_value_heads": 2},
    ),
}


def shape(directory, kind, **fields):
    (directory / "config.json").write_text(json.dumps(SIZES | {"model_type": kind} | fields))
    return read_shape(directory)


@pytest.mark.parametrize("kind", PAIRS)
def test_of_before_and_of_today(kind, tmp_path):
    before, today = (shape(tmp_path, kind, **fields) for fields in PAIRS[kind])
    assert before == today
    if kind == "llama":
        assert before.encoder.architecture.rotary_original == 8192
    else:
        assert "local" in before.encoder.architecture.window_pattern


def test_t5_of_before_and_of_today(tmp_path):
    sizes = {"vocab_size": 96, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4}

    def read(**fields):
        content = {"model_type": "t5", **sizes, **fields}
        (tmp_path / "config.json").write_text(json.dumps(content))
        return read_shape(tmp_path)

    gated = {"feed_forward_proj": "gated-gelu"}
    before = read(**gated, tie_word_embeddings=False, n_positions=512, output_past=True)
    activation = {"dense_act_fn": "gelu_new", "is_gated_act": True}
    today = read(**gated, **activation, tie_word_embeddings=True, scale_decoder_outputs=False)
    assert before == today and before.decoder is not None
    assert before.decoder.readout == "own" and before.decoder.architecture.gated
    first = read(architectures=["T5ForConditionalGeneration"], num_decoder_layers=3)
    assert first.decoder is not None
    assert (first.decoder.readout, first.decoder.layers) == ("tied", 3)
    # The encoder alone, as its own class writes it.
    assert read(architectures=["T5EncoderModel"]).decoder is None
    assert read(is_encoder_decoder=False).decoder is None
    for name in ("gated-tanh", "twice-gelu", "gelu-gelu-gelu"):
        with pytest.raises(UserError, match=f"feed_forward_proj.*{name}"):
            read(feed_forward_proj=name)


def test_mt5_is_gated_and_has_a_table_of_its_own(tmp_path):
    sizes = {"vocab_size": 96, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4}

    def read(kind, **fields):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **sizes, **fields}))
        return read_shape(tmp_path)

    later = read("t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    # As it was published, and as transformers 5 writes it.
    for fields in ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}, {}):
        assert read("mt5", **fields) == later
    assert read("mt5", architectures=["MT5EncoderModel"]).decoder is None
    with pytest.raises(UserError, match="'umt5' is not known; known are .*mt5.*t5"):
        read("umt5")


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "type 'yarn'"),
        ("llama", {"rope_scaling": {"rope_type": "linear"}}, "'linear' with 'factor'"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("gemma3_text", {"layer_types": ["chunked_attention"]}, "'chunked_attention'"),
        ("deberta-v2", {}, "relative_attention.*missing"),
        ("bert", {"is_encoder_decoder": True}, "is_encoder_decoder"),
    ],
)
def test_what_would_change_the_numbers(kind, fields, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        shape(tmp_path, kind, **fields)
