"""From text to arrays: examples, targets, input groups and packed rows."""
