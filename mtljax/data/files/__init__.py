"""A user's files as data sets: JSON lines, CSV, TSV, CoNLL columns and plain text.

`load_files` opens what a `mtljax.tasks.Dataset` describes; `formats` says how a file of each
format is read, `readers` parse its lines, `schema` infers the kinds of features, and `file_rows`
checks the rows of a file and reads them again block by block.
"""
