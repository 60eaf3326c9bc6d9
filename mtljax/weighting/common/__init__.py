"""Building blocks of the methods.

- `contract`: what a weighting is, and the signals that it may require.
- `guard`: a weighting from the bare formulas of a method.
- `arguments`: checks that factories make of their arguments.
- `preference`: equal weights and preference vectors.
- `unit_vectors`: weights of unit gradients and of the gradients themselves.
- `log_scale`: softmax over the tasks present, and logarithms of losses.
- `adam`: Adam for the numbers that a method learns.
- `keys`: random keys in the states, and random orders of the tasks.
"""
