"""The engines' own code, where it is installed, with stand-ins for its networks."""
