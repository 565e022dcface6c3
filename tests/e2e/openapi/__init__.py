"""What schemathesis needs to know of the running system: people with things in place, and who asks for what."""
