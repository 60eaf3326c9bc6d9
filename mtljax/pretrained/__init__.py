"""Pretrained models in the layout of Hugging Face, read without PyTorch and transformers."""

from mtljax.pretrained.greedy import greedy_tokens as greedy_tokens
from mtljax.pretrained.load import Pretrained as Pretrained
from mtljax.pretrained.load import load as load
from mtljax.pretrained.load import read_shape as read_shape
from mtljax.pretrained.report import LoadReport as LoadReport
