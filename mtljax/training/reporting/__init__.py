"""Metrics, progress, summary and figures of a run."""
