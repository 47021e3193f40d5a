"""Settings of the tests: the project's own, in an environment that no `.env` file changes.

Real environment variables still win, so that `DATABASE_URL` can move the tests to PostgreSQL.
"""

import os

os.environ["DEBUG"] = "true"
os.environ["SECRET_KEY"] = "a-key-for-tests-only"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NIGHTLY_CONFIG"] = "config/maintenance/nightly.yaml"
# Each of the parallel test processes has one core; threads that wait for another only burn it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DATABASE_URL", "sqlite://:memory:")

from dualchannel_site.settings import *  # noqa: F403 - the environment has to be in place first

# Logging in is not what the tests measure.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests run with DEBUG off and nothing collected.
WHITENOISE_AUTOREFRESH = True
