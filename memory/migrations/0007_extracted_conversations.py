from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0006_lists'),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='extracted_as',
            field=models.CharField(db_default='', default='', editable=False, help_text='How all that it holds was extracted; empty where something of it changed since.', max_length=64),
        ),
    ]
