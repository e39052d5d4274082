"""The shop's own rows in Django's admin. The tasks are there too, under Celeriac."""

from django.contrib import admin

from .models import Customer, DayReport, Event, Notification, Order, Picture, PictureSize, Product


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ("name", "email", "country", "joined_at")
    search_fields = ("name", "email")
    filter_horizontal = ("follows",)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("name", "price", "grams")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = (
        "pk",
        "customer",
        "product",
        "quantity",
        "country",
        "invoiced_at",
        "warehouse_ref",
        "label",
    )
    list_filter = ("country",)
    list_select_related = ("customer", "product")
    raw_id_fields = ("customer",)
    search_fields = ("customer__name", "customer__email", "warehouse_ref")


@admin.register(DayReport)
class DayReportAdmin(admin.ModelAdmin):
    list_display = ("day", "orders", "turnover", "counted_at")


class SizeInline(admin.TabularInline):
    model = PictureSize
    extra = 0


@admin.register(Picture)
class PictureAdmin(admin.ModelAdmin):
    list_display = ("title", "customer", "uploaded_at", "thumbnail")
    list_select_related = ("customer",)
    raw_id_fields = ("customer",)
    inlines = (SizeInline,)


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    list_display = ("customer", "text", "created_at")
    list_select_related = ("customer",)
    raw_id_fields = ("customer",)


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):
    list_display = ("kind", "subject", "created_at")
    list_filter = ("kind",)
