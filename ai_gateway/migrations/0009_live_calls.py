from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0008_breaker_events'),
    ]

    operations = [
        migrations.CreateModel(
            name='Live',
            fields=[
            ],
            options={
                'verbose_name': 'call under way',
                'verbose_name_plural': 'calls under way',
                'proxy': True,
                'default_permissions': (),
                'indexes': [],
                'constraints': [],
            },
            bases=('ai_gateway.usagerecord',),
        ),
        migrations.AlterModelOptions(
            name='usagerecord',
            options={'default_permissions': ('view',), 'ordering': ['-id'], 'permissions': [('cancel_call', 'Can end calls under way')], 'verbose_name': 'usage record', 'verbose_name_plural': 'usage records'},
        ),
        migrations.AlterField(
            model_name='usagerecord',
            name='outcome',
            field=models.CharField(choices=[('answered', 'answered'), ('cached', 'answered from the cache'), ('refused', 'refused by the gateway'), ('limited', 'refused by a limit'), ('blocked', 'blocked by a guardrail'), ('failed', 'failed'), ('timed_out', 'timed out'), ('disconnected', 'the caller hung up'), ('stopped', 'ended by a shutdown'), ('cancelled', 'ended by an operator')], max_length=20, verbose_name='outcome'),
        ),
    ]
