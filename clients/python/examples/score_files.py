"""Scores files and prints one line for each: python score_files.py HOST:PORT MODEL FILE ..."""

from __future__ import annotations

import sys

from salad_client import SaladClient, SaladError


def main(target: str, model: str, *files: str) -> int:
    failures = 0
    with SaladClient(target) as client:
        for file in files:
            try:
                result = client.score(file, model)
            except SaladError as error:
                failures += 1
                print(f"{file}: {error.message}", file=sys.stderr)
                continue
            except OSError as error:
                failures += 1
                print(f"{file}: {error.strerror}", file=sys.stderr)
                continue
            print(f"{file}: {result.decision.name.lower()}, p = {result.p_value:.4f}")
            for warning in result.warnings:
                print(f"  {warning.message}")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        print("usage: score_files.py HOST:PORT MODEL FILE ...", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
