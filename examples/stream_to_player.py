"""Play a clip while it is still being made: raw PCM from the gateway into a player's standard input.

    sayonce serve &
    python examples/stream_to_player.py "Any text you like." [PLAYER …]

The player is ``aplay`` by default; any program will do that reads PCM16 from stdin, such as
``ffplay -f s16le -ar 24000 -nodisp -autoexit -``.
"""

import shutil
import subprocess
import sys
import time

import httpx

text = (
    sys.argv[1]
    if len(sys.argv) > 1
    else "This is heard from its first sentence on, while the rest is made. So it goes."
)
player = sys.argv[2:] or ["aplay", "-q", "-t", "raw", "-f", "S16_LE", "-r", "24000", "-c", "1"]
if shutil.which(player[0]) is None:
    sys.exit(
        f"there is no player {player[0]!r} here: name another behind the text, such as ffplay -f s16le -ar 24000 -nodisp -autoexit -"
    )
asked = {"model": "hibari", "voice": "heart", "input": text, "response_format": "pcm"}

started = time.perf_counter()
with (
    httpx.stream("POST", "http://127.0.0.1:8080/v1/audio/speech", json=asked, timeout=60) as answer,
    subprocess.Popen(player, stdin=subprocess.PIPE) as playing,
):
    if answer.status_code != 200:
        sys.exit(answer.read().decode())
    for number, chunk in enumerate(answer.iter_raw()):
        if number == 0:
            print(
                f"first sound after {1000 * (time.perf_counter() - started):.1f} ms ({answer.headers['cache-status']})"
            )
        playing.stdin.write(chunk)
    playing.stdin.close()
