"""A bot that answers in Chinese, and says its stock phrases from the cache.

    pip install 'sayonce[espeak]'
    python examples/chinese_bot.py

It starts a gateway over the espeak engine, holds a short conversation, and tells what each line cost.
"""

import subprocess
import sys
import time

import httpx

BASE_URL = "http://127.0.0.1:8090"
CONVERSATION = [
    "您好,欢迎致电客户服务中心。",
    "请问有什么可以帮您?",
    "请稍等,正在为您查询。",
    "您的订单已经发货,预计明天送达。",
    "请稍等,正在为您查询。",
    "您好,欢迎致电客户服务中心。",
    "感谢您的来电,再见。",
]


client = httpx.Client(base_url=BASE_URL)


def wait_until_ready() -> None:
    for _ in range(100):
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    sys.exit("the gateway does not start")


command = [sys.executable, "-m", "sayonce", "serve", "--port", "8090", "--engine", "espeak", "--store", "memory://"]
with subprocess.Popen(command, stderr=subprocess.DEVNULL) as gateway:
    try:
        wait_until_ready()
        for line in CONVERSATION:
            started = time.perf_counter()
            asked = {"model": "espeak", "voice": "zh", "input": line, "response_format": "mp3"}
            answer = client.post("/v1/audio/speech", json=asked).raise_for_status()
            took_ms = 1000 * (time.perf_counter() - started)
            print(f"{took_ms:6.1f} ms  {answer.headers['cache-status']:32}  {line}")
        figures = client.get("/v1/cache/stats").json()["process"]
        print(f"{figures['requests']:.0f} lines, {figures['engine calls']:.0f} syntheses")
    finally:
        gateway.terminate()
