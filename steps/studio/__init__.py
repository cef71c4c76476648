"""The drawn world and the judges and models that work in it."""
