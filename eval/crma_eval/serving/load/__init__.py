"""A server under load: releases published to it, killed at any moment, or loaded for a long while.

`publisher` publishes adapters that each say one word; `clients` ask, note what comes and say what is wrong;
`swaps`, `crashes` and `soak` are the runs with their goals.
"""
