"""BERT (Devlin et al. 2019), and MiniLM, which has its shape."""

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Entry, Left, NameMap, dense, norm, table


def shape(fields: Fields, position_offset: int = 0, embedding_size: int = 0) -> Shape:
    """Read the fields that BERT, RoBERTa and ELECTRA have in common."""
    fields.only("position_embedding_type", "absolute")
    width = fields.get("hidden_size", int)
    positions = fields.get("max_position_embeddings", int)
    architecture = Architecture(
        norm_placement="after",
        norm_eps=fields.get("layer_norm_eps", float, 1e-12),
        fast_variance=False,
        embedding_norm=True,
        embedding_scale=1.0,
        positions="learned",
        max_positions=positions,
        position_offset=position_offset,
        token_types=fields.get("type_vocab_size", int, 2),
        activation=fields.choice("hidden_act", ACTIVATIONS, "gelu"),
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=fields.get("embedding_size", int, embedding_size or width),
        features=width,
        layers=fields.get("num_hidden_layers", int),
        heads=fields.get("num_attention_heads", int),
        feed_forward=fields.get("intermediate_size", int),
        architecture=architecture,
    )
    fields.harmless("tie_word_embeddings", "directionality", "pooler_type", "pooler_fc_size")
    fields.harmless("pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head")
    return Shape(encoder, fields.get("vocab_size", int), positions - position_offset)


def name_map(shape: Shape) -> NameMap:
    """The names of BERT, RoBERTa and ELECTRA."""
    encoder, embeddings = shape.encoder, "embeddings"
    layer, self_ = "encoder.layer.{}", "encoder.layer.{}.attention.self"
    entries: tuple[Entry, ...] = (
        table("embedding/words", f"{embeddings}.word_embeddings"),
        table("transformer/positions/table", f"{embeddings}.position_embeddings"),
        table("transformer/token_types/table", f"{embeddings}.token_type_embeddings"),
        *norm("transformer/embedding_norm", f"{embeddings}.LayerNorm"),
        *dense(f"{LAYERS}qkv", f"{self_}.query", f"{self_}.key", f"{self_}.value"),
        *dense(f"{LAYERS}out", f"{layer}.attention.output.dense", inputs=2),
        *norm(f"{LAYERS}attention_norm", f"{layer}.attention.output.LayerNorm"),
        *dense(f"{LAYERS}up", f"{layer}.intermediate.dense"),
        *dense(f"{LAYERS}down", f"{layer}.output.dense"),
        *norm(f"{LAYERS}feed_forward_norm", f"{layer}.output.LayerNorm"),
    )
    if encoder.embedding != encoder.features:
        entries += dense("transformer/project", "embeddings_project")
    return NameMap(
        entries,
        anchor=f"{embeddings}.word_embeddings.weight",
        pooler=dense("pooler", "pooler.dense"),
        tied=(
            "cls.predictions.decoder.weight",
            "lm_head.decoder.weight",
            "generator_lm_head.weight",
        ),
        left=(
            Left(r".*embeddings\.(position_ids|token_type_ids)", "buffers"),
            Left(
                r"cls\.(predictions|seq_relationship)\..*|lm_head\..*|generator_.*",
                "a head of pretraining",
            ),
            Left(r"discriminator_predictions\..*", "a head of pretraining"),
        ),
    )


BERT = Family(("bert",), shape, name_map)
