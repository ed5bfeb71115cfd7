import ai_gateway.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0006_dashboard'),
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RecordedCall',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False, verbose_name='id')),
                ('recorded_at', models.DateTimeField(verbose_name='time')),
                ('bytes_kept', models.PositiveIntegerField(default=0, verbose_name='bytes kept')),
                ('is_cut', models.BooleanField(default=False, help_text='A body was longer than is kept.', verbose_name='cut')),
                ('document', ai_gateway.fields.EncryptedField(editable=False, verbose_name='bodies')),
            ],
            options={
                'verbose_name': 'recorded call',
                'verbose_name_plural': 'recorded calls',
                'default_permissions': ('view',),
            },
        ),
        migrations.AddField(
            model_name='route',
            name='records_bodies',
            field=models.BooleanField(db_default=False, default=False, help_text="Whether requests and answers are kept for reading, encrypted, if the site's settings allow it.", verbose_name='record bodies'),
        ),
        migrations.AddField(
            model_name='usagerecord',
            name='queued_ms',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='While the gateway was full.', verbose_name='waited for a place (ms)'),
        ),
        migrations.AddField(
            model_name='virtualkey',
            name='records_bodies',
            field=models.BooleanField(db_default=False, default=False, help_text="Whether requests and answers are kept for reading, encrypted, if the site's settings allow it.", verbose_name='record bodies'),
        ),
        migrations.AddIndex(
            model_name='usagerecord',
            index=models.Index(fields=['session', 'started_at'], name='ai_gateway_usage_session'),
        ),
        migrations.AddField(
            model_name='recordedcall',
            name='key',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ai_gateway.virtualkey', verbose_name='key'),
        ),
        migrations.AddField(
            model_name='recordedcall',
            name='user',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user'),
        ),
        migrations.AddIndex(
            model_name='recordedcall',
            index=models.Index(fields=['recorded_at'], name='ai_gateway_recorded_time'),
        ),
    ]
