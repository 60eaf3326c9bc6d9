"""What the methods share: the contract, its guard, argument checks and small building blocks."""
