"""Data sets by name: embedded, prepared in TFDS format, or described in a tasks file."""
