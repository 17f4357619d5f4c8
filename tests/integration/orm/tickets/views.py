from django.db import IntegrityError, transaction
from django.db.models import Count, F, Prefetch
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path

from tickets.models import Event, Ticket


# --- views that read

def events(request):
    """All events, each with the number of tickets sold."""
    found = Event.objects.annotate(sold=Count("tickets")).order_by("name")
    return JsonResponse({event.name: [event.seats, event.sold] for event in found})


def event_details(request, number):
    event = get_object_or_404(Event, pk=number)
    tickets = event.tickets.order_by("seat")[:20]
    return JsonResponse({"name": event.name, "sold": event.tickets.count(),
                         "last": [[ticket.seat, ticket.holder] for ticket in tickets]})


def tickets_of(request, holder):
    tickets = Ticket.objects.filter(holder=holder).select_related("event").order_by("id")
    if not tickets.exists():
        return JsonResponse({"tickets": []})
    return JsonResponse({"tickets": [[ticket.event.name, ticket.seat] for ticket in tickets]})


def overview(request):
    holders = request.GET["holder"]
    wanted = Ticket.objects.filter(holder=holders).order_by("seat")
    found = Event.objects.prefetch_related(Prefetch("tickets", queryset=wanted, to_attr="mine")).order_by("id")
    return JsonResponse({event.name: [ticket.seat for ticket in event.mine] for event in found})


@transaction.non_atomic_requests
def visits(request, number):
    return JsonResponse({"visits": Event.objects.values_list("visits", flat=True).get(pk=number)})


# --- views that write

def visit(request, number):
    Event.objects.filter(pk=number).update(visits=F("visits") + 1)
    return JsonResponse({})


def buy(request, number, seat):
    event = get_object_or_404(Event, pk=number)
    if not 0 < seat <= event.seats:
        return JsonResponse({"error": "no such seat"}, status=404)
    try:
        with transaction.atomic():
            event.tickets.create(holder=request.POST["holder"], seat=seat)
    except IntegrityError:
        # The block above is a savepoint: this transaction goes on.
        owner = event.tickets.get(seat=seat).holder
        return JsonResponse({"error": "taken", "owner": owner}, status=409)
    return JsonResponse({"sold": event.tickets.count()})


def enlarge(request, number):
    """Reads and writes back, under a lock."""
    event = Event.objects.select_for_update().get(pk=number)
    event.seats += int(request.POST["by"])
    event.save(update_fields=["seats"])
    return JsonResponse({"seats": event.seats})


def buy_all(request, number):
    """Fails half-way, and with it all of the request."""
    event = Event.objects.get(pk=number)
    for seat in range(1, event.seats + 2):
        if seat > event.seats:
            raise ValueError("there are no more seats")
        Ticket.objects.get_or_create(event=event, seat=seat, defaults={"holder": "greedy"})
    return JsonResponse({})


urlpatterns = [
    path("events", events),
    path("events/<int:number>", event_details),
    path("events/<int:number>/visits", visits),
    path("events/<int:number>/visit", visit),
    path("events/<int:number>/buy/<int:seat>", buy),
    path("events/<int:number>/buy_all", buy_all),
    path("events/<int:number>/enlarge", enlarge),
    path("tickets/<str:holder>", tickets_of),
    path("overview", overview),
]
