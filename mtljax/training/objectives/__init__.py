"""A model as the objectives of a train step, on one device or on many."""
