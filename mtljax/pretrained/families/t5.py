"""T5, Flan-T5 and mT5 (Raffel et al. 2020, Xue et al. 2021): relative positions in buckets.

Norms are of scales alone. mT5 is T5 1.1 with more words: gated, and read out by a table of its own.
"""

import dataclasses

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import DecoderConfig, EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Entry, Left, NameMap, dense, norm, table


def shape(fields: Fields) -> Shape:
    """Read the configuration."""
    # What `feed_forward_proj` says, once more.
    fields.harmless("dense_act_fn", "is_gated_act", "n_positions")
    width, heads = fields.get("d_model", int), fields.get("num_heads", int)
    multilingual = fields.get("model_type", str, "t5") == "mt5"
    usual = "gated-gelu" if multilingual else "relu"
    gate, _, name = fields.get("feed_forward_proj", str, usual).rpartition("-")
    if gate not in ("", "gated") or name not in ACTIVATIONS:
        fields.only("feed_forward_proj")
    # Of gates, the name means the approximation that the model was trained with.
    name = "gelu_new" if gate and name == "gelu" else name
    architecture = Architecture(
        norm="rms",
        norm_eps=fields.get("layer_norm_epsilon", float, 1e-6),
        embedding_scale=1.0,
        positions="relative",
        position_buckets=fields.get("relative_attention_num_buckets", int, 32),
        max_positions=fields.get("relative_attention_max_distance", int, 128),
        head_size=fields.get("d_kv", int, 64),
        query_scale=1.0,
        qkv_bias=False,
        out_bias=False,
        activation=ACTIVATIONS[name],
        gated=bool(gate),
        feed_forward_bias=False,
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=fields.get("num_layers", int),
        heads=heads,
        feed_forward=fields.get("d_ff", int),
        architecture=architecture,
    )
    # Where the words are read out by the word table, hidden states are scaled; a newer
    # configuration says the one, an older one the other; of mT5 they never are, whatever it says.
    tied = fields.get("tie_word_embeddings", bool, True)
    scaled = fields.get("scale_decoder_outputs", bool, tied) and not multilingual
    decoder = DecoderConfig(
        layers=fields.get("num_decoder_layers", int, encoder.layers),
        heads=heads,
        feed_forward=encoder.feed_forward,
        readout="tied" if scaled else "own",
        architecture=dataclasses.replace(architecture, embedding_scale=0.0),
    )
    parts = fields.content.get("architectures") or [""]
    both = fields.get("is_encoder_decoder", bool, True) and not parts[0].endswith("T5EncoderModel")
    start = fields.get("decoder_start_token_id", int, fields.get("pad_token_id", int, 0))
    return Shape(
        encoder,
        fields.get("vocab_size", int),
        tied=scaled,
        decoder=decoder if both else None,
        answer_start=start,
    )


def name_map(shape: Shape) -> NameMap:
    """The names of its tensors."""
    block = "encoder.block.{}.layer"
    attention, mlp = f"{block}.0.SelfAttention", f"{block}.1.DenseReluDense"
    first = "encoder.block.0.layer.0.SelfAttention"
    entries: tuple[Entry, ...] = (
        table("embedding/words", "shared"),
        table("transformer/relative/table", f"{first}.relative_attention_bias"),
        *norm(f"{LAYERS}attention_norm", f"{block}.0.layer_norm", bias=False),
        *dense(f"{LAYERS}qkv", *(f"{attention}.{x}" for x in "qkv"), bias=False),
        *dense(f"{LAYERS}out", f"{attention}.o", bias=False, inputs=2),
        *norm(f"{LAYERS}feed_forward_norm", f"{block}.1.layer_norm", bias=False),
        *_feed_forward(LAYERS, mlp, gated=shape.encoder.architecture.gated),
        *norm("transformer/final_norm", "encoder.final_layer_norm", bias=False),
    )
    tied = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    if shape.decoder is None:
        left = Left(r"(.*\.)?(decoder\..*|lm_head\.weight)", "a decoder")
        return NameMap(entries, anchor="shared.weight", tied=tied, left=(left,))
    unused = r"(.*\.)?decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    return NameMap(
        entries,
        anchor="shared.weight",
        output=() if shape.tied else (table("output", "lm_head"),),
        decoder=_decoder(shape.decoder),
        tied=(*tied, "lm_head.weight"),
        left=(Left(unused, "not used"),),
    )


def _decoder(decoder: DecoderConfig) -> tuple[Entry, ...]:
    blocks = [f"decoder.block.{i}.layer" for i in range(decoder.layers)]
    first = f"{blocks[0]}.0.SelfAttention"
    # Keys and values of the source, of all layers side by side.
    source = [f"{block}.1.EncDecAttention.{x}" for block in blocks for x in "kv"]
    entries: tuple[Entry, ...] = (
        *dense("decoder/memory", *source, bias=False),
        table("decoder/stack/relative/table", f"{first}.relative_attention_bias"),
        *norm("decoder/stack/final_norm", "decoder.final_layer_norm", bias=False),
    )
    for i, block in enumerate(blocks):
        path = f"decoder/stack/layer_{i}/"
        attention, other = f"{block}.0.SelfAttention", f"{block}.1.EncDecAttention"
        entries += (
            *norm(f"{path}attention_norm", f"{block}.0.layer_norm", bias=False),
            *dense(f"{path}qkv", *(f"{attention}.{x}" for x in "qkv"), bias=False),
            *dense(f"{path}out", f"{attention}.o", bias=False, inputs=2),
            *norm(f"{path}source_norm", f"{block}.1.layer_norm", bias=False),
            *dense(f"{path}source_query", f"{other}.q", bias=False),
            *dense(f"{path}source_out", f"{other}.o", bias=False, inputs=2),
            *norm(f"{path}feed_forward_norm", f"{block}.2.layer_norm", bias=False),
            *_feed_forward(path, f"{block}.2.DenseReluDense", gated=decoder.architecture.gated),
        )
    return entries


def _feed_forward(path: str, name: str, *, gated: bool) -> tuple[Entry, ...]:
    up = (f"{name}.wi_0", f"{name}.wi_1") if gated else (f"{name}.wi",)
    return (
        *dense(f"{path}{'gate_up' if gated else 'up'}", *up, bias=False),
        *dense(f"{path}down", f"{name}.wo", bias=False),
    )


T5 = Family(("t5", "mt5"), shape, name_map)
