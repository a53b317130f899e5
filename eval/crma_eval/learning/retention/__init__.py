"""Retention through the router: every figure with the router choosing, beside the right adapter."""
