"""What the methods share: the contract, its guard, checks of arguments and small building blocks."""
