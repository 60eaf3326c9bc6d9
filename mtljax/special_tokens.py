"""The first four ids of every vocabulary, whatever the tokenizer."""

PAD, OOV, START, END = range(4)
"""Padding of a row; a word out of the vocabulary; the start of a text; its end, which also stands
between a source and its answer."""

SPECIALS = ("<pad>", "<oov>", "<s>", "</s>")
"""How the four are written."""
