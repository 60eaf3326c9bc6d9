"""What people read of a run: progress, metrics, the summary and plots."""
