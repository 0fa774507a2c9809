"""The command in this process, as the tests of the command have it."""

from tests.cli.conftest import ttsi as ttsi
