"""One Click command per stage: reads parameters, calls the library, writes outputs, logs."""
