"""Llama (Touvron et al. 2023), Qwen3 and Gemma 3: gated, with rotary positions and shared keys."""

from typing import Any

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.families.rotary import local_base, rotary, window_pattern
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Entry, Left, NameMap, dense, norm, table


def _shape(fields: Fields, *, tied: bool, act: str, **architecture: Any) -> Shape:
    """What the three have in common."""
    fields.harmless("max_position_embeddings")
    width, heads = fields.get("hidden_size", int), fields.get("num_attention_heads", int)
    bias = fields.get("attention_bias", bool, False)
    parts = Architecture(
        norm="rms",
        norm_eps=fields.get("rms_norm_eps", float, 1e-6),
        head_size=fields.get("head_dim", int, width // heads),
        kv_heads=fields.get("num_key_value_heads", int, heads),
        qkv_bias=bias,
        out_bias=bias,
        activation=fields.choice(act, ACTIVATIONS, "silu"),
        gated=True,
        **{"embedding_scale": 1.0, "feed_forward_bias": False} | architecture,
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=fields.get("num_hidden_layers", int),
        heads=heads,
        feed_forward=fields.get("intermediate_size", int),
        architecture=parts,
    )
    tied = fields.get("tie_word_embeddings", bool, tied)
    return Shape(encoder, fields.get("vocab_size", int), causal=True, tied=tied)


def _llama(fields: Fields) -> Shape:
    bias = fields.get("mlp_bias", bool, False)
    positions = rotary(fields).fields()
    return _shape(fields, tied=False, act="hidden_act", feed_forward_bias=bias, **positions)


def _qwen3(fields: Fields) -> Shape:
    fields.only("use_sliding_window", False)
    fields.harmless("sliding_window", "max_window_layers")
    kinds = window_pattern(fields.get("layer_types", list, ["full_attention"]), fields)
    if "local" in kinds:
        fields.only("layer_types")
    positions = rotary(fields).fields()
    return _shape(fields, tied=False, act="hidden_act", query_key_norm=True, **positions)


def _gemma3(fields: Fields) -> Shape:
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        fields.only(name)
    fields.only("use_bidirectional_attention", False)
    layers = fields.get("num_hidden_layers", int)
    every = fields.get("sliding_window_pattern", int, 6)
    kinds = ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(layers)]
    width = fields.get("hidden_size", int)
    return _shape(
        fields,
        tied=True,
        act="hidden_activation",
        norm_placement="around",
        embedding_scale=width**0.5,
        **rotary(fields, "full_attention", base=1_000_000.0).fields(),
        rotary_local_base=local_base(fields, "rope_local_base_freq"),
        query_scale=fields.get("query_pre_attn_scalar", float, 256.0) ** -0.5,
        query_key_norm=True,
        # A position counts among those of its window.
        window=fields.get("sliding_window", int, 4096) - 1,
        window_pattern=window_pattern(fields.get("layer_types", list, kinds), fields),
    )


def name_map(shape: Shape, offset: float = 0.0) -> NameMap:
    """The names of their tensors; `offset` is added to the scales of norms."""
    a, layer = shape.encoder.architecture, "layers.{}"
    attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
    query, key, value = (f"{attention}.{name}_proj" for name in "qkv")
    around = a.norm_placement == "around"
    shared = a.kv_heads != shape.encoder.heads
    entries: list[Entry] = [table("embedding/words", "embed_tokens")]
    norms = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
    if around:
        norms |= {
            "attention_out_norm": "post_attention_layernorm",
            "feed_forward_norm": "pre_feedforward_layernorm",
            "feed_forward_out_norm": "post_feedforward_layernorm",
        }
    if a.query_key_norm:
        norms |= {"query_norm": "self_attn.q_norm", "key_norm": "self_attn.k_norm"}
    for path, name in norms.items():
        entries += norm(f"{LAYERS}{path}", f"{layer}.{name}", bias=False, offset=offset)
    if shared:
        entries += dense(f"{LAYERS}query", query, bias=a.qkv_bias)
        entries += dense(f"{LAYERS}key_value", key, value, bias=a.qkv_bias)
    else:
        entries += dense(f"{LAYERS}qkv", query, key, value, bias=a.qkv_bias)
    entries += dense(f"{LAYERS}out", f"{attention}.o_proj", bias=a.out_bias, inputs=2)
    up, bias = (f"{mlp}.gate_proj", f"{mlp}.up_proj"), a.feed_forward_bias
    entries += dense(f"{LAYERS}gate_up", *up, bias=bias)
    entries += dense(f"{LAYERS}down", f"{mlp}.down_proj", bias=bias)
    entries += norm("transformer/final_norm", "norm", bias=False, offset=offset)
    return NameMap(
        tuple(entries),
        anchor="embed_tokens.weight",
        output=() if shape.tied else (table("output", "lm_head"),),
        tied=("lm_head.weight",),
        left=(Left(r".*rotary_emb\.inv_freq", "buffers"),),
    )


def _gemma_names(shape: Shape) -> NameMap:
    return name_map(shape, offset=1.0)


LLAMA = Family(("llama",), _llama, name_map)
QWEN3 = Family(("qwen3",), _qwen3, name_map)
GEMMA3 = Family(("gemma3_text",), _gemma3, _gemma_names)
