import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('maintenance', '0001_initial'),
        ('training', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('extraction', 'extraction'), ('plan', 'training plan'), ('training', 'training'), ('night', 'night')], max_length=10)),
                ('options', models.JSONField(blank=True, default=dict, help_text='What was chosen on the start page.')),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('interrupted', 'Interrupted')], default='queued', max_length=11)),
                ('requested_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('heartbeat_at', models.DateTimeField(blank=True, help_text='When its process last said that it lives.', null=True)),
                ('host', models.CharField(blank=True, help_text='Machine of its process.', max_length=255)),
                ('pid', models.PositiveIntegerField(blank=True, help_text='Number of its process.', null=True)),
                ('progress_text', models.CharField(blank=True, max_length=255)),
                ('progress_share', models.FloatField(blank=True, help_text='0 to 1; empty where it cannot be told.', null=True)),
                ('messages', models.JSONField(blank=True, default=list, help_text='What it said on its way, the last lines.')),
                ('result', models.JSONField(blank=True, default=dict)),
                ('error', models.TextField(blank=True)),
                ('exception_class', models.CharField(blank=True, max_length=255)),
                ('traceback', models.TextField(blank=True)),
                ('cancelled_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('maintenance_run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='maintenance.maintenancerun')),
                ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('training_run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='training.trainingrun')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('kind__in', ['extraction', 'plan', 'training', 'night'])), name='job_kind_known'),
                    models.CheckConstraint(condition=models.Q(('status__in', ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted'])), name='job_status_known'),
                    models.CheckConstraint(condition=models.Q(('progress_share__isnull', True), models.Q(('progress_share__gte', 0), ('progress_share__lte', 1)), _connector='OR'), name='job_share_in_unit_interval'),
                    models.UniqueConstraint(condition=models.Q(('status__in', ['queued', 'running'])), fields=('kind',), name='job_one_open_of_a_kind'),
                ],
            },
        ),
    ]
