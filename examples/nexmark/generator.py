#!/usr/bin/env python3
"""The events of an auction house, as the Nexmark benchmark has them: people, auctions and bids, in one stream of JSON.

    generator.py events --count 100000 --seed 7 > events.ndjson     # one event a line
    generator.py side-input > side_input.csv                        # what q13 looks up

The same arguments give the same bytes. Of 50 events one is a person, three are auctions and 46 are bids; they come in the order of
their times, but for some that are up to ten seconds late. Only Python's standard library is needed.
"""
import argparse
import datetime
import json
import random

KINDS = ["person"] + ["auction"] * 3 + ["bid"] * 46
FIRST_ID = 1000
SIDE_INPUT_KEYS = 100
HOT_CHANNELS = ["Apple", "Google", "Facebook", "Baidu"]
NAMES = ["Ada", "Bela", "Chen", "Dunya", "Emre", "Femi", "Gita", "Hugo"]
SURNAMES = ["Abel", "Brandt", "Costa", "Diaz", "Egede", "Farkas"]
CITIES = [("Phoenix", "AZ"), ("Palo Alto", "CA"), ("San Francisco", "CA"), ("Boise", "ID"), ("Portland", "OR"), ("Bend", "OR"),
          ("Seattle", "WA"), ("Cheyenne", "WY")]
THINGS = ["lamp", "chair", "violin", "atlas", "clock", "kettle"]


class AuctionHouse:
    """Makes event after event; remembers how many people and auctions there are, so that what is referred to exists."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.people = self.auctions = 0

    def person(self):
        self.people += 1
        first, last = self.random.choice(NAMES), self.random.choice(SURNAMES)
        city, state = self.random.choice(CITIES)
        return {"id": FIRST_ID + self.people - 1, "name": f"{first} {last}", "email_address": f"{first}.{last}@example.org".lower(),
                "credit_card": " ".join(f"{self.random.randrange(10000):04}" for _ in range(4)), "city": city, "state": state}

    def auction(self):
        self.auctions += 1
        price = self.price()
        return {"id": FIRST_ID + self.auctions - 1, "item_name": f"{self.random.choice(THINGS)} {self.auctions}",
                "initial_bid": price, "reserve": price + self.price(), "seller": self.recent(self.people),
                "category": 10 + self.random.randrange(5)}

    def bid(self):
        channel, url = self.channel()
        return {"auction": self.recent(self.auctions), "bidder": self.recent(self.people), "price": self.price(),
                "channel": channel, "url": url, "extra": "".join(self.random.choices("abcdefgh", k=self.random.randrange(4, 20)))}

    def price(self):
        """In cents: as many of one to ten as of a hundred thousand to a million."""
        return round(10 ** self.random.uniform(2, 8))

    def recent(self, count):
        """An id among the first `count`: every other time one of the ten newest, which are hot."""
        oldest = max(0, count - 10) if self.random.random() < 0.5 else 0
        return FIRST_ID + self.random.randrange(oldest, max(1, count))

    def channel(self):
        path = "/".join("".join(self.random.choices("klmnop", k=3)) for _ in range(3))
        url = f"https://www.nexmark.example/{path}/item.htm?query=1"
        if self.random.random() < 0.5:
            return self.random.choice(HOT_CHANNELS), url
        number = self.random.randrange(1000)
        return f"channel-{number}", f"{url}&channel_id={number}" if number % 10 else url


def events(count, seed, start, per_second):
    house = AuctionHouse(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        late = house.random.uniform(0, 10) if house.random.random() < 0.05 else 0
        time = start + datetime.timedelta(milliseconds=round(1000 * (number / per_second - late)))
        yield {"event_type": kind, "date_time": time.isoformat(timespec="milliseconds") + "Z", kind: getattr(house, kind)()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    stream = commands.add_parser("events", help="print events")
    stream.add_argument("--count", type=int, default=10000)
    stream.add_argument("--seed", type=int, default=7)
    stream.add_argument("--start", type=datetime.datetime.fromisoformat, default=datetime.datetime(2026, 1, 1),
                        help="time of the first event, in UTC: 2026-01-01T00:00:00")
    stream.add_argument("--per-second", type=float, default=100, help="events in a second of event time")
    commands.add_parser("side-input", help="print the rows that q13 looks up")
    arguments = parser.parse_args()
    if arguments.command == "side-input":
        print("key,value")
        for key in range(SIDE_INPUT_KEYS):
            print(f"{key},value {key}")
        return
    for event in events(arguments.count, arguments.seed, arguments.start, arguments.per_second):
        print(json.dumps(event))


if __name__ == "__main__":
    main()
