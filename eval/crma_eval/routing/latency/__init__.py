"""How long the router takes for a decision, alone and beside a busy engine."""
