"""What must hold for whatever bytes come: properties, and the fuzzer that looks for bytes they do not hold for."""
