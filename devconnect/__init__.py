"""DevConnect: the backend of a network where developers find each other, connect and chat."""

__version__ = "0.1.0"
