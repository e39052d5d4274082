"""Tests of the shop itself: `python manage.py test`. No worker runs; a task is called where its work is wanted."""

import json
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from django.conf import settings
from django.core import mail
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from PIL import Image

from celeriac.testing import Queue

from . import images, labels, mails, progress, services, tasks, warehouse
from .demo.crowd import photo
from .models import Customer, DayReport, Event, Notification, Order, Picture, Product


class ShopTestCase(TestCase):
    """Files go to a folder of the test's own."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.mkdtemp(prefix="shop-test-")
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.enterClassContext(override_settings(MEDIA_ROOT=folder, MAILS=Path(folder) / "mails"))
        super().setUpClass()

    def customer(self, name: str = "Ada Abel", **fields: str) -> Customer:
        made = {
            "email": f"{name.split(maxsplit=1)[0].lower()}@example.com",
            "address": "Garden Lane 1\nGent",
            "country": "Belgium",
        }
        return Customer.objects.create(name=name, **made | fields)

    def order(self, **fields: object) -> Order:
        customer = self.customer()
        where = {"address": customer.address, "country": customer.country}
        return Order.objects.create(customer=customer, product=Product.objects.get(pk=1), **where | fields)

    def picture(self, customer: Customer) -> Picture:
        return Picture.objects.create(
            customer=customer, title="Hills", image=SimpleUploadedFile("hills.jpg", photo(1), "image/jpeg")
        )


class PagesTest(ShopTestCase):
    SIGN_UP = {
        "name": "Ada Abel",
        "email": "ada@example.com",
        "address": "Garden Lane 1\nGent",
        "country": "Belgium",
    }

    def sign_up(self) -> Customer:
        answer = self.client.post("/sign-up/", self.SIGN_UP)
        customer = Customer.objects.get()
        self.assertRedirects(answer, f"/customers/{customer.pk}/")
        return customer

    def test_every_page_of_an_empty_shop_answers(self) -> None:
        for path in ("/", "/sign-up/", "/orders/", "/pictures/", "/outbox/"):
            with self.subTest(path):
                self.assertEqual(self.client.get(path).status_code, 200)

    def test_signing_up_asks_for_mail_image_notification_and_analytics(self) -> None:
        customer = self.sign_up()
        self.assertEqual(list(customer.jobs), ["welcome mail", "profile image", "notification", "analytics"])
        self.assertEqual(len(set(customer.jobs.values())), 4)

    def test_an_order_asks_for_invoice_warehouse_and_label(self) -> None:
        self.sign_up()
        answer = self.client.post(
            "/products/2/order/", {"quantity": 3, "address": "Lane 2\nLyon", "country": "France"}
        )
        order = Order.objects.get()
        self.assertRedirects(answer, f"/orders/{order.pk}/")
        self.assertEqual((order.product_id, order.quantity, order.country), (2, 3, "France"))
        self.assertEqual(list(order.jobs), ["invoice mail", "warehouse", "shipping label"])
        self.assertContains(self.client.get("/orders/"), f">{order.pk}</a>")

    def test_an_upload_asks_for_each_size(self) -> None:
        self.sign_up()
        upload = SimpleUploadedFile("hills.jpg", photo(2), "image/jpeg")
        answer = self.client.post("/upload/", {"title": "Hills", "image": upload})
        picture = Picture.objects.get()
        self.assertRedirects(answer, f"/pictures/{picture.pk}/")
        self.assertEqual(len(picture.jobs), 1 + len(services.PICTURE_WIDTHS) + 1)
        self.assertContains(self.client.get("/pictures/"), "Hills")

    def test_a_wrong_form_asks_for_nothing(self) -> None:
        self.sign_up()
        self.assertContains(self.client.post("/products/2/order/", {"quantity": 0}), "errorlist")
        self.assertContains(
            self.client.post("/upload/", {"title": "x", "image": SimpleUploadedFile("x.jpg", b"no image")}),
            "errorlist",
        )
        self.assertFalse(Order.objects.exists() or Picture.objects.exists())

    def test_who_has_not_signed_up_is_asked_to(self) -> None:
        for path in ("/products/1/order/", "/upload/"):
            self.assertRedirects(self.client.get(path), "/sign-up/")

    def test_one_follows_others_and_not_oneself(self) -> None:
        me, other = self.sign_up(), self.customer("Bela Berg")
        for followed in (other, me):
            self.client.post(f"/customers/{followed.pk}/follow/")
        self.assertEqual(list(me.follows.all()), [other])


class TasksTest(ShopTestCase):
    def test_mails_say_whom_they_are_about(self) -> None:
        order = self.order(quantity=2)
        tasks.send_welcome_mail(order.customer.pk)
        tasks.send_invoice(order.pk)
        about = [message.extra_headers[mails.ABOUT] for message in mail.outbox]
        self.assertEqual(about, [f"customer {order.customer.pk}", f"order {order.pk}"])
        self.assertIn("5.80 EUR", mail.outbox[1].body)
        order.refresh_from_db()
        self.assertIsNotNone(order.invoiced_at)

    def test_a_label_is_a_pdf(self) -> None:
        order = self.order()
        tasks.print_label(order.pk)
        order.refresh_from_db()
        with order.label.open("rb") as label:
            self.assertTrue(label.read().startswith(b"%PDF"))

    def test_no_label_for_a_country_that_no_carrier_serves(self) -> None:
        order = self.order(country="Atlantis")
        with self.assertRaisesMessage(labels.AddressRefused, "no carrier delivers to 'Atlantis'"):
            tasks.print_label(order.pk)

    def test_the_warehouse_is_away_for_some_orders_and_for_a_while(self) -> None:
        self.assertEqual(warehouse.book(1, attempt=0), "WH-000001")
        for order_id, failures in ((25, 1), (250, 2)):
            for attempt in range(failures):
                with self.assertRaises(warehouse.Unavailable):
                    warehouse.book(order_id, attempt=attempt)
            self.assertEqual(warehouse.book(order_id, attempt=failures), f"WH-{order_id:06d}")

    def test_pictures_get_a_thumbnail_and_sizes_and_a_second_run_changes_nothing(self) -> None:
        picture = self.picture(self.customer())
        for _ in range(2):
            tasks.make_thumbnail(picture.pk)
            for width in services.PICTURE_WIDTHS:
                tasks.resize_picture(picture.pk, width)
        picture.refresh_from_db()
        with picture.thumbnail.open() as file, Image.open(file) as thumbnail:
            self.assertEqual(thumbnail.size, images.THUMBNAIL)
        self.assertEqual([size.image.width for size in picture.sizes.all()], list(services.PICTURE_WIDTHS))
        self.assertEqual(
            len(list(Path(settings.MEDIA_ROOT, "sizes").iterdir())), len(services.PICTURE_WIDTHS)
        )

    def test_followers_are_told_once(self) -> None:
        ada, bela = self.customer(), self.customer("Bela Berg")
        services.follow(bela, ada)
        picture = self.picture(ada)
        self.assertEqual([tasks.tell_followers(picture.pk) for _ in range(2)], [1, 1])
        self.assertEqual(Notification.objects.get().text, "Ada Abel has a new picture: Hills")

    def test_a_portrait_is_drawn_and_a_notification_written(self) -> None:
        customer = self.customer()
        tasks.draw_portrait(customer.pk)
        customer.refresh_from_db()
        self.assertEqual(
            (customer.portrait.width, customer.portrait.height), (images.PORTRAIT, images.PORTRAIT)
        )
        self.assertEqual([tasks.notify(customer.pk, "welcome", "Welcome!") for _ in range(2)], [True, False])

    async def test_events_are_recorded_by_an_async_task_once(self) -> None:
        for _ in range(2):
            await tasks.record_event("signed up", "customer 1")
        self.assertEqual(await Event.objects.acount(), 1)


class ScheduleTest(ShopTestCase):
    def test_the_report_of_the_day_counts_its_orders_anew_each_time(self) -> None:
        self.order(quantity=2)
        for _ in range(2):
            self.assertEqual(tasks.report_the_day.apply().get(), 1)
        report = DayReport.objects.get()
        self.assertEqual((report.orders, report.turnover), (1, 2 * Product.objects.get(pk=1).price))
        self.assertContains(self.client.get("/"), "1 order,")

    def test_a_day_without_orders(self) -> None:
        self.assertEqual(tasks.report_the_day.apply().get(), 0)
        self.assertEqual(DayReport.objects.get().turnover, 0)


class ProgressTest(ShopTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(patch.object(tasks, "EXPORT_PAUSE", 0))

    def test_an_export_and_its_events(self) -> None:
        self.order(quantity=2)
        with Queue() as queue:
            page = self.client.post("/exports/", follow=True)
            task_id = page.context["task_id"]
            self.assertContains(page, f"/tasks/{task_id}/events/")
            self.assertEqual(progress.progress_of(task_id)["state"], "PENDING")
            queue.drain()
            answer = self.client.get(f"/tasks/{task_id}/events/")
            self.assertEqual(answer["Content-Type"], "text/event-stream")
            (event,) = [json.loads(each.decode().removeprefix("data: ")) for each in answer.streaming_content]
        self.assertEqual((event["state"], event["result"]), ("SUCCESS", f"/media/exports/{task_id}.csv"))
        lines = Path(settings.MEDIA_ROOT, "exports", f"{task_id}.csv").read_text().splitlines()
        self.assertEqual([line.partition(",")[0] for line in lines], ["order", str(Order.objects.get().pk)])

    async def test_the_stream_tells_each_change_once(self) -> None:
        said = [{"state": "PENDING"}, {"state": "PENDING"}, {"state": "PROGRESS"}, {"state": "SUCCESS"}]
        with (
            patch.object(progress, "progress_of", lambda task_id: said.pop(0)),
            patch.object(progress, "LOOK_EVERY", 0),
        ):
            told = [change["state"] async for change in progress.changes("x")]
        self.assertEqual(told, ["PENDING", "PROGRESS", "SUCCESS"])

    def test_an_error_is_told(self) -> None:
        with (
            Queue() as queue,
            patch.object(default_storage, "save", side_effect=OSError("the disk is full")),
        ):
            task_id = tasks.export_orders.delay().id
            queue.drain(raise_errors=False)
            told = progress.progress_of(task_id)
        self.assertEqual((told["state"], told["error"]), ("FAILURE", "the disk is full"))
