"""Delta tables: names, contracts, leases, idempotent writes, pinned reads, lineage."""
