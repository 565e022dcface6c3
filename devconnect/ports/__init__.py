"""What the rooms need of the outside world, as Protocols; adapters fill them, tests may too."""
