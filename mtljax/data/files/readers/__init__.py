"""Readers of file formats: from lines to records, one at a time and without reading ahead.

After each record the lines stand where the next one begins, so that reading can resume there.
"""

from mtljax.data.files.readers.conll import read_conll as read_conll
from mtljax.data.files.readers.conll_layout import conll_layout as conll_layout
from mtljax.data.files.readers.json_array import open_json as open_json
from mtljax.data.files.readers.jsonl import flat as flat
from mtljax.data.files.readers.jsonl import pluck as pluck
from mtljax.data.files.readers.jsonl import read_jsonl as read_jsonl
from mtljax.data.files.readers.lines import Lines as Lines
from mtljax.data.files.readers.lines import Record as Record
from mtljax.data.files.readers.open_file import decoded as decoded
from mtljax.data.files.readers.open_file import open_file as open_file
from mtljax.data.files.readers.table import quoted_columns as quoted_columns
from mtljax.data.files.readers.table import read_table as read_table
from mtljax.data.files.readers.text import read_text as read_text
