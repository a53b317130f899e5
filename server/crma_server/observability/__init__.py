"""What is told of requests while they are answered: metrics, the log, traces, the last decisions.

`middleware` stands around everything; the others read the `RequestContext` that it began. Nothing here is
read back."""
