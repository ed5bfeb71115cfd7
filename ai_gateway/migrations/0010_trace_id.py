from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0009_live_calls'),
    ]

    operations = [
        migrations.AddField(
            model_name='usagerecord',
            name='trace_id',
            field=models.CharField(blank=True, db_default='', default='', help_text='The W3C trace that the call belongs to, if its caller named one or calls are traced.', max_length=32, verbose_name='trace id'),
        ),
    ]
