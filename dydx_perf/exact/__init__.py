"""The chain's rules in plain Python integers: any size, every rounding, nothing else.

This package reads like the specification, passes every vector of the chain's own code, and is the
independent model that the compiled kernels are tested against. `arith` holds the roundings,
`state` what the chain keeps, `margin`, `funding`, `update`, `liquidation` and `premium` the rules,
`liquidation_price` and `indexer` what the chain itself does not compute.
"""
