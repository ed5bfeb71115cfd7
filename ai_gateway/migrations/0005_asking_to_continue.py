from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0004_routing_facts'),
    ]

    operations = [
        migrations.AddField(
            model_name='route',
            name='asks_to_continue',
            field=models.BooleanField(default=False, help_text='Whether models that do not go on with the beginning of an answer by themselves are asked to.', verbose_name='ask to continue'),
        ),
    ]
