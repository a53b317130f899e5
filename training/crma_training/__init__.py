"""Domain datasets in, a published release out."""
