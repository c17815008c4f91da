"""What a model sees: one row per meter, issue time and slot, made only from what was known at the issue time."""
