"""Web Push: the key that messages are signed with, and their encryption."""
