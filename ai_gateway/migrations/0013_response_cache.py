from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0012_alerts'),
    ]

    operations = [
        migrations.AddField(
            model_name='route',
            name='cache_seconds',
            field=models.PositiveIntegerField(blank=True, help_text='How long an answer is kept. Empty: as the settings say.', null=True, verbose_name='kept for (s)'),
        ),
        migrations.AddField(
            model_name='route',
            name='caching',
            field=models.CharField(blank=True, choices=[('', 'as the settings say'), ('on', 'on'), ('off', 'off')], db_default='', default='', help_text="Whether calls get an answer again that was given before, if the site's settings have a cache.", max_length=3, verbose_name='answers from the cache'),
        ),
        migrations.AddField(
            model_name='usagedaily',
            name='saved_nanos',
            field=models.BigIntegerField(db_default=0, default=0, verbose_name='saved in nano-dollars'),
        ),
        migrations.AddField(
            model_name='usagerecord',
            name='saved_nanos',
            field=models.BigIntegerField(db_default=0, default=0, help_text='What an answer from the cache cost when a provider gave it.', verbose_name='saved in nano-dollars'),
        ),
        migrations.AddField(
            model_name='virtualkey',
            name='caching',
            field=models.CharField(blank=True, choices=[('', 'as the settings say'), ('on', 'on'), ('off', 'off')], db_default='', default='', help_text="Whether calls get an answer again that was given before, if the site's settings have a cache.", max_length=3, verbose_name='answers from the cache'),
        ),
    ]
