"""What is decided: pure machines, ``handle(event, now) -> effects``. No input or output, clock, randomness or thread."""
