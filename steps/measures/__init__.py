"""The numbers of a comparison: faces, statistics, and what people said. Pure functions."""
