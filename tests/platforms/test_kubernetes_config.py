"""The configuration is found as kubectl finds it, and what cannot be honoured is refused in one line."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from openrtc_tui.operations.platforms.kubernetes.config import find_cluster
from openrtc_tui.operations.platforms.platform import PlatformError

if TYPE_CHECKING:
    from pathlib import Path


def config(name: str = "one", *, user: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example", **more}}],
        "users": [{"name": name, "user": {"token": f"token of {name}"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
    }


@pytest.fixture
def written(tmp_path: Path):
    def write(content: Any, name: str = "config") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def refused(path: Path, **keywords: Any) -> str:
    with pytest.raises(PlatformError) as told:
        find_cluster(kubeconfig=path, environ={}, **keywords)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_file_named_is_the_only_one_looked_at(written):
    other = written(config("other"), "other")
    cluster = find_cluster(kubeconfig=written(config()), environ={"KUBECONFIG": str(other)})
    assert (cluster.server, cluster.namespace) == ("https://one.example", "ns-one")
    assert cluster.credentials.token == "token of one"
    assert "token of one" not in repr(cluster)


def test_a_list_of_files_is_one_configuration_and_the_first_word_on_each_name_wins(written, tmp_path):
    first = {**config("two"), "users": []}
    second = config("two")
    second["clusters"][0]["cluster"]["server"] = "https://never.example"
    second["current-context"] = "three"
    files = [tmp_path / "missing", written(first, "a"), written(second, "b")]
    cluster = find_cluster(environ={"KUBECONFIG": os.pathsep.join(map(str, files))})
    assert cluster.server == "https://two.example"
    assert cluster.credentials.token == "token of two"


def test_without_a_word_the_home_s_file_is_taken(written, tmp_path):
    written(config("home"), ".kube/config")
    assert find_cluster(environ={}, home=tmp_path).server == "https://home.example"


def account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("t")
    (folder / "namespace").write_text("voice\n")
    return folder


INSIDE = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


def test_inside_a_pod_without_any_file_the_pod_s_own_account_is_taken(tmp_path):
    folder = account(tmp_path)
    cluster = find_cluster(environ=INSIDE, home=tmp_path, service_account=folder)
    assert (cluster.server, cluster.namespace) == ("https://[fd00::1]:443", "voice")
    assert cluster.credentials.token_file == folder / "token"
    assert cluster.ca == folder / "ca.crt"


def test_a_file_goes_before_the_pod_s_own_account(written, tmp_path):
    path = written(config())
    cluster = find_cluster(environ={**INSIDE, "KUBECONFIG": str(path)}, service_account=account(tmp_path))
    assert cluster.server == "https://one.example"


def test_nothing_at_all_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(PlatformError, match=r"~/\.kube/config"):
        find_cluster(environ={}, home=tmp_path)


def test_relative_files_are_relative_to_the_file_that_names_them(written, tmp_path):
    user = {"client-certificate": "me.crt", "client-key": "keys/me.key"}
    path = written(config(user=user, **{"certificate-authority": "ca.crt"}), "deep/config")
    cluster = find_cluster(kubeconfig=path, environ={})
    assert cluster.ca == tmp_path / "deep" / "ca.crt"
    assert cluster.credentials.certificate == tmp_path / "deep" / "me.crt"
    assert cluster.credentials.key == tmp_path / "deep" / "keys" / "me.key"


def test_data_given_inline_goes_before_a_file(written):
    data = base64.b64encode(b"PEM").decode()
    more = {"certificate-authority": "ca.crt", "certificate-authority-data": data}
    assert find_cluster(kubeconfig=written(config(**more)), environ={}).ca == b"PEM"


def test_another_context_than_the_current_one_can_be_named(written):
    both = config("one")
    for kind, entries in config("two").items():
        if kind != "current-context":
            both[kind] += entries
    assert find_cluster(kubeconfig=written(both), context="two", environ={}).namespace == "ns-two"
    assert "there are: one, two" in refused(written(both), context="three")


def test_an_exec_plugin_of_v1beta1_is_taken_with_its_arguments(written):
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "login",
            "args": ["--now"],
            "env": [{"name": "PROFILE", "value": "p"}],
        }
    }
    plugin = find_cluster(kubeconfig=written(config(user=user)), environ={}).credentials.plugin
    assert plugin is not None
    assert (plugin.argv, plugin.env) == (("login", "--now"), (("PROFILE", "p"),))


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "login"}}, "exec: [kubectl"),
        ({"token": "t", "as": "admin"}, "impersonation (as)"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider"),
        ({"client-certificate": "me.crt"}, "belong together"),
        ({"client-certificate-data": "%%", "client-key": "k"}, "not base64"),
        ({"token": 7}, "not a text"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_what_to_do(written, user, words):
    assert words in refused(written(config(user=user)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "not YAML"),
        ("- a", "not a kubeconfig"),
        ("clusters: [{cluster: {}}]", "without a name"),
        ({**config(), "clusters": []}, "no cluster named 'one'"),
        ({**config(), "current-context": ""}, "no current context"),
        (config(**{"tls-server-name": "other"}), "tls-server-name"),
        (config(server=""), "has no server"),
        (config(**{"insecure-skip-tls-verify": "yes"}), "neither true nor false"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_in_one_line(written, content, words):
    assert words in refused(written(content))


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "there is no kubeconfig" in refused(tmp_path / "none")
