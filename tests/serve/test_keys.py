"""Keys: kept as hashes, shown once, found in constant time."""

from __future__ import annotations

import inspect
import stat
from pathlib import Path

import pytest

from ttsi.errors import ConfigError
from ttsi.serve import keys
from ttsi.serve.http import check_bind, hosts_for


def test_a_key_is_known_and_kept_only_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    shown = keys.add_key(path, "ada")
    other = keys.add_key(path, "bob")
    known = keys.read_keys(path)
    assert keys.owner(shown, known) == "ada"
    assert keys.owner(other, known) == "bob"
    assert shown not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda key: key[:-1], lambda key: key + "x", lambda key: ""])
def test_control_almost_the_key_is_not_the_key(tmp_path: Path, change: object) -> None:
    shown = keys.add_key(tmp_path / "keys", "ada")
    assert callable(change)
    assert keys.owner(change(shown), keys.read_keys(tmp_path / "keys")) is None


def test_cve_2025_59425_every_digest_is_compared_in_constant_time() -> None:
    source = inspect.getsource(keys.owner)
    assert "compare_digest" in source and "==" not in source
    assert "break" not in source and source.count("return") == 1


@pytest.mark.parametrize("content", ["", "ada a-key-as-it-is\n", "ada sha256:12\n", "x sha256:" + "0" * 64 + "\n" * 2])
def test_a_file_that_is_no_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content * (2 if content.startswith("x") else 1))
    with pytest.raises(ConfigError) as found:
        keys.read_keys(path)
    assert "a-key-as-it-is" not in str(found.value)


def test_names_are_checked(tmp_path: Path) -> None:
    keys.add_key(tmp_path / "keys", "ada")
    for name in ("ada", "", "a b", "../x", "a\nb"):
        with pytest.raises(ConfigError):
            keys.add_key(tmp_path / "keys", name)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_a_public_address_needs_keys(host: str) -> None:
    with pytest.raises(ConfigError, match="--api-keys"):
        check_bind(host, with_keys=False)
    check_bind(host, with_keys=True)
    assert hosts_for(host, (), with_keys=True) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_needs_none(host: str) -> None:
    check_bind(host, with_keys=False)
    assert "evil.example" not in (hosts_for(host, (), with_keys=False) or ())
