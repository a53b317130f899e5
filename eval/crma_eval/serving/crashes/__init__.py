"""Whether a server that is killed at any moment comes back with a whole release."""
