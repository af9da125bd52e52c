"""The library: remembered functions, tensors and adapters."""
