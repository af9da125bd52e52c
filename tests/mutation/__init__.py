"""Mutation testing: each change that a test should notice is made in a copy of the sources, one at a time, and the tests run."""
