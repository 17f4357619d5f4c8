"""A ticket shop on Django: each request is one transaction (ATOMIC_REQUESTS), several visitors at once.

    django_app.py migrate|work

It connects as libpq's environment says. Django's test client sends the requests to the views. Each visitor knows
what the answers must be.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True, "NAME": os.environ["PGDATABASE"],
        "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"], "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"], "CONN_MAX_AGE": None}},
    INSTALLED_APPS=["tickets"], ROOT_URLCONF="tickets.views", ALLOWED_HOSTS=["testserver"], USE_TZ=True,
    SECRET_KEY="for this program alone", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", LOGGING_CONFIG=None)
django.setup()

# pylint: disable=wrong-import-position
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Sum  # noqa: E402
from django.test import Client  # noqa: E402

from tickets.models import Event, Ticket  # noqa: E402

VISITORS = 3
ROUNDS = 25
READS_A_ROUND = 5


class Visitor:
    """Goes to one event, and is the only one to buy there."""

    def __init__(self, number):
        self.holder = f"visitor {number}"
        self.event = Event.objects.create(name=f"event {number}", seats=5)
        self.url = f"/events/{self.event.pk}"
        self.client = Client(raise_request_exception=False)
        self.seats, self.mine, self.visits = 5, [], 0

    def get(self, url, **parameters):
        answer = self.client.get(url, parameters)
        assert answer.status_code == 200, (url, answer.content)
        return answer.json()

    def post(self, url, status=200, **parameters):
        answer = self.client.post(url, parameters)
        assert answer.status_code == status, (url, answer.status_code, answer.content)
        return answer.json() if status != 500 else None

    def go(self):
        try:
            for number in range(1, ROUNDS + 1):
                self.write(number)
                for _ in range(READS_A_ROUND):
                    self.look_around()
        finally:
            connection.close()

    def write(self, number):
        self.post(f"{self.url}/visit")
        self.visits += 1
        self.look_around()
        if number > self.seats:
            self.seats += 5
            assert self.post(f"{self.url}/enlarge", by=5) == {"seats": self.seats}
            self.look_around()
        answer = self.post(f"{self.url}/buy/{number}", holder=self.holder)
        self.mine.append(number)
        assert answer == {"sold": len(self.mine)}
        self.look_around()
        if number % 5 == 2:
            answer = self.post(f"{self.url}/buy/{number}", 409, holder="too late")
            assert answer["owner"] == self.holder
            self.look_around()
        if number == 8:
            self.post(f"{self.url}/buy_all", 500)
            self.look_around()

    def look_around(self):
        all_events = self.get("/events")
        assert all_events[self.event.name] == [self.seats, len(self.mine)], all_events
        details = self.get(self.url)
        assert details["name"] == self.event.name
        assert details["sold"] == len(self.mine)
        assert details["last"] == [[seat, self.holder] for seat in self.mine[:20]]
        assert self.get(f"/tickets/{self.holder}")["tickets"] == [[self.event.name, seat] for seat in self.mine]
        assert self.get("/overview", holder=self.holder)[self.event.name] == self.mine
        assert self.get(f"{self.url}/visits") == {"visits": self.visits}


def migrate():
    call_command("migrate", run_syncdb=True, verbosity=0)


def work():
    visitors = [Visitor(number) for number in range(VISITORS)]
    with ThreadPoolExecutor(VISITORS) as threads:
        for done in [threads.submit(visitor.go) for visitor in visitors]:
            done.result()
    with transaction.atomic():
        assert Event.objects.aggregate(all=Sum("visits"))["all"] == VISITORS * ROUNDS
        assert sum(1 for _ in Ticket.objects.iterator()) == VISITORS * ROUNDS


if __name__ == "__main__":
    {"migrate": migrate, "work": work}[sys.argv[1]]()
