"""Django settings: the one place that reads the environment.

Every variable that is read here is listed in ``docs/operations.md``. A ``.env`` file beside ``manage.py`` is
read first; real environment variables win over it.
"""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from unfold.contrib.constance.settings import UNFOLD_CONSTANCE_ADDITIONAL_FIELDS

from dualchannel_site import content_security
from dualchannel_site.admin_theme import THEME

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Run `make setup`, which writes one into .env, or set it in the environment."
        )
    SECRET_KEY = "insecure-key-for-debug-only"  # noqa: S105 - refused above when DEBUG is off

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

ARTIFACTS_DIR = Path(env.str("ARTIFACTS_DIR", default=str(BASE_DIR / "artifacts"))).resolve()
# Where the pairs files lie that a training config names.
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).resolve()
# The training configs that a job of the desk may name.
TRAINING_CONFIG_DIR = Path(env.str("TRAINING_CONFIG_DIR", default=str(BASE_DIR / "config" / "training"))).resolve()
# What a night does unless it is called with another one; from the project's folder, where the path is relative.
NIGHTLY_CONFIG = Path(env.str("NIGHTLY_CONFIG", default="config/maintenance/nightly.yaml"))
# A folder with a sentence-transformers model; empty takes all-MiniLM-L6-v2 from its PyPI package.
EMBEDDER_PATH = env.str("EMBEDDER_PATH", default="")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "unfold.contrib.simple_history",
    "unfold.contrib.constance",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_extensions",
    "constance",
    "import_export",
    "simple_history",
    "axes",
    "csp",
    "django_tasks",
    # Before the queue, whose command `db_worker` it extends.
    "dualchannel_site.desk",
    "django_tasks_db",
    "memory",
    "training",
    "maintenance",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "dualchannel_site.urls"
WSGI_APPLICATION = "dualchannel_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

SQLITE_OPTIONS = {
    # A write transaction takes its lock at BEGIN: two writers wait for each other instead of failing midway.
    "transaction_mode": "IMMEDIATE",
    "timeout": 60,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=268435456; "
        "PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY"
    ),
}
DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = SQLITE_OPTIONS
    if DATABASES["default"]["NAME"] != ":memory:" and not Path(DATABASES["default"]["NAME"]).exists():
        # Lets nights give free pages back in slices. Only a database without tables takes it; on one that has it, every
        # connection would wait here for whoever is writing.
        new = f"PRAGMA auto_vacuum=INCREMENTAL; {SQLITE_OPTIONS['init_command']}"
        DATABASES["default"]["OPTIONS"] = {**SQLITE_OPTIONS, "init_command": new}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 1  # hours
# Of one name from one address: nobody can lock out a person who works elsewhere.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "dualchannel_site.client_address.client_address"
AXES_LOCKOUT_CALLABLE = "dualchannel_site.desk.lockout.locked_out"
# Who comes in has shown who they are: their typing errors before no longer count.
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ACCESS_FAILURE_LOG = True
LOGIN_URL = "admin:login"
# Whoever logs in without having asked for a page lands on the dashboard.
LOGIN_REDIRECT_URL = "admin:index"

# The morning report goes out by these.
vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="dual-channel@localhost")

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))

# A working day; the next morning begins with a login.
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
# Not "Strict": a link from the morning mail has to find the person logged in.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0 if DEBUG else 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
BEHIND_TLS_PROXY = env.bool("BEHIND_TLS_PROXY", default=False)
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Proxies that append to X-Forwarded-For; without one the header is not believed.
PROXY_COUNT = env.int("PROXY_COUNT", default=1 if BEHIND_TLS_PROXY else 0)

CONTENT_SECURITY_POLICY = content_security.POLICY

# The fields of a form: the longest is the text of a pair with its context, a long conversation.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 5
# Files go to disk as they arrive, up to a bound, and are gone after the request.
FILE_UPLOAD_HANDLERS = ["dualchannel_site.desk.uploads.BoundedUploadHandler"]

CONSTANCE_BACKEND = "constance.backends.database.DatabaseBackend"
# Who may is for permissions to say.
CONSTANCE_SUPERUSER_ONLY = False
CONSTANCE_ADDITIONAL_FIELDS = UNFOLD_CONSTANCE_ADDITIONAL_FIELDS
CONSTANCE_CONFIG = {
    "INTROSPECTION_IN_SFT": (
        False,
        "Let internally generated introspection into the memory channel, with a reduced sampling weight.",
        bool,
    ),
    "PREFER_KEPT_BRANCH": (
        True,
        "Make preference pairs of the branch a person went on with over the drafts left behind.",
        bool,
    ),
}

# Jobs of the desk wait in the database until `manage.py db_worker` takes them.
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

UNFOLD = THEME

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="WARNING")},
}
