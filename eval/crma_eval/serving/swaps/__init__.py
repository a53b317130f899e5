"""Whether a running server changes releases without a request noticing."""
