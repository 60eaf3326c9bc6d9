"""Shapes and regularization of the model, as plain data."""

import dataclasses
from typing import Literal

from mtljax.modules.architecture import DEFAULT, Architecture
from mtljax.modules.linear import MAX_ORDER
from mtljax.ranges import at_least, bounded, fraction, positive, size

Attention = Literal["bidirectional", "causal", "prefix", "separate"]
"""Which positions of a text a position sees: all of them; those before it; all of the source, and
of the answer those before it (a prefix language model); all of the source, or of the answer, that
it is in."""

Pooling = Literal["mean", "root", "max", "last", "attention", "cls", "pooler"]
"""How positions become one vector a text, see `HeadsConfig`."""

ReadoutKind = Literal["project", "tied", "own"]
"""How a decoder reads out words, see `DecoderConfig`."""


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Shape and regularization of the shared encoder.

    Attributes:
      kind: 'lstm', 'transformer' or 'linear'.
      embedding: width of the word vectors.
      character_embedding: width of the vectors of characters, where the tokenizer has
        `characters` of words.
      character_filters: features of three characters in a row, of which a word has the largest.
      features: width of the encoder's output.
      layers: number of layers (lstm, transformer).
      bidirectional: read in both directions (lstm); 'auto' does where no task needs causality.
      heads: attention heads (transformer).
      feed_forward: width of the feed-forward block (transformer).
      remat: rematerialization, what the backward pass computes again instead of keeping it
        (transformer): 'none'; 'full', everything in a layer; 'dots', all but the products with
        parameters.
      unroll: layers in each iteration of the loop over them (transformer): all of them take a third
        less time and half the memory on a GPU, and longer to compile.
      attention: implementation of the attention (transformer): 'xla'; 'cudnn', fused, on a GPU;
        'blocks', which holds the scores of 256 positions at a time; 'auto', for rows of
        2,048 positions and more 'blocks', on TPUs JAX's splash kernel, else 'xla'.
      dense: width of a shared relu layer after the body; 0 for none.
      ngrams: longest n-gram (linear).
      ngram_buckets: rows of the n-gram table (linear).
      word_dropout: probability that a word is read as unknown while its affixes stay.
      token_dropout: probability that a word and its affixes are read as unknown.
      embedding_dropout: probability that an embedding feature is dropped.
      dropout: probability that a feature is dropped between and after layers.
      dropout_mask: what shares a mask of features: 'row' (all texts packed in it; the cheapest) or
        'text', which matters where long rows hold many texts.
      recurrent_dropout: probability that a recurrent weight is dropped (lstm).
      from_run: directory of a run whose encoder and tokenizer a run starts from; on the command
        line they have its settings then, where no others are given.
      pretrained: directory of a pretrained model in the layout of Hugging Face (`config.json`,
        `model.safetensors`, `tokenizer.json`), which the encoder and the tokenizer then are: a
        transformer of its shape, whatever else is said of that.
      vectors: file with static vectors of words, which their rows of the word table begin as.
      architecture: what the layers are made of (transformer).
    """

    kind: Literal["lstm", "transformer", "linear"] = "lstm"
    embedding: int = size(1, default=128)
    character_embedding: int = size(1, default=8)
    character_filters: int = size(1, default=32)
    features: int = size(1, default=128)
    layers: int = size(1, default=1, high=1000)
    bidirectional: Literal["auto", "yes", "no"] = "auto"
    heads: int = size(1, default=4)
    feed_forward: int = size(1, default=512)
    remat: Literal["none", "full", "dots"] = "none"
    unroll: int = size(1, default=1)
    attention: Literal["auto", "xla", "cudnn", "blocks"] = "auto"
    dense: int = size(0, default=0)
    ngrams: int = bounded(low=1, high=MAX_ORDER, default=2)
    ngram_buckets: int = size(2, default=65_536, high=2**30)
    word_dropout: float = fraction(default=0.0)
    token_dropout: float = fraction(default=0.0)
    embedding_dropout: float = fraction(default=0.0)
    dropout: float = fraction(default=0.0)
    dropout_mask: Literal["row", "text"] = "row"
    recurrent_dropout: float = fraction(default=0.0)
    from_run: str = ""
    pretrained: str = ""
    vectors: str = ""
    architecture: Architecture = DEFAULT


@dataclasses.dataclass(frozen=True)
class SharingConfig:
    """Which parameters tasks share, besides a whole encoder, and which are their own.

    Attributes:
      structure: 'hard', one encoder for all; 'lora', low-rank updates of its matrices; 'mtl_lora',
        low-rank updates that tasks mix out of shared parts; 'adapters', bottlenecks after its
        blocks or layers; 'film', what layers make scaled and shifted by an embedding of the task;
        'prefixes', keys and values of the task in its attention;
        'moe', experts in every layer, which a gate of the task mixes; 'pals', attention of the
        task in few features beside every layer;
        'private_layers', a copy a task of the layers above the first ones; 'cross_stitch', towers
        of all layers, one a task, that are mixed after each layer; 'asp_mtl', a tower of each task
        beside a shared one, kept apart by an adversary; at the
        encoder's output 'mmoe', experts that each task mixes, 'cgc', with experts of its own among
        them, 'ple', several levels of these, 'dselect_k', of which each task chooses few.
      parts: whose low-rank updates or bottlenecks are (lora, adapters): 'shared', those of all
        tasks; 'private', those of each; 'both', their sum.
      rank: of a low-rank update (lora, mtl_lora).
      alpha: by which, over the rank, a low-rank update is multiplied (lora, mtl_lora).
      matrices: regular expression that picks the matrices that are updated by their paths, such as
        'qkv|out'; all by default (lora, mtl_lora).
      ups: shared up-projections that each task mixes (mtl_lora).
      width: of a bottleneck, inside of an expert, or of a task's attention (adapters, moe, pals,
        mmoe, cgc, ple, dselect_k).
      task_embedding: numbers that say which task it is (film).
      prefix_length: keys and values of each task in every layer (prefixes).
      shared_layers: layers that all tasks share; those above are private (private_layers).
      adversary: factor of the loss of the classifier that says of which task a text is, which the
        shared encoder is trained against (asp_mtl).
      orthogonality: factor of what private features repeat of shared ones (asp_mtl).
      own_share: of its own tower in what a task reads, at first (cross_stitch).
      experts: shared experts, of moe in each layer, of ple in each level (moe, mmoe, cgc, ple,
        dselect_k).
      private_experts: experts of each task, of ple in each level (cgc, ple).
      levels: of experts, each of which reads what the one below it made (ple).
      chosen: experts that each task chooses at most (dselect_k).
      entropy: factor of the penalty that has the tasks choose, the mean entropy of their selectors
        (dselect_k).
      freeze: whether the encoder stays as it is, and only the structure and the heads are trained
        (not private_layers, cross_stitch, asp_mtl): 'auto' does with lora, mtl_lora, adapters,
        film and prefixes where the encoder begins as a pretrained one or as that of a run.
    """

    structure: Literal[
        "hard",
        "lora",
        "mtl_lora",
        "adapters",
        "film",
        "prefixes",
        "moe",
        "pals",
        "private_layers",
        "cross_stitch",
        "asp_mtl",
        "mmoe",
        "cgc",
        "ple",
        "dselect_k",
    ] = "hard"
    parts: Literal["shared", "private", "both"] = "shared"
    rank: int = size(1, default=8)
    alpha: float = positive(default=16.0)
    matrices: str = ""
    ups: int = size(1, default=3)
    width: int = size(1, default=32)
    task_embedding: int = size(1, default=8)
    prefix_length: int = size(1, default=16, high=2**16)
    shared_layers: int = size(1, default=1, high=1000)
    adversary: float = at_least(0, default=0.05)
    orthogonality: float = at_least(0, default=0.01)
    own_share: float = bounded(low=0, high=1, default=0.9)
    experts: int = size(1, default=4, high=4096)
    private_experts: int = size(1, default=1, high=4096)
    levels: int = size(1, default=2, high=64)
    chosen: int = size(1, default=2, high=4096)
    entropy: float = at_least(0, default=1e-3)
    freeze: Literal["auto", "yes", "no"] = "auto"


def output_width(encoder: EncoderConfig) -> int:
    """The width of an encoder's output."""
    return encoder.dense or (encoder.embedding if encoder.kind == "linear" else encoder.features)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape and regularization of the decoders of text to text, each the head of one task.

    A decoder writes with layers of its own, which attend to the encoded source (Vaswani et al.
    2017). Without one the encoder itself reads the source and continues with the answer.

    Attributes:
      layers: number of layers; 0 for no decoder.
      heads: attention heads.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      readout: how words are read out: 'project', by a dense layer, the word table and a bias;
        'tied', by the word table alone, from hidden states over the root of their width; 'own', by
        a table that the decoder has for it.
      architecture: what the layers are made of; of positions, rotary and relative ones or none.
    """

    layers: int = size(0, default=0, high=1000)
    heads: int = size(1, default=4)
    feed_forward: int = size(1, default=512)
    dropout: float = fraction(default=0.1)
    readout: ReadoutKind = "project"
    architecture: Architecture = DEFAULT


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """Shape and regularization of the heads.

    Attributes:
      pooling: how positions become one vector a text; several are concatenated: 'mean', 'root'
        (sum over the root of the length), 'max', 'last', 'attention', 'cls' (the first position),
        'pooler' (that, through a dense layer and tanh, as BERT has it).
      hidden: width of a relu layer in classification and regression heads; 0 for none.
      tag_hidden: width of a relu layer in tagging heads; 0 for none.
      lookahead: following tokens a tagging head sees where the encoder has not read them.
      dropout: probability that an input of a classification or regression head is dropped.
      tag_dropout: probability that an input of a tagging head is dropped.
      negatives: classes drawn for the sampled softmax that language models train with; 0 trains
        with the full softmax. Evaluation is always with the full one.
      negatives_power: exponent of the word counts in the distribution they are drawn from.
      from_run: take the heads of tasks of the same name from `encoder.from_run` too.
    """

    pooling: tuple[Pooling, ...] = ("mean", "max")
    hidden: int = size(0, default=0)
    tag_hidden: int = size(0, default=0)
    lookahead: int = size(0, default=2)
    dropout: float = fraction(default=0.0)
    tag_dropout: float = fraction(default=0.0)
    negatives: int = size(0, default=1024, high=2**30)
    negatives_power: float = at_least(0, default=0.5)
    from_run: bool = False
