"""The batches that a training step reads, up to the device."""
