"""The settings: sections, where their values come from, and the errors about wrong ones; no code here acts on a value."""

from sayonce.config.environment import (
    ENVIRONMENT_PREFIX,
    FILE_VARIABLE,
    WORKERS_VARIABLE,
    misspelt,
    variable_of,
    workers_directory,
)
from sayonce.config.files import read_file
from sayonce.config.loading import DEFAULT_FILE, load_settings, settings_file
from sayonce.config.messages import wrong_values
from sayonce.config.quantities import ByteSize, parse_duration, parse_size
from sayonce.config.settings import ANY_ORIGIN, BodiesSettings, ServerSettings, Settings, StoreSettings

__all__ = [
    "ANY_ORIGIN",
    "DEFAULT_FILE",
    "ENVIRONMENT_PREFIX",
    "FILE_VARIABLE",
    "WORKERS_VARIABLE",
    "BodiesSettings",
    "ByteSize",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "load_settings",
    "misspelt",
    "parse_duration",
    "parse_size",
    "read_file",
    "settings_file",
    "variable_of",
    "workers_directory",
    "wrong_values",
]
