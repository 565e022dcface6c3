"""The agents: each takes a batch apart, asks the domain, and hands what follows to a table or a port."""
