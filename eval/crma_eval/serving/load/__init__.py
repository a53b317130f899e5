"""A server under load: releases published to it, killed at any moment, or loaded for a long while.

`publisher` publishes adapters that each say one word (`echo`), `clients` ask and note what comes, `judge`
says what is wrong with it;
`swaps`, `crashes` and `soak` are the runs with their goals.
"""
