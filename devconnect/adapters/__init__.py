"""The outside world, one folder a system: Kafka, Redis, MongoDB, Prometheus. Only the roots build these."""
