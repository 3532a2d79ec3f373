"""One thin Click command per stage: read parameters, call the library, write outputs, log."""
