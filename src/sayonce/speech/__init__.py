"""From a speech request to its sound: the request, its key, its take and its clip, uploaded voices, and what explains and checks keys; HTTP is in the gateway, bytes of audio in `audio`."""
