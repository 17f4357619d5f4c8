from django.db import models


class Event(models.Model):
    name = models.CharField(max_length=80, unique=True)
    seats = models.IntegerField()
    visits = models.IntegerField(default=0)

    class Meta:
        db_table = "django_event"


class Ticket(models.Model):
    event = models.ForeignKey(Event, models.CASCADE, related_name="tickets")
    holder = models.CharField(max_length=80)
    seat = models.IntegerField()
    bought = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "django_ticket"
        constraints = [models.UniqueConstraint(fields=["event", "seat"], name="django_one_ticket_a_seat")]
