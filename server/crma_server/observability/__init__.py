"""What is told of requests while they are answered: metrics, the log, traces, the last decisions."""
