"""The shop's pages. A view checks the form and calls one of `services`; the answer never waits for background work."""

from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.handlers.asgi import ASGIRequest
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from . import mails, progress, services, tasks
from .forms import OrderForm, SignUpForm, UploadForm
from .jobs import jobs_of, with_jobs
from .models import Customer, DayReport, Order, Picture, Product
from .session import customer_of, remember

PER_PAGE = 25
NEWEST_MAIL_FILES = 50


def home(request: HttpRequest) -> HttpResponse:
    counts = {
        "customers": Customer.objects.count(),
        "orders": Order.objects.count(),
        "pictures": Picture.objects.count(),
    }
    return render(
        request,
        "store/home.html",
        {"products": Product.objects.all(), "counts": counts, "report": DayReport.objects.first()},
    )


def sign_up(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        customer = services.sign_up(**form.cleaned_data)
        remember(request, customer)
        messages.success(request, "You are in. Your welcome mail and profile image are on their way.")
        return redirect("customer", customer.pk)
    return render(request, "store/form.html", {"form": form, "title": "Sign up", "button": "Sign up"})


def customer(request: HttpRequest, pk: int) -> HttpResponse:
    shown = get_object_or_404(Customer, pk=pk)
    return render(
        request,
        "store/customer.html",
        {
            "customer": shown,
            "notifications": shown.notifications.all()[:20],
            "pictures": shown.pictures.all()[:12],
            "orders": shown.orders.select_related("product")[:12],
            **_watched(shown),
        },
    )


def follow(request: HttpRequest, pk: int) -> HttpResponse:
    followed = get_object_or_404(Customer, pk=pk)
    me = customer_of(request)
    if request.method == "POST" and me and me != followed:
        services.follow(me, followed)
        messages.success(request, f"You follow {followed}: new pictures show under your notifications.")
    return redirect("customer", pk)


def order_form(request: HttpRequest, pk: int) -> HttpResponse:
    me = customer_of(request)
    if me is None:
        messages.info(request, "Sign up first, so that we know whom to send it to.")
        return redirect("sign_up")
    product = get_object_or_404(Product, pk=pk)
    form = OrderForm(request.POST or None, initial={"address": me.address, "country": me.country})
    if form.is_valid():
        order = services.place_order(me, product, **form.cleaned_data)
        messages.success(
            request, f"Thank you. {order} is saved; invoice, warehouse and label are being seen to."
        )
        return redirect("order", order.pk)
    return render(
        request, "store/form.html", {"form": form, "title": f"Order: {product}", "button": "Place the order"}
    )


def orders(request: HttpRequest) -> HttpResponse:
    found = Order.objects.select_related("customer", "product")
    return render(request, "store/orders.html", _listed(request, found))


def order(request: HttpRequest, pk: int) -> HttpResponse:
    shown = get_object_or_404(Order.objects.select_related("customer", "product"), pk=pk)
    return render(request, "store/order.html", {"order": shown, **_watched(shown)})


@require_POST
def export(request: HttpRequest) -> HttpResponse:
    return redirect("exported", tasks.export_orders.delay().id)


def exported(request: HttpRequest, task_id: str) -> HttpResponse:
    """A page on which one sees the export go on."""
    by_socket = settings.HAS_CHANNELS and isinstance(request, ASGIRequest)
    socket = f"/ws/tasks/{task_id}/" if by_socket else ""
    return render(request, "store/export.html", {"task_id": task_id, "socket": socket})


def task_events(request: HttpRequest, task_id: str) -> StreamingHttpResponse:
    """How far a task is, as server-sent events. A shop that sells something would look who asks."""
    stream = progress.events if isinstance(request, ASGIRequest) else progress.events_in_thread
    answer = StreamingHttpResponse(stream(task_id), content_type="text/event-stream")
    answer["Cache-Control"] = "no-cache"
    answer["X-Accel-Buffering"] = "no"  # nginx would keep it back until there is more
    return answer


def upload(request: HttpRequest) -> HttpResponse:
    me = customer_of(request)
    if me is None:
        messages.info(request, "Sign up first, so that we know whose picture it is.")
        return redirect("sign_up")
    form = UploadForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        picture = services.upload_picture(me, **form.cleaned_data)
        messages.success(request, "Your picture is saved; its sizes are being made.")
        return redirect("picture", picture.pk)
    return render(request, "store/form.html", {"form": form, "title": "Upload a picture", "button": "Upload"})


def pictures(request: HttpRequest) -> HttpResponse:
    return render(
        request, "store/pictures.html", _listed(request, Picture.objects.select_related("customer"))
    )


def picture(request: HttpRequest, pk: int) -> HttpResponse:
    shown = get_object_or_404(Picture.objects.select_related("customer"), pk=pk)
    return render(
        request, "store/picture.html", {"picture": shown, "sizes": shown.sizes.all(), **_watched(shown)}
    )


def outbox(request: HttpRequest) -> HttpResponse:
    newest = islice(mails.sent(mails.files()[:NEWEST_MAIL_FILES]), PER_PAGE)
    return render(request, "store/outbox.html", {"mails": list(newest)})


def _watched(row: Customer | Order | Picture) -> dict[str, Any]:
    """The jobs of a row, and whether the page should look again in a second."""
    jobs = jobs_of(row)
    return {"jobs": jobs, "busy": not all(job.ended for job in jobs)}


def _listed(request: HttpRequest, rows: QuerySet[Any]) -> dict[str, Any]:
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return {"page": page, "rows": with_jobs(page.object_list)}
