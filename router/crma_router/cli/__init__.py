"""`crma-route`: why a text goes where it goes, and changes to the live release's router."""
