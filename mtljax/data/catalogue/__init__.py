"""Data sets by name: those in the package, those in a directory, and those that can be prepared.

`load_source` finds one of them, `load_sources` all that some tasks read, and `prepare_dataset`
downloads a set of the TFDS catalogue.
"""
