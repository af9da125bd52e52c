"""From a speech request to its sound: the request, its key, its take and its clip; HTTP is in the gateway, bytes of audio in `audio`."""
