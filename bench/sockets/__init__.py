"""What `bench realtime` compares: servers that deliver to sockets, and what they are loaded with."""
