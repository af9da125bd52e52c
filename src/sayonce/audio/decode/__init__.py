"""The one door for sound from outside: each container is checked and decoded to its end, or refused, in threads that also parse large requests; no encoders."""
