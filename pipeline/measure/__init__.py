"""What a model gets right, how long it takes, and on what machine."""
