"""Which target answers a request: the names clients may ask for (`catalog`), then the choice (`selector`)."""
