"""Settings of the endpoint: arguments, then the environment, then defaults; what cannot work is one clear line."""

from __future__ import annotations

import socket

import pytest

from openrtc_worker.control.settings import ControlError, ControlSettings, default_worker_id


def test_nothing_given_is_this_machine_alone_and_acting_off():
    settings = ControlSettings.from_environment({})
    assert (settings.host, settings.port) == ("127.0.0.1", 9464)
    assert (settings.operator_keys, settings.read_token, settings.allowed_hosts) == (None, None, ())


ENVIRONMENT = {
    "OPENRTC_CONTROL_HOST": "0.0.0.0",
    "OPENRTC_CONTROL_PORT": "9999",
    "OPENRTC_CONTROL_ALLOWED_HOSTS": "voice-1.example.com, voice-2.example.com ,",
    "OPENRTC_OPERATOR_KEYS": "/keys",
    "OPENRTC_READ_TOKEN_FILE": "/token",
    "OPENRTC_METRICS_BY_TENANT": "1",
}


def test_the_environment_is_read():
    settings = ControlSettings.from_environment(ENVIRONMENT)
    assert settings == ControlSettings(
        host="0.0.0.0",
        port=9999,
        allowed_hosts=("voice-1.example.com", "voice-2.example.com"),
        operator_keys="/keys",
        read_token_file="/token",
        metrics_by_tenant=True,
    )


def test_an_argument_wins_over_the_environment():
    settings = ControlSettings.from_environment(
        ENVIRONMENT,
        host="::1",
        port=0,
        allowed_hosts=["other"],
        operator_keys="/other",
        read_token="t",
        metrics_by_tenant=False,
    )
    assert (settings.host, settings.port, settings.allowed_hosts) == ("::1", 0, ("other",))
    assert (settings.operator_keys, settings.read_token, settings.read_token_file) == ("/other", "t", None)
    assert not settings.metrics_by_tenant


def test_an_empty_variable_is_as_if_it_were_not_set():
    assert ControlSettings.from_environment(dict.fromkeys(ENVIRONMENT, " ")) == ControlSettings()


@pytest.mark.parametrize(
    ("environment", "arguments", "named"),
    [
        ({"OPENRTC_CONTROL_PORT": "94x"}, {}, "OPENRTC_CONTROL_PORT"),
        ({"OPENRTC_CONTROL_PORT": "65536"}, {}, "OPENRTC_CONTROL_PORT"),
        ({"OPENRTC_CONTROL_PORT": "-1"}, {}, "OPENRTC_CONTROL_PORT"),
        ({"OPENRTC_CONTROL_PORT": "９４６４"}, {}, "OPENRTC_CONTROL_PORT"),
        ({"OPENRTC_METRICS_BY_TENANT": "maybe"}, {}, "OPENRTC_METRICS_BY_TENANT"),
        ({}, {"port": 70_000}, "control_port"),
        ({}, {"port": "x"}, "control_port"),
        ({}, {"port": 9464.5}, "control_port"),
        ({}, {"port": True}, "control_port"),
        ({}, {"tls_cert": "c.pem"}, "control_tls_key"),
        ({}, {"tls_key": "k.pem"}, "control_tls_cert"),
        ({}, {"tls_client_ca": "ca.pem"}, "control_tls_client_ca"),
        ({}, {"read_token": "  "}, "read_token"),
        ({}, {"allowed_hosts": "one-string"}, "control_allowed_hosts"),
    ],
)
def test_what_cannot_work_is_one_line_that_names_the_setting(environment, arguments, named):
    with pytest.raises(ControlError, match=named) as refused:
        ControlSettings.from_environment(environment, **arguments)
    assert "\n" not in str(refused.value)


def test_no_host_is_not_every_host():
    with pytest.raises(ControlError, match="control_host"):
        ControlSettings(host="")


def test_the_read_token_is_never_shown():
    assert "s3cret" not in repr(ControlSettings(read_token="s3cret"))


def test_a_read_token_file_is_read_with_the_rules_for_secrets(tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o644)
    settings = ControlSettings(read_token_file=file)
    with pytest.raises(ControlError, match="chmod 600"):
        settings.load_read_token()
    file.chmod(0o600)
    assert settings.load_read_token() == b"s3cret"
    file.write_text("\n")
    with pytest.raises(ControlError, match="empty"):
        settings.load_read_token()
    file.unlink()
    with pytest.raises(ControlError, match="OPENRTC_READ_TOKEN_FILE"):
        settings.load_read_token()


def test_two_workers_of_one_host_have_two_ids():
    host = socket.gethostname()
    assert default_worker_id(9464, {}) == host
    assert default_worker_id(9465, {}) == f"{host}-9465"
    assert default_worker_id(9465, {"OPENRTC_WORKER_ID": " voice-a-1 "}) == "voice-a-1"


@pytest.mark.parametrize("name", ["a\x1bb", "a\nb", "x" * 129])
def test_a_worker_id_is_one_printable_line(name):
    with pytest.raises(ControlError, match="OPENRTC_WORKER_ID"):
        default_worker_id(9464, {"OPENRTC_WORKER_ID": name})
