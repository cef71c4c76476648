"""The embedded models: what they learn from, how they are built, trained, judged, shipped and loaded.

torch and its kin are imported inside the modules that use them; nothing here is imported by a light code path.
"""
