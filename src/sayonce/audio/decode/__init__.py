"""The one door for sound from outside: each container is walked and decoded whole, or refused; what is encoded is in `encode`."""
