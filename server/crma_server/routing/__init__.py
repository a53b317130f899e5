"""Which target answers a request: the names clients may ask for (`catalog`), the choice (`selector`)."""
