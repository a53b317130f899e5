"""Stores that are elsewhere: an object store, a hub or a web server, by any fsspec URL.

    location -> remote (files behind a URL) -> blobs (cached by sha256) -> mirror (a folder that follows)

What is read always lies in a folder, the mirror, and is verified there as every folder store is. What is
published goes the other way in `remote_store`: parts first, the pointer last, by conditional write.
"""
