"""What was ordered on each day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0002_products"),
    ]

    operations = [
        migrations.CreateModel(
            name="DayReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField(unique=True)),
                ("orders", models.PositiveIntegerField()),
                ("turnover", models.DecimalField(decimal_places=2, max_digits=12)),
                ("counted_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ("-day",),
            },
        ),
    ]
