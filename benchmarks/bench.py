# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every row needs: the lab as `run` has started it, a folder to work in, the number of pairs."""

from __future__ import annotations

import json
import os

from measure import say

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Bench:
    """The run's surroundings."""

    def __init__(self, folder, pairs):
        self.folder, self.pairs = folder, pairs
        with open(f"{folder}/registry.json", encoding="utf-8") as file:
            registry = json.load(file)
        #: tag -> reference in the registry
        self.images = {tag: image["plain"] for tag, image in registry["images"].items()}
        self.digests = {tag: image["digest"] for tag, image in registry["images"].items()}
        self._log = registry["plain"]["log"]
        with open(f"{folder}/images.json", encoding="utf-8") as file:
            #: what the lab knows of its real sample: uuids, deployment, ...
            self.sample = json.load(file)["disks"]["real"]
        self.disk = self.sample["disk"]

    def path(self, name):
        """A new folder's path."""
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def warm(self):
        """The sample in the page cache, for both sides."""
        with open(self.disk, "rb") as file:
            while file.read(1 << 20):
                pass

    def requests(self, since=0):
        """(the registry's log from an offset on, its end)."""
        with open(self._log, encoding="utf-8") as file:
            file.seek(since)
            return file.read(), file.tell()

    def say(self, text):
        say(text)
