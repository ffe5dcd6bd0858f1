"""Data files that ship with the package: sample parameters, a recorded mainnet day, golden vectors."""
