"""`crma-eval soak`: a server under mixed load for a long while."""
