"""Data sets in the format of TensorFlow Datasets, read and prepared without TensorFlow.

`prepared` reads them from disk. To prepare one, `builders` finds its builder in the catalogue,
`builder_imports` tells which packages its code needs, and `tensorflow_stub` takes the place of
TensorFlow for the few functions that most builders of text need.
"""
