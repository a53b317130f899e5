"""How well a router routes: the sets it is judged on, the figures, and the designs it was chosen from."""
