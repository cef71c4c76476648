"""The ledger's migrations: append only, applied in the order of their names."""
