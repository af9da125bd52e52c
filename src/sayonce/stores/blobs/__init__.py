"""Large bodies outside of a store, in files or a bucket, and the sweep of those that no entry points to; entries are in the stores."""
