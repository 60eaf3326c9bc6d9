"""Data sets as lazily read rows with named features, wherever the rows come from.

The ground of the other rooms: `Source` and `Feature`, sequences of rows that are read block by
block, splits and slices of them, several data sets as one, and what malformed rows do.
"""
