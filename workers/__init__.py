"""The worker roles, one file each: the only place that builds a `faust.App` and the adapters of the fleet."""
