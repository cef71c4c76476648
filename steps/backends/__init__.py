"""The outside: one vendor a file behind a small protocol."""
