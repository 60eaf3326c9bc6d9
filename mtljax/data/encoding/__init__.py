"""From rows to flat arrays of ids, targets and weights, packed into rows and kept in a cache."""
