"""A user's own files: formats, readers, and the features that they hold."""
