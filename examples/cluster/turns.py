"""A text in turns by several `charlm serve`: any of them takes any turn, the state is carried here.

    python turns.py http://127.0.0.1:8001 http://127.0.0.1:8002 --prompt "the old house "

Each turn goes to the next server; where one does not answer, or is full, the one after it takes the
turn. Behind a balancer one address is enough. The text is that of one machine: the state has the
seed and the place in its random numbers. Nothing but Python's standard library is needed.
"""

import argparse
import http.client
import itertools
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

ELSEWHERE = (429, 500, 502, 503, 504)  # full, broken or ending: another server may do
ROUNDS, PAUSE, PATIENCE = 5, 0.2, 60.0  # over all servers; seconds between them, and for an answer


def ask(server: str, body: dict[str, Any]) -> dict[str, Any]:
    """The one choice of a completion."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("CHARLM_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    address = f"{server.rstrip('/')}/v1/completions"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        choice: dict[str, Any] = json.load(answer)["choices"][0]
        return choice


def ask_any(servers: Iterator[str], count: int, body: dict[str, Any]) -> dict[str, Any]:
    """The choice of the first server that answers; to ask twice draws the same text twice."""
    for turn in range(ROUNDS * count):
        server = next(servers)
        try:
            return ask(server, body)
        except urllib.error.HTTPError as problem:
            reason = f"{problem.code} {problem.read().decode(errors='replace').strip()}"
            if problem.code not in ELSEWHERE:
                raise SystemExit(f"{server}: {reason}") from problem
        except (OSError, http.client.HTTPException) as problem:
            reason = str(problem)
        print(f"{server}: {reason}; asking the next", file=sys.stderr)
        if (turn + 1) % count == 0:
            time.sleep(PAUSE)
    raise SystemExit("no server answers")


def main() -> None:
    """Print a text, turn by turn."""
    parser = argparse.ArgumentParser(description="A text in turns by several charlm serve.")
    parser.add_argument("servers", nargs="+", metavar="URL")
    parser.add_argument("--prompt", default="the old house ")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--length", type=int, default=40, help="characters of each turn")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    servers = itertools.cycle(asked.servers)
    print(asked.prompt, end="", flush=True)
    body = {"prompt": asked.prompt, "seed": asked.seed}
    for _ in range(asked.turns):
        body |= {"max_tokens": asked.length, "return_state": True}
        choice = ask_any(servers, len(asked.servers), body)
        print(choice["text"], end="", flush=True)
        body = {"prompt": "", "state": choice["state"]}
    print()


if __name__ == "__main__":
    main()
