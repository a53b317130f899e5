"""The server beside bare vLLM: the same traffic, several systems in turns, ratios with their spread."""
