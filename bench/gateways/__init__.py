"""What `bench gateway` loads, and what it loads it with."""
