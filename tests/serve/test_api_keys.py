"""API keys: stored as hashes, printed once, compared in constant time."""

from __future__ import annotations

import inspect
import stat
from pathlib import Path

import pytest

from ttsi.errors import ConfigError
from ttsi.serve import api_keys
from ttsi.serve.http import allowed_hosts, check_bind


def test_a_key_is_recognised_and_stored_only_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = api_keys.add_key(path, "ada")
    other = api_keys.add_key(path, "bob")
    digests = api_keys.read_keys(path)
    assert api_keys.key_name(key, digests) == "ada"
    assert api_keys.key_name(other, digests) == "bob"
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda k: k[:-1], lambda k: k + "x", lambda k: ""])
def test_control_almost_the_key_is_not_the_key(tmp_path: Path, change: object) -> None:
    key = api_keys.add_key(tmp_path / "keys", "ada")
    assert callable(change)
    assert api_keys.key_name(change(key), api_keys.read_keys(tmp_path / "keys")) is None


def test_every_digest_is_compared_in_constant_time() -> None:
    source = inspect.getsource(api_keys.key_name)
    assert "compare_digest" in source and "==" not in source
    assert "break" not in source and source.count("return") == 1


@pytest.mark.parametrize("content", ["", "ada a-key-as-it-is\n", "ada sha256:12\n", "x sha256:" + "0" * 64 + "\n" * 2])
def test_a_file_that_is_no_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content * (2 if content.startswith("x") else 1))
    with pytest.raises(ConfigError) as error:
        api_keys.read_keys(path)
    assert "a-key-as-it-is" not in str(error.value)


def test_names_are_checked(tmp_path: Path) -> None:
    api_keys.add_key(tmp_path / "keys", "ada")
    for name in ("ada", "", "a b", "../x", "a\nb"):
        with pytest.raises(ConfigError):
            api_keys.add_key(tmp_path / "keys", name)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_a_public_address_needs_keys(host: str) -> None:
    with pytest.raises(ConfigError, match="--api-keys"):
        check_bind(host, with_keys=False)
    check_bind(host, with_keys=True)
    assert allowed_hosts(host, (), with_keys=True) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_needs_none(host: str) -> None:
    check_bind(host, with_keys=False)
    assert "evil.example" not in (allowed_hosts(host, (), with_keys=False) or ())
