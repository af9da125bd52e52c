"""Stores: the contract over each of them, and what each promises beyond it."""
