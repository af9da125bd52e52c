"""A setting that makes no sense is refused at the start, with the variable that set it and what would be right."""

import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("SAYONCE_SERVR__PORT", "1", "there is: server, store"),
        ("SAYONCE_SERVER__PROT", "1", "there is: host, port"),
        ("SAYONCE_SERVER__REQUEST_TIMEOUT", "0", "request_timeout must be more than 0"),
        ("SAYONCE_SERVER__MAX_BODY_BYTES", "0", "max_body_bytes must be a number of bytes above 0"),
        ("SAYONCE_SERVER__HEADER_MAX_BYTES", "0", "header_max_bytes must be a number of bytes above 0"),
        (
            "SAYONCE_SERVER__SLOWEST_BYTES_PER_SECOND",
            "-1",
            "slowest_bytes_per_second must be a number of bytes above 0",
        ),
    ],
)
def test_a_setting_that_makes_no_sense_names_its_variable_and_what_would_be_right(variable, value, right):
    with pytest.raises(ConfigError) as refused:
        load_settings(environment={variable: value})
    assert str(refused.value).startswith(f"{variable}: ")
    assert right in str(refused.value)
