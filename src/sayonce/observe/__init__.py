"""What an operator looks at: what a cache did, and what another size or policy would have done."""
