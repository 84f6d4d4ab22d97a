"""Job titles matched to a list of occupations, and a hundred places to live ranked by a wish.

python sample/matching.py [--address 127.0.0.1:50051] [--model minilm-l6-v2]
"""

import argparse
from pathlib import Path

from semserve import Client

LISTINGS = Path(__file__).with_name("listings.txt").read_text(encoding="utf-8").splitlines()
OCCUPATIONS = (
    "accountant", "baker", "bus driver", "carpenter", "cleaner", "cook", "dentist", "electrician",
    "farmer", "graphic designer", "hairdresser", "journalist", "lawyer", "mechanical engineer",
    "nurse", "plumber", "police officer", "salesperson", "software developer", "teacher",
)  # fmt: skip
TITLES = (
    "Backend programmer (Java), remote",
    "Registered nurse for the night shift",
    "We are looking for someone to teach maths at our secondary school",
    "Chef de partie in a busy restaurant kitchen",
    "Bookkeeping clerk, balance sheets and tax returns",
    "Attorney-at-law, family court",
    "Driver of coaches and city buses",
    "Installs and repairs pipes, taps and boilers",
    "Hair stylist, cutting and colouring",
    "Reporter for our local newspaper",
)
WISHES = (
    "a place by the sea for the summer holidays",
    "I use a wheelchair",
    "a home for a family with small children",
    "somewhere I may play the trumpet at night",
)


def main() -> None:
    """Print the best occupation of each title, and the three best listings of each wish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--model", default="minilm-l6-v2", help="any embedding model")
    arguments = parser.parse_args()
    with Client(arguments.address) as client:
        found = client.search(TITLES, OCCUPATIONS, top_k=1, model=arguments.model)
        for title, (best,) in zip(TITLES, found, strict=True):
            print(f"{best.score:.2f}  {best.text:20}  {title}")
        for wish in WISHES:
            print(f"\n{wish}: the best of {len(LISTINGS)}")
            for hit in client.rank(wish, LISTINGS, top_k=3, model=arguments.model):
                print(f"{hit.score:.2f}  {hit.text}")


if __name__ == "__main__":
    main()
