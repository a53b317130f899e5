"""The command `crma-adapters`."""
