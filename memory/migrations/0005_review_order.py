from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0004_exported_pairs'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='preferencepair',
            index=models.Index(condition=models.Q(('archived_at__isnull', True), ('merged_into__isnull', True)), fields=['review_status', '-margin', '-id'], name='preferencepair_queue'),
        ),
        migrations.AddIndex(
            model_name='replayentry',
            index=models.Index(condition=models.Q(('safety_flags', []), _negated=True), fields=['message'], name='replay_flagged'),
        ),
        migrations.AddIndex(
            model_name='sftpair',
            index=models.Index(condition=models.Q(('archived_at__isnull', True), ('merged_into__isnull', True)), fields=['review_status', '-reward_intensity', '-id'], name='sftpair_queue'),
        ),
    ]
