"""The cache: flights, leases, purges, the guard around the store."""
