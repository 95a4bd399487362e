"""
Attacks on the port, each limited in time and bytes. Prints one JSON object: the server's answers to the attacker.

    python attacks.py NAME HOST:PORT [--source 127.0.0.2] [--seconds 6]
"""
import argparse
import json

# These register their attacks.
import call_attacks as _calls  # noqa: F401
import memory_attacks as _memory  # noqa: F401
import message_attacks as _messages  # noqa: F401
from peer import ATTACKS, Peer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(ATTACKS))
    parser.add_argument("address")
    parser.add_argument("--source", default="127.0.0.2")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    peer = Peer(options.address, options.source, options.seconds)
    try:
        ATTACKS[options.name](peer)
    except OSError as error:
        # The test detects a server that has ended.
        peer.counts["error"] = str(error)
    print(json.dumps(peer.report()), flush=True)


main()
