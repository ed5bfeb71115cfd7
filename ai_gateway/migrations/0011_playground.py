from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('ai_gateway', '0010_trace_id'),
    ]

    operations = [
        migrations.CreateModel(
            name='Playground',
            fields=[
            ],
            options={
                'verbose_name': 'playground',
                'verbose_name_plural': 'playground',
                'permissions': [('use_playground', 'Can use the playground')],
                'proxy': True,
                'default_permissions': (),
                'indexes': [],
                'constraints': [],
            },
            bases=('ai_gateway.usagerecord',),
        ),
    ]
