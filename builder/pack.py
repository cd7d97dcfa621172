# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pack.py TAR: what the image is built from, as a tar; prints its sha256. The same files give the same tar."""
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def plain(member):
    """Nothing in a tar's member that differs from one machine to another."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def main(path):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["sh", os.path.join(HERE, "collection"), os.path.dirname(HERE), folder], check=True)
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(folder, ".", filter=plain)      # in the order of names
    with open(path, "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1])
