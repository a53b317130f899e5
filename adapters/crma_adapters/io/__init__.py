"""Durable writes, strict JSON documents, checked files and folders. Imports only errors."""
