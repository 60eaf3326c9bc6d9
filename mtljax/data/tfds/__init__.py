"""TFDS data sets without TensorFlow."""
