"""The official clients: npm's, installed once into node_modules."""
