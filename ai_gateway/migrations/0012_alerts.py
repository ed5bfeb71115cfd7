from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0011_playground'),
    ]

    operations = [
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slot', models.CharField(max_length=64, unique=True)),
                ('kind', models.CharField(blank=True, default='', max_length=40, verbose_name='kind')),
                ('subject', models.CharField(blank=True, default='', max_length=200, verbose_name='subject')),
                ('text', models.TextField(verbose_name='text')),
                ('first_at', models.DateTimeField(verbose_name='first')),
                ('last_at', models.DateTimeField(verbose_name='last')),
                ('count', models.PositiveBigIntegerField(default=1, verbose_name='times seen')),
                ('sent_at', models.DateTimeField(null=True, verbose_name='told')),
                ('resolved_at', models.DateTimeField(null=True, verbose_name='over')),
                ('problem', models.TextField(blank=True, default='', verbose_name='not delivered')),
            ],
            options={
                'verbose_name': 'alert',
                'verbose_name_plural': 'alerts',
                'ordering': ['-last_at'],
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['last_at'], name='ai_gateway_alert_time')],
            },
        ),
    ]
