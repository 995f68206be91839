"""Episodes on Ray: the cluster, the pool of workers, and their addresses."""
