"""Flax Linen modules and the plain functions around them; the only package that imports flax.

A model is an `Encoder` that all tasks share and a head a task. `network` wires them; its
functions take and return plain arrays and parameter trees.
"""

from mtljax.modules.config import Attention as Attention
from mtljax.modules.config import DecoderConfig as DecoderConfig
from mtljax.modules.config import EncoderConfig as EncoderConfig
from mtljax.modules.config import HeadsConfig as HeadsConfig
from mtljax.modules.config import SharingConfig as SharingConfig
from mtljax.modules.decoder import DecoderHead as DecoderHead
from mtljax.modules.encode_together import encode_together as encode_together
from mtljax.modules.encoder import Encoder as Encoder
from mtljax.modules.heads import Features as Features
from mtljax.modules.heads import LanguageModelHead as LanguageModelHead
from mtljax.modules.heads import Readout as Readout
from mtljax.modules.heads import SegmentHead as SegmentHead
from mtljax.modules.heads import TagScores as TagScores
from mtljax.modules.heads import TokenHead as TokenHead
from mtljax.modules.linear import LinearEncoder as LinearEncoder
from mtljax.modules.lstm import LSTMEncoder as LSTMEncoder
from mtljax.modules.network import HeadSpec as HeadSpec
from mtljax.modules.network import Network as Network
from mtljax.modules.network import build as build
from mtljax.modules.network import encode as encode
from mtljax.modules.network import init as init
from mtljax.modules.network import logical_axes as logical_axes
from mtljax.modules.network import predict as predict
from mtljax.modules.network import shared_and_private as shared_and_private
from mtljax.modules.structures import with_private as with_private
from mtljax.modules.task_heads import HeadSettings as HeadSettings
from mtljax.modules.task_heads import decoder_head as decoder_head
from mtljax.modules.task_heads import language_model_head as language_model_head
from mtljax.modules.task_heads import segment_head as segment_head
from mtljax.modules.task_heads import token_head as token_head
from mtljax.modules.transformer import TransformerEncoder as TransformerEncoder
