"""A mailbox: messages in three folders, contacts, and what was sent.

Inputs: a state with the tables `messages`, `contacts` and `sent`. Outputs: the tools of `Mailbox`. Nothing leaves the
object. The paper (arXiv:2510.07841) has no environments.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ttsi.environments.simulators.simulator import Simulator, entry_name, existing, plain

MailFolder = Literal["inbox", "archive", "trash"]


class Mailbox(Simulator):
    """Messages by their subject, which stands once."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "list_messages",
        "read_message",
        "move_message",
        "find_address",
        "add_contact",
        "send_message",
    )
    messages: dict[str, dict[str, str]]
    """Subject -> sender, folder and text."""
    contacts: dict[str, str]
    """Name -> address."""
    sent: list[dict[str, str]]
    """Address and text, oldest first."""

    def list_messages(self, folder: MailFolder) -> list[dict[str, str]]:
        """list the messages of a mail folder"""
        subjects = [subject for subject in sorted(self.messages) if self.messages[subject]["folder"] == folder]
        return [{"sender": self.messages[subject]["sender"], "subject": subject} for subject in subjects]

    def read_message(self, subject: str) -> str:
        """read a message"""
        return self.messages[entry_name(self.messages, subject, "message")]["text"]

    def move_message(self, subject: str, folder: MailFolder) -> str:
        """move a message"""
        name = entry_name(self.messages, subject, "message")
        if self.messages[name]["folder"] == folder:
            raise ValueError(f"{name} is in the {folder} already")
        self.messages[name]["folder"] = folder
        return f"moved {name} to {folder}"

    def find_address(self, name: str) -> str:
        """find the address of a contact"""
        return self.contacts[entry_name(self.contacts, name, "contact")]

    def add_contact(self, name: str, address: str) -> str:
        """save a new contact"""
        person = existing(self.contacts, name) or plain(name)
        if self.contacts.get(person) == plain(address):
            raise ValueError(f"{person} has this address already")
        self.contacts[person] = plain(address)
        return f"saved {person}"

    def send_message(self, address: str, text: str) -> str:
        """send a text to an address"""
        if "@" not in address:
            raise ValueError(f"{address} is no address; it must have an @")
        message = {"address": plain(address), "text": plain(text)}
        if message in self.sent:
            raise ValueError("this message was sent already")
        self.sent.append(message)
        return f"sent to {plain(address)}"
