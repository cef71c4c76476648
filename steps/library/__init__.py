"""The cast on disk: actors, images, plans, trash."""
