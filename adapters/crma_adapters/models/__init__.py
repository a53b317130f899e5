"""Base models: found by name, taken from packages, converted, fingerprinted."""
