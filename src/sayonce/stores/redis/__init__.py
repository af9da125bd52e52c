"""Redis as a store: one server, Sentinels or a Cluster, and the connections to them; no other store is known here."""
