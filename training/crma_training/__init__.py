"""Domain datasets in, a published release out. Knows nothing of serving."""
