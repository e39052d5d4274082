"""Put something on the shelves."""

from django.db import migrations

PRODUCTS = [
    # name, blurb, price, grams
    (
        "Celeriac",
        "A whole root, about as big as a fist and a half. Keeps for months in a cool place.",
        "2.90",
        800,
    ),
    (
        "Celeriac soup",
        "With apple and nutmeg, in a jar. Serves two, or one who has been out in the snow.",
        "5.40",
        650,
    ),
    ("Peeler", "For roots that fight back. Steel blade, beech handle.", "14.50", 120),
    ("Grater", "Four sides and a box to catch it all. Remoulade is ten minutes away.", "19.00", 420),
    ("Seeds", "Two hundred of them. Sow under glass in March, be patient until October.", "3.20", 15),
    (
        "Root cellar, a poster",
        "Everything that keeps through the winter, drawn in ink. 50 by 70 cm, rolled.",
        "24.00",
        240,
    ),
]


def stock(apps, schema_editor):
    Product = apps.get_model("store", "Product")
    Product.objects.using(schema_editor.connection.alias).bulk_create(
        Product(name=name, blurb=blurb, price=price, grams=grams) for name, blurb, price, grams in PRODUCTS
    )


def clear(apps, schema_editor):
    apps.get_model("store", "Product").objects.using(schema_editor.connection.alias).all().delete()


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]
    operations = [migrations.RunPython(stock, clear)]
