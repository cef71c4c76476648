"""The engine: recipes, runs, items, the ledger. It knows nothing of actors, images or vendors."""
