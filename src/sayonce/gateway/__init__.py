"""The HTTP gateway: its routes, their walls, and the bounds of connections; what a request means is in `speech`."""
