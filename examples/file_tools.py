"""Tools for an agent: a small file store whose three methods the model may call.

    ttsi act "what is in plan.txt" "delete notes.txt" --functions file_tools:FileStore --safe-to-repeat all

Run it in this folder, or name your own functions. Type hints make the arguments' schema, docstrings the descriptions.
The methods change nothing but `self.texts`, which a copy has for itself: so they are safe to repeat.
"""

from __future__ import annotations


class FileStore:
    """Three files in memory."""

    def __init__(self) -> None:
        self.texts = {"plan.txt": "go home", "notes.txt": "buy milk", "todo.txt": "paint the fence"}

    def list_files(self) -> dict[str, list[str]]:
        """List the files in the store."""
        return {"files": sorted(self.texts)}

    def read_file(self, file_name: str) -> str:
        """Read the text of a file.

        Args:
            file_name: The name of the file.
        """
        return self.texts[self._existing(file_name)]

    def delete_file(self, file_name: str) -> dict[str, str]:
        """Delete a file.

        Args:
            file_name: The name of the file.
        """
        del self.texts[self._existing(file_name)]
        return {"deleted": file_name}

    def _existing(self, file_name: str) -> str:
        if file_name not in self.texts:
            raise ValueError(f"there is no file {file_name}; there are: {', '.join(sorted(self.texts))}")
        return file_name
