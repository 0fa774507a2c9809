"""A small file store: folders with text files that are listed, read, written, moved and deleted.

Inputs: a state with the tables `folders` and `files`. Outputs: the tools of `FileStore`. The paper (arXiv:2510.07841)
has no environments.
"""

from __future__ import annotations

from typing import ClassVar

from ttsi.environments.simulators.simulator import Simulator, entry_name, existing, plain


class FileStore(Simulator):
    """Text files in folders; a file's name stands once in the whole store."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "list_files",
        "read_file",
        "write_file",
        "move_file",
        "delete_file",
        "find_files",
    )
    folders: list[str]
    files: dict[str, dict[str, str]]
    """Name -> folder and text."""

    def list_files(self, folder: str) -> list[dict[str, str | int]]:
        """list what is in a folder"""
        place = entry_name(self.folders, folder, "folder")
        inside = [name for name in sorted(self.files) if self.files[name]["folder"] == place]
        return [{"name": name, "letters": len(self.files[name]["text"])} for name in inside]

    def read_file(self, name: str) -> str:
        """read a file"""
        return self.files[entry_name(self.files, name, "file")]["text"]

    def write_file(self, name: str, text: str) -> str:
        """write a text to a file"""
        file = existing(self.files, name) or plain(name)
        if file in self.files and self.files[file]["text"] == plain(text):
            raise ValueError(f"{file} has this text already")
        folder = self.files[file]["folder"] if file in self.files else self.folders[0]
        self.files[file] = {"folder": folder, "text": plain(text)}
        return f"wrote {file} in {folder}"

    def move_file(self, name: str, folder: str) -> str:
        """move a file to another folder"""
        file, place = entry_name(self.files, name, "file"), entry_name(self.folders, folder, "folder")
        if self.files[file]["folder"] == place:
            raise ValueError(f"{file} is in {place} already")
        self.files[file]["folder"] = place
        return f"moved {file} to {place}"

    def delete_file(self, name: str) -> str:
        """delete a file"""
        file = entry_name(self.files, name, "file")
        del self.files[file]
        return f"deleted {file}"

    def find_files(self, word: str) -> list[dict[str, str]]:
        """search all texts for a word"""
        hits = [name for name in sorted(self.files) if plain(word) in self.files[name]["text"].lower().split()]
        return [{"name": name, "folder": self.files[name]["folder"]} for name in hits]
