"""Real servers and load that tests and benchmarks start on loopback, each a process of its own, ended by its id."""
