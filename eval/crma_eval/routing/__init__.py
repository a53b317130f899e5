"""How well a router routes: the sets it is judged on, and the figures."""
