"""Text to domain: which adapter should answer a query. Knows nothing of the engine."""
