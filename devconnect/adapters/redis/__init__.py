"""Redis, Valkey or a Redis Cluster: what people read, and how a gateway is told what became of a command."""
