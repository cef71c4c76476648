"""What a recipe can do: one step a file."""
