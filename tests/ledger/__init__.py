"""The ledger: how finished calls get into the database, and what they sum up to."""
