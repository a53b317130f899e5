"""From a request's messages to the words that are routed, and what a conversation is on from turn to turn."""
