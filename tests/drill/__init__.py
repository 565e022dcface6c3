"""The drill: a whole system under steady load while a seeded schedule of faults runs; then everything is counted."""
