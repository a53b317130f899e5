"""The ASGI layers of a request, outside in: key, limits, deadline, body, routing; the mark on its reply."""
