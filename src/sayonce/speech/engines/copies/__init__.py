"""Copies of uploaded voices that servers of engines keep: their names, the table of them, their requests and their upkeep; the voices themselves are above."""
