"""`crma-eval fuzz`: hostile requests to every route of a running server."""
