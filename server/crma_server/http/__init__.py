"""The ASGI layers of a request, outside in: `auth`, `limits`, `deadline`, `body`, `routing`.

A `RequestContext` (`request`) goes in through all of them and gathers what each finds out; replies
(`response`) come back out through them, marked with what answered."""
