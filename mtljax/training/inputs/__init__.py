"""What a step is fed: aligned streams of batches, moved to the devices ahead of it."""
