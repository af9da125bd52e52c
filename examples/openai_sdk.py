"""OpenAI's Python SDK against the gateway: only ``base_url`` changes.

pip install openai
sayonce serve &
python examples/openai_sdk.py
"""

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="not needed on loopback")

for attempt in ("first", "second"):
    answer = client.audio.speech.with_raw_response.create(
        model="hibari", voice="heart", input="Welcome to the course.", response_format="mp3"
    )
    print(f"{attempt}: {len(answer.content)} bytes, {answer.headers['cache-status']}")
