"""Embeds two sentences, classifies a pair, and prints `Python ok DIMENSIONS COSINE LABEL`.

python sample/first.py [127.0.0.1:50051]
"""

import sys

from semserve import Client, SemserveError


def main() -> None:
    """Ask the server of the first argument, or of SEMSERVE_ADDRESS."""
    with Client(sys.argv[1] if len(sys.argv) > 1 else None) as client:
        vectors = client.embed(["The cat sits on the mat.", "A cat is sitting on a mat."]).vectors
        label = client.classify([("It is raining", "It is sunny")])[0].label
    # The default model's vectors have unit length, so the product is the cosine.
    print(f"Python ok {vectors.shape[1]} {vectors[0] @ vectors[1]:.4f} {label}")


if __name__ == "__main__":
    try:
        main()
    except SemserveError as failed:
        sys.exit(f"semserve: {failed}")
