from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0007_recorded_calls'),
    ]

    operations = [
        migrations.CreateModel(
            name='BreakerEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(verbose_name='time')),
                ('provider', models.CharField(blank=True, default='', max_length=200, verbose_name='provider')),
                ('model', models.CharField(blank=True, default='', max_length=200, verbose_name='model')),
                ('event', models.CharField(choices=[('opened', 'opened'), ('closed', 'closed')], max_length=20, verbose_name='event')),
                ('reason', models.CharField(blank=True, default='', max_length=200, verbose_name='reason')),
                ('seconds', models.FloatField(default=0, help_text='For how long it was opened.', verbose_name='seconds')),
            ],
            options={
                'verbose_name': 'breaker event',
                'verbose_name_plural': 'breaker events',
                'ordering': ['-at'],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['at'], name='ai_gateway_breaker_time')],
            },
        ),
    ]
