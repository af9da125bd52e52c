"""What an engine computes from a reference, and any other expensive tensor: computed once, exact for ever.

``remember`` makes a function remember its values, ``tensors`` turns values into bytes and back, ``voice`` says which
references are the same voice, ``library`` is what ``import sayonce`` offers.
"""
