"""The store: parts, releases, canaries, publishing, verifying. Data flows parts -> release -> store."""
