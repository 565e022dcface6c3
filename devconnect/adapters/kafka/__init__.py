"""Kafka: topics, and the producers of the gateway and of the fleet."""
