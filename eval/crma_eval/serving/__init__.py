"""A running server, over HTTP: its speed beside bare vLLM, and what it does under load, changes and kills."""
