"""Asking people: a study that opens from a folder, the answers that come back, and who drew what."""
