"""From a speech request to its sound: who speaks what, under which key, from which take, in which format; HTTP is in the gateway, bytes of audio in `audio`."""
